#include "ops/emit.h"

#include <numeric>

#include "ops/error.h"

namespace athanor {

ValueId Emit::Cast(ValueId x, DType dtype) {
  if (desc(x).dtype == dtype) return x;
  return graph_.Add1("cast", {x}, {{"dtype", std::string(Name(dtype))}});
}

ValueId Emit::Sum(ValueId x, std::vector<int64_t> dims, bool keepdim) {
  if (dims.empty()) return x;
  return graph_.Add1("sum", {x}, {{"dim", std::move(dims)}, {"keepdim", keepdim}});
}

ValueId Emit::Amax(ValueId x, std::vector<int64_t> dims, bool keepdim) {
  if (dims.empty()) return x;
  return graph_.Add1("amax", {x}, {{"dim", std::move(dims)}, {"keepdim", keepdim}});
}

ValueId Emit::SumTo(ValueId x, const Shape& target) {
  const Shape from = shape(x);
  const size_t added = from.size() - target.size();
  std::vector<int64_t> dims;
  for (size_t d = 0; d < from.size(); ++d) {
    if (d < added || (target[d - added] == 1 && from[d] != 1)) dims.push_back(static_cast<int64_t>(d));
  }
  return Reshape(Sum(x, std::move(dims), true), target);
}

ValueId Emit::Iota(Shape shape, int64_t dim) {
  return graph_.Add("_iota", {}, {{"shape", std::move(shape)}, {"dim", dim}})[0];
}

ValueId Emit::Cat(std::vector<ValueId> parts, int64_t dim) {
  return parts.size() == 1 ? parts[0] : graph_.Add("cat", parts, {{"dim", dim}})[0];
}

ValueId Emit::Slice(ValueId x, int64_t dim, int64_t start, int64_t end) {
  if (start == 0 && end == shape(x)[dim]) return x;
  return graph_.Add1("slice", {x}, {{"dim", dim}, {"start", start}, {"end", end}});
}

ValueId Emit::Reshape(ValueId x, Shape target) {
  if (shape(x) == target) return x;
  return graph_.Add1("reshape", {x}, {{"shape", std::move(target)}});
}

ValueId Emit::Permute(ValueId x, std::vector<int64_t> dims) {
  if (dims == DimRange(0, static_cast<int64_t>(dims.size()))) return x;
  return graph_.Add1("permute", {x}, {{"dims", std::move(dims)}});
}

ValueId Emit::Transpose(ValueId x) {
  std::vector<int64_t> dims = DimRange(0, desc(x).rank());
  std::swap(dims[dims.size() - 1], dims[dims.size() - 2]);
  return Permute(x, std::move(dims));
}

ValueId Emit::Expand(ValueId x, Shape target) {
  if (shape(x) == target) return x;
  return graph_.Add1("expand", {x}, {{"size", std::move(target)}});
}

ValueId Emit::Window(ValueId x, int64_t dim, const std::vector<Slide>& slides, double fill) {
  std::vector<int64_t> dims, extent, kernel, start, stride, dilation;
  for (const Slide& slide : slides) {
    dims.push_back(dim++);
    extent.push_back(slide.extent), kernel.push_back(slide.kernel), start.push_back(slide.start);
    stride.push_back(slide.stride), dilation.push_back(slide.dilation);
  }
  return graph_.Add1("_window", {x}, {{"dim", dims}, {"extent", extent}, {"kernel", kernel}, {"start", start}, {"stride", stride},
                                      {"dilation", dilation}, {"fill", fill}});
}

ValueId Emit::Contract(ValueId a, ValueId b) { return graph_.Add1("_contract", {a, b}); }

DType ComputeType(DType dtype) { return IsHalf(dtype) ? DType::kF32 : dtype; }

std::vector<int64_t> DimRange(int64_t begin, int64_t end) {
  std::vector<int64_t> dims(static_cast<size_t>(end - begin));
  std::iota(dims.begin(), dims.end(), begin);
  return dims;
}

}  // namespace athanor
