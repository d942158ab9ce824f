#include "runtime/strided_copy.h"

#include <cstring>

#include "ops/error.h"

namespace athanor {

void StridedCopy(const Shape& shape, int64_t element_bytes, const std::byte* from, const std::vector<int64_t>& from_strides,
                 std::byte* to, const std::vector<int64_t>& to_strides) {
  const size_t rank = shape.size();
  ATHANOR_CHECK(from_strides.size() == rank && to_strides.size() == rank);
  std::vector<int64_t> index(rank, 0);
  int64_t source = 0, destination = 0;
  for (int64_t left = Product(shape); left > 0; --left) {
    std::memcpy(to + destination * element_bytes, from + source * element_bytes, static_cast<size_t>(element_bytes));
    for (size_t d = rank; d-- > 0;) {                        // the last dimension counts fastest
      source += from_strides[d], destination += to_strides[d];
      if (++index[d] < shape[d]) break;
      source -= shape[d] * from_strides[d], destination -= shape[d] * to_strides[d];
      index[d] = 0;
    }
  }
}

}  // namespace athanor
