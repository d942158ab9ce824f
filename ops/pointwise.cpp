#include "ops/pointwise.h"

#include <array>
#include <cmath>
#include <numbers>

#include "ops/broadcast.h"
#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"
#include "ops/promotion.h"

namespace athanor {
namespace {

bool IsComparison(Fn fn) { return fn == Fn::kEq || fn == Fn::kLt || fn == Fn::kGt; }
bool IsLogical(Fn fn) { return fn == Fn::kNot || fn == Fn::kAnd; }

// Functions whose results are no integers.
bool IsFractional(Fn fn) {
  switch (fn) {
    case Fn::kExp:
    case Fn::kLog:
    case Fn::kSqrt:
    case Fn::kRsqrt:
    case Fn::kTanh:
    case Fn::kErf:
    case Fn::kSigmoid:
    case Fn::kDiv: return true;
    default: return false;
  }
}

// The operands that share the dtype the op computes in: all but the condition of `where`.
size_t FirstOperand(Fn fn) { return fn == Fn::kWhere ? 1 : 0; }

DType OperandDType(const Graph& graph, Fn fn, std::span<const ValueId> inputs) {
  const DType dtype = PromotedDType(graph, inputs.subspan(FirstOperand(fn)));
  return IsFractional(fn) && !IsFloat(dtype) ? DType::kF32 : dtype;
}

DType CastDType(const Attrs& attrs) {
  const std::string& name = Get<std::string>(attrs, "dtype");
  const std::optional<DType> dtype = ParseDType(name);
  if (!dtype) Fail("cast: dtype is \"{}\", expected f32, bf16, f16, f64, i32, i64, u8 or bool", name);
  return *dtype;
}

double Alpha(const Attrs& attrs) {
  const auto found = attrs.find("alpha");
  return found == attrs.end() ? 1 : std::get<double>(found->second);
}

// --- shape rule, reference, core form --------------------------------------------------------------------------------

void CheckDTypes(const OpCall& call, DType operands) {
  const Fn fn = call.op.fn;
  if (fn == Fn::kWhere && call.in(0).dtype != DType::kBool) {
    Fail("{}: the condition has dtype {}, expected bool", call.op.name, Name(call.in(0).dtype));
  }
  if (IsLogical(fn) && operands != DType::kBool) Fail("{}: operands have dtype {}, expected bool", call.op.name, Name(operands));
  const bool takes_bool = IsLogical(fn) || fn == Fn::kEq || fn == Fn::kWhere || fn == Fn::kCast;
  if (operands == DType::kBool && !takes_bool) Fail("{}: operands have dtype bool, expected numbers", call.op.name);
  const double alpha = Alpha(call.attrs);
  if (!IsFloat(operands) && alpha != std::trunc(alpha)) {
    Fail("{}: alpha is {}, expected an integer for operands of dtype {}", call.op.name, alpha, Name(operands));
  }
}

std::vector<TensorDesc> Infer(const OpCall& call) {
  const Fn fn = call.op.fn;
  const DType operands = OperandDType(call.graph, fn, call.inputs);
  CheckDTypes(call, operands);
  Shape shape;
  for (size_t i = 0; i < call.inputs.size(); ++i) shape = BroadcastShapes(call.op.name, shape, call.in(static_cast<int>(i)).shape);
  const DType result = fn == Fn::kCast ? CastDType(call.attrs) : IsComparison(fn) ? DType::kBool : operands;
  return {{result, shape}};
}

void Reference(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  std::array<std::vector<double>, 3> operands;
  for (size_t i = 0; i < in.size(); ++i) operands[i] = ReadBroadcast(*in[i], out[0].desc().shape);
  if (const double alpha = Alpha(call.attrs); alpha != 1) {
    for (double& b : operands[1]) b *= alpha;
  }
  std::vector<double>& result = operands[0];
  for (size_t i = 0; i < result.size(); ++i) {
    result[i] = Apply(call.op.fn, result[i], in.size() > 1 ? operands[1][i] : 0, in.size() > 2 ? operands[2][i] : 0);
  }
  out[0].Assign(result);
}

// The core form has operands of one dtype and no alpha.
std::vector<ValueId> Decompose(Graph& graph, const Node& node) {
  const Fn fn = node.op->fn;
  if (fn == Fn::kCast) return {};
  const DType dtype = OperandDType(graph, fn, node.inputs);
  Emit emit(graph);
  std::vector<ValueId> inputs = node.inputs;
  for (size_t i = FirstOperand(fn); i < inputs.size(); ++i) inputs[i] = emit.Cast(inputs[i], dtype);
  const double alpha = Alpha(node.attrs);
  if (alpha != 1) inputs[1] = emit.Mul(inputs[1], alpha);
  if (inputs == node.inputs) return {};
  return graph.Add(node.op->name, inputs);
}

// --- gradients -------------------------------------------------------------------------------------------------------

// d(result)/d(x) as a factor of the gradient, for functions of one operand.
ValueId UnarySlope(Emit& emit, Fn fn, ValueId x, ValueId y) {
  const DType dtype = emit.desc(x).dtype;
  switch (fn) {
    case Fn::kNeg: return emit.Scalar(-1, dtype);
    case Fn::kAbs: {
      const ValueId zero = emit.Scalar(0, dtype);
      return emit.Where(emit.Gt(x, zero), emit.Scalar(1, dtype), emit.Where(emit.Lt(x, zero), emit.Scalar(-1, dtype), zero));
    }
    case Fn::kExp: return y;
    case Fn::kLog: return emit.Div(1.0, x);
    case Fn::kSqrt: return emit.Div(0.5, y);
    case Fn::kRsqrt: return emit.Mul(emit.Mul(y, emit.Mul(y, y)), -0.5);
    case Fn::kTanh: return emit.Sub(1.0, emit.Mul(y, y));
    case Fn::kErf: return emit.Mul(emit.Exp(emit.Neg(emit.Mul(x, x))), 2 * std::numbers::inv_sqrtpi);
    case Fn::kSigmoid: return emit.Mul(y, emit.Sub(1.0, y));
    default: ATHANOR_CHECK(false);
  }
}

ValueId PowSlope(Emit& emit, ValueId a, ValueId b, ValueId y, int operand) {
  const ValueId zero = emit.Scalar(0, emit.desc(a).dtype);
  if (operand == 0) return emit.Where(emit.Eq(b, zero), zero, emit.Mul(b, emit.Pow(a, emit.Sub(b, 1.0))));
  // 0 ^ b is constant for b > 0 (and for b = 0, as PyTorch has it), where log(0) would make the product NaN.
  const ValueId flat = emit.And(emit.Eq(a, zero), emit.Not(emit.Lt(b, zero)));
  return emit.Where(flat, zero, emit.Mul(y, emit.Log(a)));
}

// 1 for the winning operand, one half each where they are equal.
ValueId ExtremeSlope(Emit& emit, ValueId winner, ValueId loser, bool max) {
  const DType dtype = emit.desc(winner).dtype;
  const ValueId lost = max ? emit.Lt(winner, loser) : emit.Gt(winner, loser);
  const ValueId share = emit.Where(emit.Eq(winner, loser), emit.Scalar(0.5, dtype), emit.Scalar(1, dtype));
  return emit.Where(lost, emit.Scalar(0, dtype), share);
}

// The gradient of operand `i` before it is summed over broadcast dimensions; `x` are the operands in the dtype of the result `y`.
ValueId OperandGradient(Emit& emit, const Node& node, std::span<const ValueId> x, size_t i, ValueId y, ValueId g) {
  const Fn fn = node.op->fn;
  switch (fn) {
    case Fn::kAdd: return i == 1 && Alpha(node.attrs) != 1 ? emit.Mul(g, Alpha(node.attrs)) : g;
    case Fn::kSub: return i == 0 ? g : Alpha(node.attrs) == 1 ? emit.Neg(g) : emit.Mul(g, -Alpha(node.attrs));
    case Fn::kMul: return emit.Mul(g, x[1 - i]);
    case Fn::kDiv: return i == 0 ? emit.Div(g, x[1]) : emit.Mul(g, emit.Neg(emit.Div(y, x[1])));
    case Fn::kPow: return emit.Mul(g, PowSlope(emit, x[0], x[1], y, static_cast<int>(i)));
    case Fn::kMax:
    case Fn::kMin: return emit.Mul(g, ExtremeSlope(emit, x[i], x[1 - i], fn == Fn::kMax));
    case Fn::kWhere: {
      const ValueId zero = emit.Scalar(0, emit.desc(g).dtype);
      return i == 1 ? emit.Where(x[0], g, zero) : emit.Where(x[0], zero, g);
    }
    case Fn::kCast: return g;
    case Fn::kNeg: return emit.Neg(g);
    default: return emit.Mul(g, UnarySlope(emit, fn, x[0], y));
  }
}

std::vector<ValueId> Gradient(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>& wanted) {
  std::vector<ValueId> result = NoValues(node.inputs.size());
  if (grads[0] == kNone) return result;
  Emit emit(graph);
  const ValueId y = node.outputs[0];
  std::vector<ValueId> x = node.inputs;
  for (size_t i = FirstOperand(node.op->fn); i < x.size() && node.op->fn != Fn::kCast; ++i) x[i] = emit.Cast(x[i], emit.desc(y).dtype);
  for (size_t i = 0; i < x.size(); ++i) {
    if (!wanted[i]) continue;
    const TensorDesc operand = emit.desc(node.inputs[i]);
    const ValueId d = OperandGradient(emit, node, x, i, y, grads[0]);
    result[i] = emit.Cast(emit.SumTo(d, operand.shape), operand.dtype);
  }
  return result;
}

OpDef Pointwise(std::string_view name, Fn fn, bool differentiable = true) {
  OpDef op = {.name = name,
              .kind = OpKind::kPointwise,
              .min_inputs = Arity(fn),
              .max_inputs = Arity(fn),
              .internal = name.starts_with('_'),
              .infer = Infer,
              .reference = Reference,
              .decompose = Decompose,
              .fn = fn};
  if (differentiable) op.gradient = Gradient;
  return op;
}

}  // namespace

void RegisterPointwiseOps() {
  const std::pair<std::string_view, Fn> differentiable[] = {
      {"neg", Fn::kNeg},   {"abs", Fn::kAbs},         {"exp", Fn::kExp},         {"log", Fn::kLog},         {"sqrt", Fn::kSqrt},
      {"rsqrt", Fn::kRsqrt}, {"tanh", Fn::kTanh},     {"erf", Fn::kErf},         {"sigmoid", Fn::kSigmoid}, {"mul", Fn::kMul},
      {"div", Fn::kDiv},   {"pow", Fn::kPow},         {"maximum", Fn::kMax},     {"minimum", Fn::kMin},     {"where", Fn::kWhere}};
  for (const auto& [name, fn] : differentiable) RegisterOp(Pointwise(name, fn));
  const std::pair<std::string_view, Fn> boolean[] = {
      {"eq", Fn::kEq}, {"lt", Fn::kLt}, {"gt", Fn::kGt}, {"_not", Fn::kNot}, {"_and", Fn::kAnd}};
  for (const auto& [name, fn] : boolean) RegisterOp(Pointwise(name, fn, false));
  for (const auto& [name, fn] : {std::pair<std::string_view, Fn>{"add", Fn::kAdd}, {"sub", Fn::kSub}}) {
    OpDef op = Pointwise(name, fn);
    op.attrs = {{"alpha", AttrSpec::Type::kFloat, 1.0}};
    RegisterOp(op);
  }
  OpDef cast = Pointwise("cast", Fn::kCast);
  cast.attrs = {{"dtype", AttrSpec::Type::kString}};
  RegisterOp(cast);
}

}  // namespace athanor
