#pragma once

#include <string_view>

#include "ops/tensor_desc.h"

namespace athanor {

// Dimension numbers as users write them: negative ones count from the end.

// The dimension in [0, rank); throws Error naming the op where it is outside of `shape`. A scalar has one pseudo-dimension, 0 or -1.
int64_t NormalDim(std::string_view op, int64_t dim, const Shape& shape);
// The same for several, sorted; throws Error where one stands twice.
std::vector<int64_t> NormalDims(std::string_view op, const std::vector<int64_t>& dims, const Shape& shape);

}  // namespace athanor
