#pragma once

#include <functional>
#include <optional>

#include "ops/graph.h"

namespace athanor {

// The smallest graph to be had of `graph`, in which `fails` is true, by leaving out outputs, nodes, gradients and strides, and by putting inputs
// in the place of nodes, as long as it stays true; greedily, until nothing more helps or `keep_on` says no.
Graph Shrink(const Graph& graph, const std::function<bool(const Graph&)>& fails, const std::function<bool()>& keep_on);

// The same graph with f64 in the place of every f32.
Graph Widened(const Graph& graph);

}  // namespace athanor
