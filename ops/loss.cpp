#include "ops/loss.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

using Type = AttrSpec::Type;

bool Has(const Node& node, size_t i) { return node.inputs.size() > i && node.inputs[i] != kNone; }

void CheckFloat(const OpCall& call) {
  if (!IsFloat(call.in(0).dtype)) Fail("{}: input has dtype {}, expected a floating-point one", call.op.name, Name(call.in(0).dtype));
}

// A tensor seen as [outer, extent, inner] around one dimension.
struct Rows {
  int64_t outer, extent, inner;

  Rows(const Shape& shape, int64_t dim)
      : outer(Product({shape.begin(), shape.begin() + dim})), extent(shape[dim]), inner(Product({shape.begin() + dim + 1, shape.end()})) {}
  int64_t count() const { return outer * inner; }
  int64_t At(int64_t row, int64_t i) const { return (row / inner * extent + i) * inner + row % inner; }
};

// The largest element of a row and the logarithm of the sum of exp(x - largest).
std::pair<double, double> LogSum(const HostTensor& x, const Rows& rows, int64_t row) {
  double top = -std::numeric_limits<double>::infinity(), sum = 0;
  for (int64_t i = 0; i < rows.extent; ++i) top = std::max(top, x.Get(rows.At(row, i)));
  for (int64_t i = 0; i < rows.extent; ++i) sum += std::exp(x.Get(rows.At(row, i)) - top);
  return {top, std::log(sum)};
}

// The nodes forward and backward of a softmax share: x - max, its exponential and the sum of those, along `dim`.
struct Exponentials {
  ValueId shifted, exp, sum;
};

Exponentials EmitExponentials(Emit& emit, ValueId x, int64_t dim) {
  Exponentials result;
  result.shifted = emit.Sub(x, emit.Amax(x, {dim}, true));
  result.exp = emit.Exp(result.shifted);
  result.sum = emit.Sum(result.exp, {dim}, true);
  return result;
}

// --- softmax, log_softmax --------------------------------------------------------------------------------------------

int64_t Dim(std::string_view op, const Attrs& attrs, const Shape& shape) {
  const int64_t rank = static_cast<int64_t>(shape.size()), dim = Get<int64_t>(attrs, "dim");
  if (dim < -rank || dim >= rank) Fail("{}: dim {} is outside of an input of shape {}", op, dim, ToString(shape));
  return dim < 0 ? dim + rank : dim;
}

std::vector<TensorDesc> InferSoftmax(const OpCall& call) {
  CheckFloat(call);
  Dim(call.op.name, call.attrs, call.in(0).shape);
  return {{call.in(0).dtype, call.in(0).shape}};
}

void ReferenceSoftmax(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const Shape& shape = in[0]->desc().shape;
  const Rows rows(shape, Dim(call.op.name, call.attrs, shape));
  for (int64_t row = 0; row < rows.count(); ++row) {
    const auto [top, log_sum] = LogSum(*in[0], rows, row);
    for (int64_t i = 0; i < rows.extent; ++i) {
      const double y = in[0]->Get(rows.At(row, i)) - top - log_sum;
      out[0].Set(rows.At(row, i), call.op.name == "softmax" ? std::exp(y) : y);
    }
  }
}

std::vector<ValueId> DecomposeSoftmax(Graph& graph, const Node& node) {
  Emit emit(graph);
  const DType dtype = emit.desc(node.inputs[0]).dtype;
  if (emit.desc(node.inputs[0]).elements() == 0) return {node.inputs[0]};        // also where there is no largest element
  const int64_t dim = Dim(node.op->name, node.attrs, emit.shape(node.inputs[0]));
  const Exponentials row = EmitExponentials(emit, emit.Cast(node.inputs[0], ComputeType(dtype)), dim);
  const ValueId y = node.op->name == "softmax" ? emit.Mul(row.exp, emit.Div(1.0, row.sum)) : emit.Sub(row.shifted, emit.Log(row.sum));
  return {emit.Cast(y, dtype)};
}

// From the output alone: dx = y * (g - sum(g * y)), and for the logarithm dx = g - exp(y) * sum(g).
std::vector<ValueId> GradientSoftmax(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>&) {
  if (grads[0] == kNone) return NoValues(1);
  Emit emit(graph);
  const DType dtype = emit.desc(node.inputs[0]).dtype;
  const int64_t dim = Dim(node.op->name, node.attrs, emit.shape(node.inputs[0]));
  const ValueId g = emit.Cast(grads[0], ComputeType(dtype)), y = emit.Cast(node.outputs[0], ComputeType(dtype));
  const ValueId dx = node.op->name == "softmax" ? emit.Mul(y, emit.Sub(g, emit.Sum(emit.Mul(g, y), {dim}, true)))
                                                : emit.Sub(g, emit.Mul(emit.Exp(y), emit.Sum(g, {dim}, true)));
  return {emit.Cast(dx, dtype)};
}

// --- cross_entropy, nll_loss -----------------------------------------------------------------------------------------

std::string Reduction(const OpCall& call) {
  const std::string& reduction = call.attr<std::string>("reduction");
  if (reduction != "none" && reduction != "mean" && reduction != "sum") {
    Fail("{}: reduction is \"{}\", expected \"none\", \"mean\" or \"sum\"", call.op.name, reduction);
  }
  return reduction;
}

int64_t ClassDim(const Shape& shape) { return shape.size() == 1 ? 0 : 1; }

std::vector<TensorDesc> InferClassLoss(const OpCall& call) {
  CheckFloat(call);
  const TensorDesc& x = call.in(0);
  if (x.rank() < 1) Fail("{}: input has shape {}, expected [N, C, ...] or [C]", call.op.name, ToString(x.shape));
  Shape rows = x.shape;
  rows.erase(rows.begin() + ClassDim(x.shape));
  if (call.in(1).dtype != DType::kI64 || call.in(1).shape != rows) {
    Fail("{}: target is {}, expected class indices {}", call.op.name, ToString(call.in(1)), ToString(TensorDesc{DType::kI64, rows}));
  }
  const TensorDesc weight = {x.dtype, {x.shape[ClassDim(x.shape)]}};
  if (call.has(2) && (call.in(2).dtype != weight.dtype || call.in(2).shape != weight.shape)) {
    Fail("{}: weight is {}, expected {}", call.op.name, ToString(call.in(2)), ToString(weight));
  }
  if (call.op.name == "cross_entropy" && call.attr<double>("label_smoothing") != 0) {
    Fail("cross_entropy: label_smoothing is {}; only 0 is supported", call.attr<double>("label_smoothing"));
  }
  return {{x.dtype, Reduction(call) == "none" ? rows : Shape{}}};
}

void ReferenceClassLoss(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const Shape& shape = in[0]->desc().shape;
  const Rows rows(shape, ClassDim(shape));
  const std::string reduction = Reduction(call);
  const int64_t ignored = call.attr<int64_t>("ignore_index");
  double total = 0, divisor = 0;
  for (int64_t row = 0; row < rows.count(); ++row) {
    const int64_t target = static_cast<int64_t>(in[1]->Get(row));
    if (target == ignored) continue;
    if (target < 0 || target >= rows.extent) Fail("{}: target {} is outside of the {} classes", call.op.name, target, rows.extent);
    const double weight = in.size() > 2 && in[2] ? in[2]->Get(target) : 1;
    double loss = -in[0]->Get(rows.At(row, target));
    if (call.op.name == "cross_entropy") {
      const auto [top, log_sum] = LogSum(*in[0], rows, row);
      loss += top + log_sum;
    }
    total += weight * loss;
    divisor += weight;
    if (reduction == "none") out[0].Set(row, weight * loss);
  }
  if (reduction != "none") out[0].Set(0, reduction == "mean" ? total / divisor : total);
}

// What the loss and its gradient share. Per-row values keep the class dimension with extent 1.
struct Targets {
  int64_t dim;
  ValueId hit;                                               // where the class is the row's target
  ValueId ignored;                                           // rows that count for nothing
  ValueId weight;                                            // of each row; kNone: all 1
  ValueId divisor;                                           // of a mean, a scalar; kNone otherwise
};

Targets EmitTargets(Emit& emit, const Node& node, DType dtype) {
  const Shape shape = emit.shape(node.inputs[0]);
  Targets result = {.dim = ClassDim(shape), .weight = kNone, .divisor = kNone};
  Shape row_shape = shape;
  row_shape[result.dim] = 1;
  const ValueId target = emit.Reshape(node.inputs[1], row_shape), zero = emit.Scalar(0, dtype);
  result.hit = emit.Eq(emit.Iota(shape, result.dim), target);
  result.ignored = emit.Eq(target, emit.Scalar(static_cast<double>(Get<int64_t>(node.attrs, "ignore_index")), DType::kI64));
  if (Has(node, 2)) {
    Shape weight_shape(shape.size(), 1);
    weight_shape[result.dim] = shape[result.dim];
    const ValueId weight = emit.Reshape(emit.Cast(node.inputs[2], dtype), weight_shape);
    result.weight = emit.Sum(emit.Where(result.hit, weight, zero), {result.dim}, true);
  }
  if (Get<std::string>(node.attrs, "reduction") == "mean") {
    const ValueId one = result.weight == kNone ? emit.Scalar(1, dtype) : result.weight;
    result.divisor = emit.Sum(emit.Where(result.ignored, zero, one), DimRange(0, static_cast<int64_t>(shape.size())), false);
  }
  return result;
}

std::vector<ValueId> DecomposeClassLoss(Graph& graph, const Node& node) {
  Emit emit(graph);
  const DType dtype = emit.desc(node.inputs[0]).dtype;
  const ValueId x = emit.Cast(node.inputs[0], ComputeType(dtype));
  const ValueId zero = emit.Scalar(0, ComputeType(dtype));
  const Targets targets = EmitTargets(emit, node, ComputeType(dtype));
  ValueId loss;
  if (node.op->name == "cross_entropy") {
    const Exponentials row = EmitExponentials(emit, x, targets.dim);
    const ValueId picked = emit.Sum(emit.Where(targets.hit, row.shifted, zero), {targets.dim}, true);
    loss = emit.Sub(emit.Log(row.sum), picked);
  } else {
    loss = emit.Neg(emit.Sum(emit.Where(targets.hit, x, zero), {targets.dim}, true));
  }
  if (targets.weight != kNone) loss = emit.Mul(loss, targets.weight);
  loss = emit.Where(targets.ignored, zero, loss);
  if (Get<std::string>(node.attrs, "reduction") == "none") {
    loss = emit.Reshape(loss, Shape(emit.shape(node.inputs[1])));
  } else {
    loss = emit.Sum(loss, DimRange(0, emit.desc(x).rank()), false);
    if (targets.divisor != kNone) loss = emit.Div(loss, targets.divisor);
  }
  return {emit.Cast(loss, dtype)};
}

// With r the gradient of a row's loss, times its weight: dx = r * (softmax(x) - hit), and -r * hit where x is log-probabilities.
std::vector<ValueId> GradientClassLoss(Graph& graph, const Node& node, std::span<const ValueId> grads,
                                       const std::vector<bool>& wanted) {
  std::vector<ValueId> result = NoValues(node.inputs.size());
  if (grads[0] == kNone || !wanted[0]) return result;
  if (wanted.size() > 2 && wanted[2]) Fail("{}: weight is not differentiable", node.op->name);
  Emit emit(graph);
  const DType dtype = emit.desc(node.inputs[0]).dtype;
  const ValueId zero = emit.Scalar(0, ComputeType(dtype));
  const Targets targets = EmitTargets(emit, node, ComputeType(dtype));
  ValueId r = emit.Cast(grads[0], ComputeType(dtype));
  if (Get<std::string>(node.attrs, "reduction") == "none") r = emit.Reshape(r, Shape(emit.shape(targets.ignored)));
  if (targets.divisor != kNone) r = emit.Div(r, targets.divisor);
  if (targets.weight != kNone) r = emit.Mul(r, targets.weight);
  r = emit.Where(targets.ignored, zero, r);
  if (node.op->name == "cross_entropy") {
    const Exponentials row = EmitExponentials(emit, emit.Cast(node.inputs[0], ComputeType(dtype)), targets.dim);
    result[0] = emit.Sub(emit.Mul(row.exp, emit.Div(r, row.sum)), emit.Where(targets.hit, r, zero));
  } else {
    result[0] = emit.Where(targets.hit, emit.Neg(r), zero);
  }
  result[0] = emit.Cast(result[0], dtype);
  return result;
}

// --- mse_loss --------------------------------------------------------------------------------------------------------

std::vector<TensorDesc> InferMse(const OpCall& call) {
  CheckFloat(call);
  const TensorDesc& x = call.in(0);
  if (call.in(1).dtype != x.dtype || call.in(1).shape != x.shape) {
    Fail("mse_loss: target is {}, expected {} as the input", ToString(call.in(1)), ToString(TensorDesc{x.dtype, x.shape}));
  }
  return {{x.dtype, Reduction(call) == "none" ? x.shape : Shape{}}};
}

void ReferenceMse(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const std::string reduction = Reduction(call);
  double total = 0;
  for (int64_t i = 0; i < in[0]->elements(); ++i) {
    const double d = in[0]->Get(i) - in[1]->Get(i);
    total += d * d;
    if (reduction == "none") out[0].Set(i, d * d);
  }
  if (reduction != "none") out[0].Set(0, reduction == "mean" ? total / static_cast<double>(in[0]->elements()) : total);
}

std::vector<ValueId> DecomposeMse(Graph& graph, const Node& node) {
  Emit emit(graph);
  const TensorDesc desc = emit.desc(node.inputs[0]);
  const DType compute = ComputeType(desc.dtype);
  const ValueId d = emit.Sub(emit.Cast(node.inputs[0], compute), emit.Cast(node.inputs[1], compute));
  ValueId loss = emit.Mul(d, d);
  const std::string reduction = Get<std::string>(node.attrs, "reduction");
  if (reduction != "none") loss = emit.Sum(loss, DimRange(0, desc.rank()), false);
  if (reduction == "mean") loss = emit.Div(loss, static_cast<double>(desc.elements()));
  return {emit.Cast(loss, desc.dtype)};
}

std::vector<ValueId> GradientMse(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>& wanted) {
  if (grads[0] == kNone) return NoValues(2);
  Emit emit(graph);
  const TensorDesc desc = emit.desc(node.inputs[0]);
  const DType compute = ComputeType(desc.dtype);
  const ValueId d = emit.Sub(emit.Cast(node.inputs[0], compute), emit.Cast(node.inputs[1], compute));
  const bool mean = Get<std::string>(node.attrs, "reduction") == "mean";
  const ValueId g = emit.Mul(emit.Cast(grads[0], compute), mean ? 2 / static_cast<double>(desc.elements()) : 2.0);
  const ValueId dx = emit.Mul(d, g);
  return {wanted[0] ? emit.Cast(dx, desc.dtype) : kNone, wanted[1] ? emit.Cast(emit.Neg(dx), desc.dtype) : kNone};
}

OpDef Softmax(std::string_view name) {
  return {.name = name,
          .attrs = {{"dim", Type::kInt}},
          .infer = InferSoftmax,
          .reference = ReferenceSoftmax,
          .gradient = GradientSoftmax,
          .decompose = DecomposeSoftmax};
}

OpDef ClassLoss(std::string_view name) {
  return {.name = name,
          .min_inputs = 2,
          .max_inputs = 3,
          .attrs = {{"reduction", Type::kString, std::string("mean")}, {"ignore_index", Type::kInt, int64_t{-100}}},
          .infer = InferClassLoss,
          .reference = ReferenceClassLoss,
          .gradient = GradientClassLoss,
          .decompose = DecomposeClassLoss};
}

}  // namespace

void RegisterLossOps() {
  RegisterOp(Softmax("softmax"));
  RegisterOp(Softmax("log_softmax"));
  RegisterOp(ClassLoss("nll_loss"));
  OpDef cross_entropy = ClassLoss("cross_entropy");
  cross_entropy.attrs.push_back({"label_smoothing", Type::kFloat, 0.0});
  RegisterOp(cross_entropy);
  RegisterOp({.name = "mse_loss",
              .min_inputs = 2,
              .max_inputs = 2,
              .attrs = {{"reduction", Type::kString, std::string("mean")}},
              .infer = InferMse,
              .reference = ReferenceMse,
              .gradient = GradientMse,
              .decompose = DecomposeMse});
}

}  // namespace athanor
