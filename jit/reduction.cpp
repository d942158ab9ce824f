#include "jit/reduction.h"

#include <algorithm>
#include <vector>

#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

std::vector<bool> ReducedDims(const Node& node, int rank) {
  const auto& dims = Get<std::vector<int64_t>>(node.attrs, "dim");
  std::vector<bool> reduced(rank, dims.empty());
  for (int64_t d : dims) reduced[d < 0 ? d + rank : d] = true;
  return reduced;
}

Reduction::Form FormOf(const std::vector<bool>& reduced, const Shape& shape) {
  std::vector<bool> pattern;                                 // of the dimensions that matter
  for (size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] != 1) pattern.push_back(reduced[d]);
  }
  const auto kept = std::count(pattern.begin(), pattern.end(), false);
  if (kept == 0) return Reduction::Form::kAll;
  if (std::is_sorted(pattern.begin(), pattern.end())) return Reduction::Form::kTrailing;
  if (std::is_sorted(pattern.rbegin(), pattern.rend())) return Reduction::Form::kLeading;
  return Reduction::Form::kMixed;
}

struct Placed {
  Digit digit;
  int64_t position;
};

// The digits of a layout, least significant first, with their weight in the flat index; extent-1 digits left out.
std::vector<Placed> PlacedDigits(const Layout& layout) {
  std::vector<Placed> placed;
  int64_t position = 1;
  for (int d = layout.rank() - 1; d >= 0; --d) {
    for (const Digit& digit : layout.dim(d)) {
      if (digit.extent > 1) placed.push_back({digit, position});
      position *= digit.extent;
    }
  }
  return placed;
}

// Appends the inverse of digits that cover 0 .. extent-1 compactly when sorted by stride.
std::optional<Digits> InvertCompact(std::vector<Placed> placed, int64_t extent) {
  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) { return a.digit.stride < b.digit.stride; });
  Digits inverse;
  int64_t stride = 1;
  for (const Placed& p : placed) {
    if (p.digit.stride != stride) return std::nullopt;
    inverse.push_back({p.digit.extent, p.position});
    stride *= p.digit.extent;
  }
  if (stride != extent) return std::nullopt;
  return Coalesce(inverse);
}

}  // namespace

Reduction ReductionOf(const Graph& graph, const Node& node) {
  const Shape& shape = graph.desc(node.inputs[0]).shape;
  const int rank = static_cast<int>(shape.size());
  const std::vector<bool> reduced = ReducedDims(node, rank);
  const std::vector<int64_t> strides = ContiguousStrides(shape);
  Reduction result;
  result.form = FormOf(reduced, shape);
  const bool keepdim = Get<bool>(node.attrs, "keepdim");
  std::vector<Digits> kept;
  for (int d = 0; d < rank; ++d) {
    if (!reduced[d]) kept.push_back({{shape[d], strides[d]}}), result.kept *= shape[d];
    if (reduced[d] && keepdim) kept.push_back({{1, 0}});
  }
  for (int d = rank - 1; d >= 0; --d) {
    if (reduced[d]) result.reduced_digits.push_back({shape[d], strides[d]}), result.reduced *= shape[d];
  }
  if (result.reduced_digits.empty()) result.reduced_digits = {{1, 0}};
  result.reduced_digits = Coalesce(result.reduced_digits);
  if (result.reduced_digits.empty()) result.reduced_digits = {{1, 0}};
  result.kept_map = Layout(0, kept);
  return result;
}

std::optional<Layout> KeptByReduced(const Reduction& reduction, const Layout& input) {
  Digits kept;
  for (int d = reduction.kept_map.rank() - 1; d >= 0; --d) {
    const Digits& digits = reduction.kept_map.dim(d);
    kept.insert(kept.end(), digits.begin(), digits.end());
  }
  if (kept.empty()) kept = {{1, 0}};
  return input.Compose(Layout(0, {kept, reduction.reduced_digits}));
}

bool SameMap(const Layout& a, const Layout& b) {
  if (a.rank() != b.rank() || a.offset() != b.offset()) return false;
  for (int d = 0; d < a.rank(); ++d) {
    if (Coalesce(a.dim(d)) != Coalesce(b.dim(d))) return false;
  }
  return true;
}

std::optional<RowsOfA> PartOfRows(const Graph& graph, const std::vector<ViewOf>& views, ValueId a, ValueId input,
                                  const std::optional<Layout>& summed) {
  const Value& whole = graph.value(views[a].root);
  if (whole.producer == kNone || whole.desc.rank() != 2 || !summed) return std::nullopt;
  const Node& cat = graph.node(whole.producer);
  const Shape& shape = whole.desc.shape;
  if (cat.op->kind != OpKind::kConcat || Get<int64_t>(cat.attrs, "dim") % 2 == 0) return std::nullopt;
  if (!SameMap(views[a].layout, Layout::Strided({shape[1], shape[0]}, {1, shape[1]}))) return std::nullopt;
  RowsOfA rows;
  for (ValueId part : cat.inputs) {
    rows.begin = rows.end;
    rows.end += graph.desc(part).shape[1];
    const Layout& layout = views[part].layout;
    if (views[part].root == views[input].root && SameMap(*summed, Layout(layout.offset(), {layout.dim(1), layout.dim(0)}))) return rows;
  }
  return std::nullopt;
}

std::optional<RangeInverse> InvertRange(const Layout& layout, int64_t rows, int64_t columns) {
  if (columns == 0 || rows == 0) return std::nullopt;
  std::vector<Placed> row, column;
  int64_t height = 1, width = 1;
  for (Placed p : PlacedDigits(layout)) {
    if (p.digit.stride % columns == 0 && p.digit.stride > 0) {
      p.digit.stride /= columns;
      height *= p.digit.extent;
      row.push_back(p);
    } else {
      width *= p.digit.extent;
      column.push_back(p);
    }
  }
  RangeInverse inverse;
  inverse.of_rows = height < rows;
  inverse.begin = inverse.of_rows ? layout.offset() / columns : layout.offset();
  inverse.end = inverse.begin + (inverse.of_rows ? height : width);
  if (inverse.of_rows && (layout.offset() % columns != 0 || width != columns)) return std::nullopt;
  auto row_digits = InvertCompact(row, height), column_digits = InvertCompact(column, width);
  if (!row_digits || !column_digits || inverse.end > (inverse.of_rows ? rows : columns)) return std::nullopt;
  inverse.row = row_digits->empty() ? Digits{{1, 0}} : *row_digits;
  inverse.column = column_digits->empty() ? Digits{{1, 0}} : *column_digits;
  return inverse;
}

}  // namespace athanor
