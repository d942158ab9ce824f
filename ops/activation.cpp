#include "ops/activation.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "ops/broadcast.h"
#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

using Type = AttrSpec::Type;

constexpr double kTanhCubic = 0.044715;                      // of gelu's tanh form
const double kTanhScale = std::sqrt(2 / std::numbers::pi);

bool UsesTanh(std::string_view op, const Attrs& attrs) {
  const auto found = attrs.find("approximate");
  if (found == attrs.end()) return false;
  const std::string& approximate = std::get<std::string>(found->second);
  if (approximate != "none" && approximate != "tanh") {
    Fail("{}: approximate is \"{}\", expected \"none\" or \"tanh\"", op, approximate);
  }
  return approximate == "tanh";
}

std::vector<TensorDesc> Infer(const OpCall& call) {
  const DType dtype = call.in(0).dtype;
  if (call.op.name == "relu" ? dtype == DType::kBool : !IsFloat(dtype)) {
    Fail("{}: input has dtype {}, expected {}", call.op.name, Name(dtype), call.op.name == "relu" ? "numbers" : "a floating-point one");
  }
  UsesTanh(call.op.name, call.attrs);
  return {{dtype, call.in(0).shape}};
}

double Activate(std::string_view op, bool uses_tanh, double x) {
  if (op == "relu") return x > 0 || std::isnan(x) ? x : 0;
  if (op == "silu") return x / (1 + std::exp(-x));
  if (uses_tanh) return x / 2 * (1 + std::tanh(kTanhScale * (x + kTanhCubic * x * x * x)));
  return x / 2 * std::erfc(-x / std::numbers::sqrt2);
}

void Reference(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const bool uses_tanh = UsesTanh(call.op.name, call.attrs);
  std::vector<double> values = in[0]->ToDoubles();
  for (double& x : values) x = Activate(call.op.name, uses_tanh, x);
  out[0].Assign(values);
}

// --- relu ------------------------------------------------------------------------------------------------------------

std::vector<ValueId> DecomposeRelu(Graph& graph, const Node& node) {
  Emit emit(graph);
  return {emit.Maximum(node.inputs[0], emit.Scalar(0, emit.desc(node.inputs[0]).dtype))};
}

std::vector<ValueId> GradientRelu(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>&) {
  if (grads[0] == kNone) return NoValues(1);
  Emit emit(graph);
  const ValueId zero = emit.Scalar(0, emit.desc(grads[0]).dtype);
  return {emit.Where(emit.Gt(node.inputs[0], zero), grads[0], zero)};
}

// --- gelu: x times a gate, the normal distribution's cdf or its tanh form ------------------------------------------------

// The nodes that forward and backward share.
struct Gelu {
  ValueId gate;
  ValueId slope;                                             // of the gate; kNone unless asked for
};

Gelu EmitExactGelu(Emit& emit, ValueId x, bool with_slope) {
  Gelu gelu = {emit.Mul(emit.Add(emit.Erf(emit.Mul(x, 1 / std::numbers::sqrt2)), 1.0), 0.5), kNone};
  if (with_slope) {
    const double density = std::numbers::inv_sqrtpi / std::numbers::sqrt2;
    gelu.slope = emit.Mul(emit.Exp(emit.Mul(emit.Mul(x, x), -0.5)), density);
  }
  return gelu;
}

Gelu EmitTanhGelu(Emit& emit, ValueId x, bool with_slope) {
  const ValueId square = emit.Mul(x, x);
  const ValueId inner = emit.Mul(x, emit.Add(emit.Mul(square, kTanhScale * kTanhCubic), kTanhScale));
  const ValueId t = emit.Tanh(inner);
  Gelu gelu = {emit.Mul(emit.Add(t, 1.0), 0.5), kNone};
  if (with_slope) {
    const ValueId inner_slope = emit.Add(emit.Mul(square, 3 * kTanhScale * kTanhCubic), kTanhScale);
    gelu.slope = emit.Mul(emit.Mul(emit.Sub(1.0, emit.Mul(t, t)), inner_slope), 0.5);
  }
  return gelu;
}

Gelu EmitGelu(Emit& emit, const Node& node, ValueId x, bool with_slope) {
  return UsesTanh(node.op->name, node.attrs) ? EmitTanhGelu(emit, x, with_slope) : EmitExactGelu(emit, x, with_slope);
}

std::vector<ValueId> DecomposeGelu(Graph& graph, const Node& node) {
  Emit emit(graph);
  const DType dtype = emit.desc(node.inputs[0]).dtype;
  const ValueId x = emit.Cast(node.inputs[0], ComputeType(dtype));
  return {emit.Cast(emit.Mul(x, EmitGelu(emit, node, x, false).gate), dtype)};
}

std::vector<ValueId> GradientGelu(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>&) {
  if (grads[0] == kNone) return NoValues(1);
  Emit emit(graph);
  const DType dtype = emit.desc(node.inputs[0]).dtype;
  const ValueId x = emit.Cast(node.inputs[0], ComputeType(dtype));
  const Gelu gelu = EmitGelu(emit, node, x, true);
  const ValueId slope = emit.Add(gelu.gate, emit.Mul(x, gelu.slope));
  return {emit.Cast(emit.Mul(emit.Cast(grads[0], ComputeType(dtype)), slope), dtype)};
}

// --- silu ------------------------------------------------------------------------------------------------------------

std::vector<ValueId> DecomposeSilu(Graph& graph, const Node& node) {
  Emit emit(graph);
  const DType dtype = emit.desc(node.inputs[0]).dtype;
  const ValueId x = emit.Cast(node.inputs[0], ComputeType(dtype));
  return {emit.Cast(emit.Mul(x, emit.Sigmoid(x)), dtype)};
}

// s * (1 + x * (1 - s)) with s = sigmoid(x).
std::vector<ValueId> GradientSilu(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>&) {
  if (grads[0] == kNone) return NoValues(1);
  Emit emit(graph);
  const DType dtype = emit.desc(node.inputs[0]).dtype;
  const ValueId x = emit.Cast(node.inputs[0], ComputeType(dtype)), s = emit.Sigmoid(x);
  const ValueId slope = emit.Mul(s, emit.Add(emit.Mul(x, emit.Sub(1.0, s)), 1.0));
  return {emit.Cast(emit.Mul(emit.Cast(grads[0], ComputeType(dtype)), slope), dtype)};
}

// --- clamp -----------------------------------------------------------------------------------------------------------

constexpr double kNoBound = std::numeric_limits<double>::infinity();

// The bounds as values, kNone where there is none. Input 1 or attribute "min", input 2 or attribute "max".
struct Bounds {
  ValueId low, high;
};

Bounds BoundsOf(Emit& emit, const Node& node) {
  const DType dtype = emit.desc(node.inputs[0]).dtype;
  const auto bound = [&](size_t i, std::string_view name, double none) {
    if (node.inputs.size() > i && node.inputs[i] != kNone) return node.inputs[i];
    const double value = Get<double>(node.attrs, name);
    return value == none ? kNone : emit.Scalar(value, dtype);
  };
  return {bound(1, "min", -kNoBound), bound(2, "max", kNoBound)};
}

std::vector<TensorDesc> InferClamp(const OpCall& call) {
  const TensorDesc& x = call.in(0);
  if (x.dtype == DType::kBool) Fail("clamp: input has dtype bool, expected numbers");
  const double low = call.attr<double>("min"), high = call.attr<double>("max");
  if (call.has(1) && low != -kNoBound) Fail("clamp: min is given both as an input and as an attribute");
  if (call.has(2) && high != kNoBound) Fail("clamp: max is given both as an input and as an attribute");
  if (!call.has(1) && !call.has(2) && low == -kNoBound && high == kNoBound) Fail("clamp: neither min nor max is given");
  for (const auto& [name, bound] : {std::pair{"min", low}, {"max", high}}) {
    if (!IsFloat(x.dtype) && std::isfinite(bound) && bound != std::trunc(bound)) {
      Fail("clamp: {} is {}, expected an integer for an input of dtype {}", name, bound, Name(x.dtype));
    }
  }
  Shape shape = x.shape;
  for (int i = 1; i <= 2; ++i) {
    if (!call.has(i)) continue;
    const bool literal = call.graph.value(call.inputs[i]).constant.has_value();
    if (!literal && call.in(i).dtype != x.dtype) {
      Fail("clamp: {} has dtype {}, expected {} as the input", i == 1 ? "min" : "max", Name(call.in(i).dtype), Name(x.dtype));
    }
    shape = BroadcastShapes("clamp", shape, call.in(i).shape);
  }
  return {{x.dtype, shape}};
}

void ReferenceClamp(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  std::vector<double> values = ReadBroadcast(*in[0], out[0].desc().shape);
  const auto bound = [&](size_t i, std::string_view name) {
    if (in.size() > i && in[i]) return ReadBroadcast(*in[i], out[0].desc().shape);
    return std::vector<double>(values.size(), call.attr<double>(name));
  };
  const std::vector<double> low = bound(1, "min"), high = bound(2, "max");
  for (size_t i = 0; i < values.size(); ++i) values[i] = Apply(Fn::kMin, Apply(Fn::kMax, values[i], low[i]), high[i]);
  out[0].Assign(values);
}

std::vector<ValueId> DecomposeClamp(Graph& graph, const Node& node) {
  Emit emit(graph);
  const Bounds bounds = BoundsOf(emit, node);
  ValueId y = node.inputs[0];
  if (bounds.low != kNone) y = emit.Maximum(y, bounds.low);
  if (bounds.high != kNone) y = emit.Minimum(y, bounds.high);
  return {y};
}

// As in PyTorch: the input's gradient passes where low <= x <= high; low's where x < low < high; high's where x > high, or where the
// bounds cross.
std::vector<ValueId> GradientClamp(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>& wanted) {
  std::vector<ValueId> result = NoValues(node.inputs.size());
  if (grads[0] == kNone) return result;
  Emit emit(graph);
  const ValueId x = node.inputs[0], zero = emit.Scalar(0, emit.desc(grads[0]).dtype);
  const Bounds bounds = BoundsOf(emit, node);
  const auto pass = [&](ValueId blocked, size_t i) {
    result[i] = emit.SumTo(emit.Where(blocked, zero, grads[0]), Shape(emit.shape(node.inputs[i])));
  };
  const auto take = [&](ValueId taken, size_t i) {
    result[i] = emit.SumTo(emit.Where(taken, grads[0], zero), Shape(emit.shape(node.inputs[i])));
  };
  const ValueId below = bounds.low == kNone ? kNone : emit.Lt(x, bounds.low);
  const ValueId above = bounds.high == kNone ? kNone : emit.Gt(x, bounds.high);
  if (wanted[0] && (below == kNone || above == kNone)) pass(below == kNone ? above : below, 0);
  if (wanted[0] && below != kNone && above != kNone) pass(emit.Not(emit.And(emit.Not(below), emit.Not(above))), 0);
  if (wanted.size() > 1 && wanted[1]) take(above == kNone ? below : emit.And(below, emit.Lt(bounds.low, bounds.high)), 1);
  if (wanted.size() > 2 && wanted[2]) {
    const bool both = below != kNone;
    take(both ? emit.Not(emit.And(emit.Not(above), emit.Not(emit.Lt(bounds.high, bounds.low)))) : above, 2);
  }
  return result;
}

}  // namespace

void RegisterActivationOps() {
  RegisterOp({.name = "relu", .infer = Infer, .reference = Reference, .gradient = GradientRelu, .decompose = DecomposeRelu});
  RegisterOp({.name = "gelu",
              .attrs = {{"approximate", Type::kString, std::string("none")}},
              .infer = Infer,
              .reference = Reference,
              .gradient = GradientGelu,
              .decompose = DecomposeGelu});
  RegisterOp({.name = "silu", .infer = Infer, .reference = Reference, .gradient = GradientSilu, .decompose = DecomposeSilu});
  RegisterOp({.name = "clamp",
              .min_inputs = 1,
              .max_inputs = 3,
              .attrs = {{"min", Type::kFloat, -kNoBound}, {"max", Type::kFloat, kNoBound}},
              .infer = InferClamp,
              .reference = ReferenceClamp,
              .gradient = GradientClamp,
              .decompose = DecomposeClamp});
}

}  // namespace athanor
