#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ops/tensor_desc.h"

namespace athanor {

// One digit of a mixed-radix index: `extent` steps of `stride` elements.
struct Digit {
  int64_t extent = 1;
  int64_t stride = 0;
  bool operator==(const Digit&) const = default;
};

// The digits of one dimension, least significant first. The dimension's extent is the product of the digits' extents, and
// the digits are those of the index written in that mixed radix: Offset(i) = sum over k of (i / (e_0 ... e_{k-1}) % e_k) * s_k.
using Digits = std::vector<Digit>;

int64_t Extent(const Digits& digits);
int64_t Offset(const Digits& digits, int64_t index);
Digits Coalesce(const Digits& digits);                       // drops extent-1 digits and joins neighbours with s_{k+1} = e_k * s_k

int64_t FirstStride(const Digits& digits);                   // of the lowest digit that counts; 0 where the offset never changes
// Extents, least significant first, of the coarsest mixed radix in which each of `functions` (all of one extent) is linear digit by
// digit: digit k of function f has the stride Offset(f, product of the extents below k). Nothing where their digits do not nest.
std::optional<std::vector<int64_t>> CommonRadix(const std::vector<Digits>& functions);

// An access map: for each dimension of an index space its digits, plus a constant offset. The address of an index is the sum
// of the dimensions' offsets, so addresses are separable by dimension. Views, transposes, slices, head splits, patches and
// im2col windows without padding are all Layouts. The algebra is that of CuTe's layouts (NVIDIA CUTLASS), kept per dimension.
class Layout {
 public:
  Layout() = default;
  Layout(int64_t offset, std::vector<Digits> dims) : offset_(offset), dims_(std::move(dims)) {}
  static Layout Contiguous(const Shape& shape);
  static Layout Strided(const Shape& shape, const std::vector<int64_t>& strides);

  int rank() const { return static_cast<int>(dims_.size()); }
  int64_t offset() const { return offset_; }
  const std::vector<Digits>& dims() const { return dims_; }
  const Digits& dim(int d) const { return dims_[d]; }
  int64_t extent(int d) const { return Extent(dims_[d]); }
  Shape shape() const;
  int64_t Address(const std::vector<int64_t>& index) const;

  // The view operations. Those that may fail return nothing when the result has no separable form: the caller copies first.
  Layout Permute(const std::vector<int>& dims) const;        // dimension i of the result is dimension dims[i] of this
  Layout Expand(const Shape& shape) const;                   // broadcasting as in NumPy: new leading dimensions, extent 1 -> n
  Layout Select(int dim, int64_t index) const;               // removes `dim`
  std::optional<Layout> Slice(int dim, int64_t start, int64_t extent, int64_t step) const;
  std::optional<Layout> Reshape(const Shape& shape) const;

  // Dimension d falls apart into dimensions of `extents[d]` (least significant first in the list, last in the result), each with
  // one stride. REQUIRES: the digits of the dimension nest in them, see CommonRadix. One extent leaves the dimension as it is.
  Layout Split(const std::vector<std::vector<int64_t>>& extents) const;

  // This layout addressed through a view of its own index space: `view` maps a new index space to flat row-major indices of
  // shape(); the result maps the new index space to this layout's addresses.
  std::optional<Layout> Compose(const Layout& view) const;

  // True when the addresses are exactly 0 .. n-1 in row-major order of the index.
  bool IsContiguous() const;
  bool operator==(const Layout&) const = default;

 private:
  int64_t offset_ = 0;
  std::vector<Digits> dims_;
};

std::string ToString(const Layout& layout);                  // "(64:1 12:64 | 128:2304) + 768"

}  // namespace athanor
