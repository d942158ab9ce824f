#pragma once

#include <optional>
#include <vector>

#include "jit/views.h"
#include "ops/graph.h"

namespace athanor {

// The two sums over the rows of a matrix that batch norm's statistics are made of (ops/channel_norm.cpp): that of the elements, and that of the squares of
// their distances from the row's mean.
struct Moments {
  NodeId sum = kNone, squares = kNone;
  ValueId matrix = kNone;                                    // what both read, a root, its elements in row-major order
  ValueId element = kNone;                                   // the same, or a cast of it
  std::vector<NodeId> between;                               // the pointwise nodes from the matrix to the sums
  int64_t rows = 0, columns = 0;
};

// With `squares` as the second sum. A cast between the matrix and the sums is looked through. Nothing where the node is no such sum.
std::optional<Moments> MomentsOf(const Graph& graph, const std::vector<ViewOf>& views, NodeId squares);

}  // namespace athanor
