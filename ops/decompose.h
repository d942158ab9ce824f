#pragma once

#include "ops/graph.h"

namespace athanor {

// The same graph in core ops only: composite ops replaced by their `decompose` rules, then Simplify. Inputs and outputs keep their
// order and names. Throws Error where an op can't be compiled yet.
Graph Decompose(const Graph& graph);

// Drops nodes that no output needs, folds arithmetic on literals, and joins equal nodes (common subexpressions), so that forward and
// backward share what both compute.
Graph Simplify(const Graph& graph);

}  // namespace athanor
