#pragma once

#include <span>

#include "ops/graph.h"

namespace athanor {

// The dtype PyTorch computes a pointwise op in when its operands' dtypes differ: bool < integers < floats, then the wider one;
// f16 with bf16 gives f32. Tensors with dimensions outrank scalar tensors, which outrank literals, unless these are of a higher
// category; a floating-point literal next to integers gives f32. kNone operands are ignored.
DType PromotedDType(const Graph& graph, std::span<const ValueId> operands);

}  // namespace athanor
