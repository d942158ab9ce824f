#include "ops/layout.h"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "ops/error.h"

namespace athanor {
namespace {

// Appends a digit to coalesced ones, which stay so.
void AppendCoalesced(Digit digit, Digits* digits) {
  if (digit.extent == 1) return;
  if (!digits->empty() && digit.stride == digits->back().extent * digits->back().stride) {
    digits->back().extent *= digit.extent;
  } else {
    digits->push_back(digit);
  }
}

Digits Flatten(const std::vector<Digits>& dims) {
  Digits flat;
  flat.reserve(dims.size());
  for (auto dim = dims.rbegin(); dim != dims.rend(); ++dim) {
    for (const Digit& digit : *dim) AppendCoalesced(digit, &flat);
  }
  return flat;
}

bool IsEmpty(const Layout& layout) {
  return std::any_of(layout.dims().begin(), layout.dims().end(), [](const Digits& digits) { return Extent(digits) == 0; });
}

// Walks arithmetic progressions through a function given by digits, and keeps account of how far each digit is turned, so that
// a sum of progressions is known to be free of carries: only then is the sum's address the sum of the addresses.
class Progressions {
 public:
  explicit Progressions(Digits function) : function_(std::move(function)), turned_(function_.size(), 0) {}

  // Address of a constant index; nothing when it is out of range.
  std::optional<int64_t> Constant(int64_t index) {
    int64_t address = 0;
    for (size_t k = 0; k < function_.size(); ++k) {
      const int64_t turn = index % function_[k].extent;
      index /= function_[k].extent;
      turned_[k] += turn;
      address += turn * function_[k].stride;
    }
    if (index != 0) return std::nullopt;
    return address;
  }

  // Appends the digits of i -> address of i * step, for i in [0, extent), to coalesced ones; false where there are none.
  bool Walk(int64_t extent, int64_t step, Digits* result) {
    size_t k = 0;
    while (extent > 1 && step != 0) {
      while (k < function_.size() && step % function_[k].extent == 0) step /= function_[k++].extent;
      if (k == function_.size()) return false;
      const Digit& digit = function_[k];
      const int64_t room = (digit.extent + step - 1) / step; // steps until this digit is full
      if (extent <= room) {
        turned_[k] += (extent - 1) * step;
        AppendCoalesced({extent, step * digit.stride}, result);
        return true;
      }
      if (digit.extent % step || extent % room) return false;
      turned_[k] += (room - 1) * step;
      AppendCoalesced({room, step * digit.stride}, result);
      extent /= room;
      step = 1;
      ++k;
    }
    AppendCoalesced({extent, 0}, result);
    return true;
  }

  bool CarryFree() const {
    for (size_t k = 0; k < function_.size(); ++k) {
      if (turned_[k] >= function_[k].extent) return false;
    }
    return true;
  }

 private:
  Digits function_;
  std::vector<int64_t> turned_;                              // the largest value each digit can reach
};

// The digits of a function given by its values (the first is 0), if it has any: every divisor is tried as the lowest digit.
// Strides are not negative: address ranges are counted from the offset upwards.
std::optional<Digits> FindDigits(const std::vector<int64_t>& values) {
  const auto count = static_cast<int64_t>(values.size());
  if (count == 1) return Digits{};
  const int64_t stride = values[1];
  if (stride < 0) return std::nullopt;
  for (int64_t low = 2; low <= count && values[low - 1] == stride * (low - 1); ++low) {
    if (count % low != 0) continue;
    std::vector<int64_t> rest;
    bool splits = true;
    for (int64_t i = 0; i < count && splits; ++i) {
      if (i % low == 0) rest.push_back(values[i]);
      splits = values[i] == rest.back() + stride * (i % low);
    }
    if (!splits) continue;
    if (std::optional<Digits> high = FindDigits(rest)) {
      high->insert(high->begin(), {low, stride});
      return high;
    }
  }
  return std::nullopt;
}

constexpr int64_t kSearchedSlice = 64;                       // slices this short may wrap around digits and still have a form

Digits OrUnit(Digits digits) { return digits.empty() ? Digits{{1, 0}} : digits; }

}  // namespace

int64_t Extent(const Digits& digits) {
  int64_t extent = 1;
  for (const Digit& digit : digits) extent *= digit.extent;
  return extent;
}

int64_t Offset(const Digits& digits, int64_t index) {
  int64_t offset = 0;
  for (const Digit& digit : digits) {
    if (digit.extent == 0) return 0;
    offset += index % digit.extent * digit.stride;
    index /= digit.extent;
  }
  return offset;
}

Digits Coalesce(const Digits& digits) {
  Digits result;
  for (const Digit& digit : digits) AppendCoalesced(digit, &result);
  return result;
}

int64_t FirstStride(const Digits& digits) {
  const auto first = std::find_if(digits.begin(), digits.end(), [](const Digit& digit) { return digit.extent != 1; });
  return first == digits.end() ? 0 : first->stride;
}

std::optional<std::vector<int64_t>> CommonRadix(const std::vector<Digits>& functions) {
  std::set<int64_t> borders;
  for (const Digits& digits : functions) {
    borders.insert(Extent(digits));
    int64_t below = 1;
    for (const Digit& digit : Coalesce(digits)) borders.insert(below *= digit.extent);
  }
  std::vector<int64_t> extents;
  int64_t below = 1;
  for (int64_t border : borders) {
    if (border == 1) continue;
    if (border % below != 0) return std::nullopt;
    extents.push_back(border / below);
    below = border;
  }
  return extents.empty() ? std::vector<int64_t>{1} : extents;
}

Layout Layout::Contiguous(const Shape& shape) { return Strided(shape, ContiguousStrides(shape)); }

Layout Layout::Strided(const Shape& shape, const std::vector<int64_t>& strides) {
  std::vector<Digits> dims(shape.size());
  for (size_t d = 0; d < shape.size(); ++d) dims[d].push_back({shape[d], strides[d]});
  return Layout(0, std::move(dims));
}

Shape Layout::shape() const {
  Shape shape;
  shape.reserve(dims_.size());
  for (const Digits& digits : dims_) shape.push_back(Extent(digits));
  return shape;
}

int64_t Layout::Address(const std::vector<int64_t>& index) const {
  int64_t address = offset_;
  for (size_t d = 0; d < dims_.size(); ++d) address += Offset(dims_[d], index[d]);
  return address;
}

Layout Layout::Permute(const std::vector<int>& dims) const {
  std::vector<Digits> permuted;
  for (int d : dims) permuted.push_back(dims_[d]);
  return Layout(offset_, std::move(permuted));
}

Layout Layout::Expand(const Shape& shape) const {
  const int added = static_cast<int>(shape.size()) - rank();
  ATHANOR_CHECK(added >= 0);
  std::vector<Digits> dims;
  for (int d = 0; d < static_cast<int>(shape.size()); ++d) {
    if (d >= added && extent(d - added) == shape[d]) {
      dims.push_back(dims_[d - added]);
    } else {
      ATHANOR_CHECK(d < added || extent(d - added) == 1);
      dims.push_back({{shape[d], 0}});
    }
  }
  return Layout(offset_, std::move(dims));
}

Layout Layout::Select(int dim, int64_t index) const {
  std::vector<Digits> dims = dims_;
  dims.erase(dims.begin() + dim);
  return Layout(offset_ + Offset(dims_[dim], index), std::move(dims));
}

std::optional<Layout> Layout::Slice(int dim, int64_t start, int64_t extent, int64_t step) const {
  std::vector<Digits> dims = dims_;
  if (extent == 0 || this->extent(dim) == 0) {
    dims[dim] = {{extent, 0}};
    return Layout(offset_, std::move(dims));
  }
  Progressions walk(Coalesce(dims_[dim]));
  std::optional<int64_t> offset = walk.Constant(start);
  if (!offset) return std::nullopt;
  Digits digits;
  if (!walk.Walk(extent, step, &digits) || !walk.CarryFree()) {
    if (extent > kSearchedSlice) return std::nullopt;
    std::vector<int64_t> values;
    for (int64_t i = 0; i < extent; ++i) values.push_back(Offset(dims_[dim], start + i * step) - *offset);
    const std::optional<Digits> found = FindDigits(values);
    if (!found) return std::nullopt;
    digits = Coalesce(*found);
  }
  dims[dim] = OrUnit(std::move(digits));
  return Layout(offset_ + *offset, std::move(dims));
}

std::optional<Layout> Layout::Reshape(const Shape& shape) const { return Compose(Contiguous(shape)); }

Layout Layout::Split(const std::vector<std::vector<int64_t>>& extents) const {
  std::vector<Digits> dims;
  for (int d = 0; d < rank(); ++d) {
    if (extents[d].size() == 1) {
      dims.push_back(dims_[d]);
      continue;
    }
    std::vector<Digits> parts;
    int64_t below = 1;
    for (int64_t extent : extents[d]) {
      parts.push_back({{extent, Offset(dims_[d], below)}});
      below *= extent;
    }
    dims.insert(dims.end(), parts.rbegin(), parts.rend());
  }
  return Layout(offset_, std::move(dims));
}

std::optional<Layout> Layout::Compose(const Layout& view) const {
  if (IsEmpty(view) || IsEmpty(*this)) return Layout(offset_, Strided(view.shape(), Shape(view.rank(), 0)).dims_);
  Progressions walk(Flatten(dims_));
  std::optional<int64_t> offset = walk.Constant(view.offset());
  if (!offset) return std::nullopt;
  std::vector<Digits> dims(view.rank());
  for (int d = 0; d < view.rank(); ++d) {
    for (const Digit& digit : Coalesce(view.dim(d))) {
      if (!walk.Walk(digit.extent, digit.stride, &dims[d])) return std::nullopt;
    }
    if (dims[d].empty()) dims[d] = {{1, 0}};
  }
  if (!walk.CarryFree()) return std::nullopt;
  return Layout(offset_ + *offset, std::move(dims));
}

bool Layout::IsContiguous() const {
  if (offset_ != 0) return false;
  const Digits flat = Flatten(dims_);
  return flat.empty() || IsEmpty(*this) || (flat.size() == 1 && flat[0].stride == 1);
}

std::string ToString(const Layout& layout) {
  std::string text = "(";
  for (int d = 0; d < layout.rank(); ++d) {
    if (d > 0) text += " | ";
    for (size_t k = 0; k < layout.dim(d).size(); ++k) {
      text += fmt::format("{}{}:{}", k ? " " : "", layout.dim(d)[k].extent, layout.dim(d)[k].stride);
    }
  }
  text += ")";
  if (layout.offset() != 0) text += fmt::format(" + {}", layout.offset());
  return text;
}

}  // namespace athanor
