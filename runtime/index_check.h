#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ops/graph.h"

namespace athanor {

// A graph input that is used as an index, and the extent it indexes: 0 <= value < extent, or value == ignored.
struct IndexUse {
  int input = 0;                                             // position in graph.inputs()
  int64_t extent = 0;
  std::optional<int64_t> ignored;
  std::string op;
};

// The uses of inputs, directly or through views, as indices by embedding, gather, index_select, one_hot, rope, kv_append,
// cross_entropy, nll_loss.
std::vector<IndexUse> FindIndexUses(const Graph& graph);

// Throws Error naming the input, the first bad index and the allowed range. `inputs` as for Executable::Run.
void CheckIndices(const Graph& graph, const std::vector<IndexUse>& uses, std::span<const void* const> inputs);

}  // namespace athanor
