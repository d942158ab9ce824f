#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ops/graph.h"
#include "ops/host_tensor.h"

namespace athanor {

// How the tensor inputs of a fragment lie in memory.
enum class InputLayout {
  kContiguous,
  kTransposed,                                               // the first dimension runs fastest
  kSliced,                                                   // every other element of a part of longer rows
};

// A row of op_cases.json: one call of an op at one set of shapes.
struct OpRow {
  std::string name, op, text;                                // text: the row as JSON
  bool rounded = false;                                      // inputs are whole numbers: many are equal

  // The fragment of this call, floating-point inputs being of `dtype` and asking for their gradients unless the row says otherwise.
  Graph Build(DType dtype, InputLayout layout = InputLayout::kContiguous) const;
  // Normal numbers, unless the row has a range; indices within the range of their uses. Equal for equal seeds.
  std::vector<HostTensor> Inputs(const Graph& graph, uint32_t seed) const;
};

const std::vector<OpRow>& OpTable();

}  // namespace athanor
