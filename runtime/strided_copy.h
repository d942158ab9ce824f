#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ops/tensor_desc.h"

namespace athanor {

// Copies a tensor of `shape` from one arrangement in memory to another; strides in elements of `element_bytes`, one a dimension.
void StridedCopy(const Shape& shape, int64_t element_bytes, const std::byte* from, const std::vector<int64_t>& from_strides,
                 std::byte* to, const std::vector<int64_t>& to_strides);

}  // namespace athanor
