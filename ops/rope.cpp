#include "ops/rope.h"

#include <algorithm>

#include "ops/broadcast.h"
#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

using Type = AttrSpec::Type;

enum Input : int { kX, kCos, kSin, kPositions };

bool HasPositions(const Node& node) { return node.inputs.size() > kPositions && node.inputs[kPositions] != kNone; }

void CheckPositions(const OpCall& call) {
  const TensorDesc &x = call.in(kX), &positions = call.in(kPositions);
  if (positions.dtype != DType::kI64 && positions.dtype != DType::kI32) {
    Fail("rope: positions have dtype {}, expected i64 or i32", Name(positions.dtype));
  }
  const Shape points(x.shape.begin(), x.shape.end() - 1);
  if (positions.shape.size() > points.size() || BroadcastShapes("rope", positions.shape, points) != points) {
    Fail("rope: positions have shape {}, expected one that broadcasts to {}", ToString(positions.shape), ToString(points));
  }
}

std::vector<TensorDesc> Infer(const OpCall& call) {
  const TensorDesc &x = call.in(kX), &cos = call.in(kCos), &sin = call.in(kSin);
  if (!IsFloat(x.dtype)) Fail("rope: input has dtype {}, expected a floating-point one", Name(x.dtype));
  if (x.rank() < 2) Fail("rope: input has shape {}, expected [..., length, width]", ToString(x.shape));
  const int64_t length = x.shape[x.shape.size() - 2], width = x.shape.back();
  if (cos.dtype != x.dtype && cos.dtype != ComputeType(x.dtype)) Fail("rope: cos has dtype {}, expected {}", Name(cos.dtype), Name(x.dtype));
  if (cos.rank() != 2 || 2 * cos.shape[1] > width) {
    Fail("rope: cos has shape {}, expected [rows, pairs] with at most {} pairs", ToString(cos.shape), width / 2);
  }
  if (sin.dtype != cos.dtype || sin.shape != cos.shape) Fail("rope: sin is {}, expected {} as cos", ToString(sin), ToString(cos));
  if (call.has(kPositions)) CheckPositions(call);
  if (!call.has(kPositions) && cos.shape[0] < length) Fail("rope: cos has {} rows for {} positions", cos.shape[0], length);
  return {{x.dtype, x.shape}};
}

void Reference(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const Shape& shape = in[kX]->desc().shape;
  const int64_t width = shape.back(), length = shape[shape.size() - 2], pairs = in[kCos]->desc().shape[1], rows = in[kCos]->desc().shape[0];
  const bool interleaved = call.attr<bool>("interleaved");
  std::vector<double> positions;
  if (in.size() > kPositions && in[kPositions]) positions = ReadBroadcast(*in[kPositions], Shape(shape.begin(), shape.end() - 1));
  out[0].Assign(in[kX]->ToDoubles());
  for (int64_t point = 0; width > 0 && point < out[0].elements() / width; ++point) {
    const int64_t row = positions.empty() ? point % length : static_cast<int64_t>(positions[point]);
    if (row < 0 || row >= rows) Fail("rope: position {} is outside of the {} rows", row, rows);
    for (int64_t pair = 0; pair < pairs; ++pair) {
      const int64_t first = point * width + (interleaved ? 2 * pair : pair), second = first + (interleaved ? 1 : pairs);
      const double c = in[kCos]->Get(row * pairs + pair), s = in[kSin]->Get(row * pairs + pair);
      const double a = in[kX]->Get(first), b = in[kX]->Get(second);
      out[0].Set(first, a * c - b * s);
      out[0].Set(second, b * c + a * s);
    }
  }
}

// The rotated part of x as [..., pairs] twice, in the dtype computed in; the parts may carry a unit dimension behind.
class Rotation {
 public:
  Rotation(Emit& emit, const Node& node)
      : emit_(emit), interleaved_(Get<bool>(node.attrs, "interleaved")), pairs_(emit.shape(node.inputs[kCos])[1]),
        dtype_(emit.desc(node.inputs[kX]).dtype) {}

  std::pair<ValueId, ValueId> Split(ValueId x) const {
    const int64_t last = emit_.desc(x).rank() - 1;
    if (!interleaved_) return {Wide(emit_.Slice(x, last, 0, pairs_)), Wide(emit_.Slice(x, last, pairs_, 2 * pairs_))};
    Shape shape = emit_.shape(x);
    shape.back() = pairs_;
    shape.push_back(2);
    const ValueId both = emit_.Reshape(emit_.Slice(x, last, 0, 2 * pairs_), shape);
    shape.pop_back();
    return {Wide(emit_.Reshape(emit_.Slice(both, last + 1, 0, 1), shape)), Wide(emit_.Reshape(emit_.Slice(both, last + 1, 1, 2), shape))};
  }

  // The inverse of Split, with what of `x` is not rotated.
  ValueId Join(ValueId first, ValueId second, ValueId x) const {
    const int64_t last = emit_.desc(x).rank() - 1, width = emit_.shape(x)[last];
    std::vector<ValueId> parts = {emit_.Cast(first, dtype_), emit_.Cast(second, dtype_)};
    if (interleaved_) {
      Shape shape = emit_.shape(first);
      shape.push_back(1);
      const ValueId both = emit_.Cat({emit_.Reshape(parts[0], shape), emit_.Reshape(parts[1], shape)}, last + 1);
      shape.pop_back();
      shape.back() = 2 * pairs_;
      parts = {emit_.Reshape(both, shape)};
    }
    if (2 * pairs_ < width) parts.push_back(emit_.Slice(x, last, 2 * pairs_, width));
    return emit_.Cat(std::move(parts), last);
  }

  ValueId Wide(ValueId v) const { return emit_.Cast(v, ComputeType(dtype_)); }

 private:
  Emit& emit_;
  bool interleaved_;
  int64_t pairs_;
  DType dtype_;
};

ValueId Positions(Emit& emit, const Node& node) { return emit.Cast(node.inputs[kPositions], DType::kI64); }

// The rows of a table that the positions pick, broadcast against [..., length, pairs].
ValueId Rows(Graph& graph, Emit& emit, const Node& node, ValueId table) {
  if (HasPositions(node)) return graph.Add1("_gather_rows", {table, Positions(emit, node)});
  const Shape& x = emit.shape(node.inputs[kX]);
  return emit.Slice(table, 0, 0, x[x.size() - 2]);
}

std::vector<ValueId> Decompose(Graph& graph, const Node& node) {
  Emit emit(graph);
  const ValueId x = node.inputs[kX];
  if (emit.shape(node.inputs[kCos])[1] == 0) return {x};
  const Rotation rotation(emit, node);
  const auto [a, b] = rotation.Split(x);
  const ValueId c = rotation.Wide(Rows(graph, emit, node, node.inputs[kCos])), s = rotation.Wide(Rows(graph, emit, node, node.inputs[kSin]));
  return {rotation.Join(emit.Sub(emit.Mul(a, c), emit.Mul(b, s)), emit.Add(emit.Mul(b, c), emit.Mul(a, s)), x)};
}

// The gradient of a table: that of the rows read, at their places.
ValueId TableGradient(Graph& graph, Emit& emit, const Node& node, ValueId g, int table) {
  const TensorDesc desc = emit.desc(node.inputs[table]);
  if (HasPositions(node)) {
    Shape read = emit.shape(node.inputs[kPositions]);
    read.push_back(desc.shape[1]);
    const ValueId rows = graph.Add1("_scatter_add_rows", {emit.SumTo(g, read), Positions(emit, node)}, {{"table_rows", desc.shape[0]}});
    return emit.Cast(rows, desc.dtype);
  }
  const Shape& x = emit.shape(node.inputs[kX]);
  const int64_t length = x[x.size() - 2];
  const ValueId rows = emit.Cast(emit.SumTo(g, {length, desc.shape[1]}), desc.dtype);
  if (length == desc.shape[0]) return rows;
  return emit.Cat({rows, emit.Zeros({desc.dtype, {desc.shape[0] - length, desc.shape[1]}})}, 0);
}

// The input's gradient is turned back; the tables' come from the products of both.
std::vector<ValueId> Gradient(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>& wanted) {
  std::vector<ValueId> result = NoValues(node.inputs.size());
  if (grads[0] == kNone) return result;
  Emit emit(graph);
  if (wanted[kX]) {
    std::vector<ValueId> inputs = node.inputs;
    inputs[kX] = grads[0];
    inputs[kSin] = emit.Neg(node.inputs[kSin]);
    result[kX] = graph.Add("rope", inputs, node.attrs)[0];
  }
  if ((!wanted[kCos] && !wanted[kSin]) || emit.shape(node.inputs[kCos])[1] == 0) return result;
  const Rotation rotation(emit, node);
  const auto [a, b] = rotation.Split(node.inputs[kX]);
  const auto [ga, gb] = rotation.Split(grads[0]);
  if (wanted[kCos]) result[kCos] = TableGradient(graph, emit, node, emit.Add(emit.Mul(ga, a), emit.Mul(gb, b)), kCos);
  if (wanted[kSin]) result[kSin] = TableGradient(graph, emit, node, emit.Sub(emit.Mul(gb, a), emit.Mul(ga, b)), kSin);
  return result;
}

}  // namespace

void RegisterRopeOps() {
  RegisterOp({.name = "rope",
              .min_inputs = 3,
              .max_inputs = 4,
              .attrs = {{"interleaved", Type::kBool, false}},
              .infer = Infer,
              .reference = Reference,
              .gradient = Gradient,
              .decompose = Decompose});
}

}  // namespace athanor
