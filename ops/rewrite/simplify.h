#pragma once

#include "ops/graph.h"

namespace athanor {

// Drops nodes that no output needs, folds arithmetic on literals, and joins equal nodes (common subexpressions), so that forward and
// backward share what both compute.
Graph Simplify(const Graph& graph);

}  // namespace athanor
