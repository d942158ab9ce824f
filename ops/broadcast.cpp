#include "ops/broadcast.h"

#include <algorithm>

#include "ops/error.h"

namespace athanor {

Shape BroadcastShapes(std::string_view op, const Shape& a, const Shape& b) {
  Shape result(std::max(a.size(), b.size()), 1);
  for (size_t back = 1; back <= result.size(); ++back) {
    const int64_t x = back <= a.size() ? a[a.size() - back] : 1, y = back <= b.size() ? b[b.size() - back] : 1;
    if (x != y && x != 1 && y != 1) {
      Fail("{}: shapes {} and {} do not broadcast: extents {} and {} differ and neither is 1", op, ToString(a), ToString(b), x, y);
    }
    result[result.size() - back] = x == 1 ? y : x;
  }
  return result;
}

std::vector<double> ReadThrough(const HostTensor& tensor, const Layout& map) {
  const Shape shape = map.shape();
  std::vector<double> result;
  if (Product(shape) == 0) return result;
  result.reserve(static_cast<size_t>(Product(shape)));
  const std::vector<double> source = tensor.ToDoubles();
  std::vector<std::vector<int64_t>> offsets(shape.size());   // of each index of each dimension
  for (size_t d = 0; d < shape.size(); ++d) {
    for (int64_t i = 0; i < shape[d]; ++i) offsets[d].push_back(Offset(map.dim(static_cast<int>(d)), i));
  }
  if (shape.empty()) return {source[map.offset()]};
  std::vector<int64_t> index(shape.size(), 0);
  for (;;) {
    int64_t row = map.offset();
    for (size_t d = 0; d + 1 < shape.size(); ++d) row += offsets[d][index[d]];
    for (const int64_t offset : offsets.back()) result.push_back(source[row + offset]);
    size_t d = shape.size() - 1;
    while (d-- > 0 && ++index[d] == shape[d]) index[d] = 0;
    if (d == static_cast<size_t>(-1)) return result;
  }
}

std::vector<double> ReadBroadcast(const HostTensor& tensor, const Shape& shape) {
  if (tensor.desc().shape == shape) return tensor.ToDoubles();
  return ReadThrough(tensor, Layout::Contiguous(tensor.desc().shape).Expand(shape));
}

}  // namespace athanor
