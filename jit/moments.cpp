#include "jit/moments.h"

#include "jit/reduction.h"
#include "ops/op.h"

namespace athanor {
namespace {

class Matcher {
 public:
  Matcher(const Graph& graph, const std::vector<ViewOf>& views) : graph_(graph), views_(views) {}

  // squares = sum(off * off), off = element - mean, mean = sum(element) * (1 / columns)
  std::optional<Moments> Match(NodeId squares) const {
    if (!IsSumOfRows(squares)) return std::nullopt;
    const Reduction rows = ReductionOf(graph_, At(squares));
    const NodeId square = Computed(At(squares).inputs[0]);
    if (!Is(square, Fn::kMul) || At(square).inputs[0] != At(square).inputs[1]) return std::nullopt;
    const NodeId off = Computed(At(square).inputs[0]);
    if (!Is(off, Fn::kSub)) return std::nullopt;
    const ValueId element = At(off).inputs[0], mean = At(off).inputs[1];
    const NodeId scaled = Computed(mean);
    if (!IsWhole(element) || !IsOneARow(mean, At(off).outputs[0], rows) || !Is(scaled, Fn::kMul)) return std::nullopt;
    const std::optional<double>& factor = graph_.value(Root(At(scaled).inputs[1])).constant;
    const NodeId sum = Computed(At(scaled).inputs[0]);
    if (factor != 1 / static_cast<double>(rows.reduced) || !IsSumOfRows(sum)) return std::nullopt;
    const Reduction same = ReductionOf(graph_, At(sum));
    if (Root(At(sum).inputs[0]) != Root(element) || same.kept != rows.kept || same.reduced != rows.reduced) return std::nullopt;
    Moments moments{sum, squares, Root(element), Root(element), {scaled, off, square}, rows.kept, rows.reduced};
    const NodeId cast = Computed(element);
    if (!Is(cast, Fn::kCast) || !IsWhole(At(cast).inputs[0])) return moments;
    moments.matrix = Root(At(cast).inputs[0]);
    moments.between.push_back(cast);
    return moments;
  }

 private:
  const Node& At(NodeId n) const { return graph_.node(n); }
  ValueId Root(ValueId v) const { return views_[v].root; }
  bool Is(NodeId n, Fn fn) const { return n != kNone && At(n).op->kind == OpKind::kPointwise && At(n).op->fn == fn; }
  // A view of all elements of its root, in their order.
  bool IsWhole(ValueId v) const { return views_[v].layout.IsContiguous() && graph_.desc(v).elements() == graph_.desc(Root(v)).elements(); }
  // The node that computes a value, where it is seen whole.
  NodeId Computed(ValueId v) const { return IsWhole(v) ? graph_.value(Root(v)).producer : kNone; }

  bool IsSumOfRows(NodeId n) const {
    return n != kNone && At(n).op->kind == OpKind::kReduce && At(n).op->fn == Fn::kAdd && IsWhole(At(n).inputs[0]) &&
           ReductionOf(graph_, At(n)).form == Reduction::Form::kTrailing;
  }

  // Broadcast along what is reduced of `matrix`.
  bool IsOneARow(ValueId v, ValueId matrix, const Reduction& rows) const {
    const Shape &shape = graph_.desc(v).shape, &whole = graph_.desc(matrix).shape;
    if (shape.size() != whole.size() || Product(shape) != rows.kept) return false;
    size_t d = 0;
    while (d < shape.size() && shape[d] == whole[d]) ++d;
    return Product(Shape(whole.begin() + static_cast<std::ptrdiff_t>(d), whole.end())) == rows.reduced;
  }

  const Graph& graph_;
  const std::vector<ViewOf>& views_;
};

}  // namespace

std::optional<Moments> MomentsOf(const Graph& graph, const std::vector<ViewOf>& views, NodeId squares) { return Matcher(graph, views).Match(squares); }

}  // namespace athanor
