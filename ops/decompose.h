#pragma once

#include "ops/graph.h"

namespace athanor {

// The same graph in core ops only: composite ops replaced by their `decompose` rules, then the rewrites (ops/rewrite/rewrite.h). Inputs
// and outputs keep their order and names. Throws Error where an op can't be compiled yet.
Graph Decompose(const Graph& graph);

}  // namespace athanor
