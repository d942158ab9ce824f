#include "ops/dims.h"

#include <algorithm>

#include "ops/error.h"

namespace athanor {

int64_t NormalDim(std::string_view op, int64_t dim, const Shape& shape) {
  const int64_t rank = std::max<int64_t>(static_cast<int64_t>(shape.size()), 1);
  if (dim < -rank || dim >= rank) {
    Fail("{}: dimension {} is outside of shape {}, expected {} to {}", op, dim, ToString(shape), -rank, rank - 1);
  }
  return dim < 0 ? dim + rank : dim;
}

std::vector<int64_t> NormalDims(std::string_view op, const std::vector<int64_t>& dims, const Shape& shape) {
  std::vector<int64_t> normal;
  for (const int64_t dim : dims) normal.push_back(NormalDim(op, dim, shape));
  std::sort(normal.begin(), normal.end());
  const auto twice = std::adjacent_find(normal.begin(), normal.end());
  if (twice != normal.end()) Fail("{}: dimension {} is given twice in {}", op, *twice, ToString(dims));
  return normal;
}

}  // namespace athanor
