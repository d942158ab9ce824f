#include <cmath>
#include <numbers>

#include "jit/body_emitter.h"

// The part of BodyEmitter that writes scalar functions.
namespace athanor {
namespace {

bool IsConstant(const Body& body, int expr) { return body.exprs[expr].kind == Expr::Kind::kConstant; }

// x - max x, as in a softmax.
bool IsFromMaximum(const Body& body, int expr) {
  const Expr& difference = body.exprs[expr];
  if (difference.kind != Expr::Kind::kApply || difference.fn != Fn::kSub) return false;
  const Expr& most = body.exprs[difference.args[1]];
  return most.kind == Expr::Kind::kReduce && most.fn == Fn::kMax && body.exprs[most.args[0]] == body.exprs[difference.args[0]];
}

}  // namespace

BodyEmitter::Value BodyEmitter::Apply(const Expr& expr, int id) {
  if (const std::string compare = IndexCompareText(expr); !compare.empty()) return {Define(id, expr.dtype, true, compare), true};
  std::vector<Value> args;
  bool vector = false;
  for (int i = 0; i < Arity(expr.fn); ++i) {
    args.push_back(Get(expr.args[i]));
    vector |= args.back().vector;
  }
  const std::string text = ApplyText(expr, args, vector);
  if (text == args[0].text) return args[0];  // a cast that changes nothing
  return {Define(id, expr.dtype, vector, text), vector};
}

std::string BodyEmitter::Convert(const std::string& text, DType from, DType to, bool vector) {
  const DType source = ValueType(from), target = ValueType(to);
  if (source == target) return text;
  if (!vector) return target == DType::kBool ? fmt::format("({} != 0)", text) : fmt::format("({})({})", ScalarType(target), text);
  if (target == DType::kBool) {
    return SizeOf(source) == 4 ? fmt::format("({} != 0)", text) : fmt::format("__builtin_convertvector({} != 0, vi32)", text);
  }
  if (source == DType::kBool)
    return target == DType::kI32 ? fmt::format("-({})", text)
                                 : fmt::format("__builtin_convertvector(-({}), {})", text, VectorType(target));
  return fmt::format("__builtin_convertvector({}, {})", text, VectorType(target));
}

std::string BodyEmitter::ApplyText(const Expr& expr, const std::vector<Value>& args, bool vector) {
  const DType from = body_.exprs[expr.args[0]].dtype;
  const bool is_bool = expr.dtype == DType::kBool, floating = IsFloat(expr.dtype);
  auto text = [&](int i) { return args[i].text; };
  switch (expr.fn) {
    case Fn::kCast: {
      std::string converted = Convert(text(0), from, expr.dtype, vector);
      if (expr.dtype == from || MemorySuffix(expr.dtype).empty() || is_bool) return converted;
      prelude_->Use(Name(expr.dtype));  // rounds
      return fmt::format("{0}_value({0}_bits({1}))", Name(expr.dtype), converted);
    }
    case Fn::kNeg:
      return "-" + text(0);
    case Fn::kNot:
      return (vector ? "~" : "!") + text(0);
    case Fn::kAnd:
      return fmt::format("{} & {}", vector ? Widen(args[0], from) : text(0), vector ? Widen(args[1], from) : text(1));
    case Fn::kAbs:
      return expr.dtype == DType::kU8 || is_bool ? text(0) : fmt::format("__builtin_elementwise_abs({})", text(0));
    case Fn::kAdd:
    case Fn::kSub:
    case Fn::kMul: {
      if (is_bool) {
        const char* op = expr.fn == Fn::kAdd ? "|" : expr.fn == Fn::kMul ? "&" : "^";
        return fmt::format("{} {} {}", vector ? Widen(args[0], from) : text(0), op, vector ? Widen(args[1], from) : text(1));
      }
      const char* op = expr.fn == Fn::kAdd ? "+" : expr.fn == Fn::kSub ? "-" : "*";
      const std::string result = fmt::format("{} {} {}", text(0), op, text(1));
      return expr.dtype == DType::kU8 && !vector ? fmt::format("(unsigned char)({})", result) : result;
    }
    case Fn::kDiv:
      return floating ? fmt::format("{} / {}", text(0), text(1)) : ViaDoubleText(expr, args, vector);
    case Fn::kMax:
    case Fn::kMin:
      return ExtremeText(expr, args, vector);
    case Fn::kEq:
    case Fn::kLt:
    case Fn::kGt:
      return CompareText(expr, args, vector);
    case Fn::kWhere: {
      if (!vector) return fmt::format("{} ? {} : {}", text(0), text(1), text(2));
      const std::string a = Widen(args[1], expr.dtype), b = Widen(args[2], expr.dtype);
      if (!args[0].vector) return fmt::format("{} ? {} : {}", text(0), a, b);
      prelude_->Use("select", expr.dtype);
      return fmt::format("select({}, {}, {})", text(0), a, b);
    }
    case Fn::kRandom:
      prelude_->Use("random_word");
      return fmt::format("random_word({}, {}, {})", text(0), text(1), text(2));
    default:
      return floating ? MathText(expr, args, vector) : ViaDoubleText(expr, args, vector);
  }
}

std::string BodyEmitter::MathText(const Expr& expr, const std::vector<Value>& args, bool vector) {
  const DType type = ValueType(expr.dtype);
  if (expr.fn == Fn::kSqrt) return fmt::format("__builtin_elementwise_sqrt({})", args[0].text);
  if (expr.fn == Fn::kRsqrt) return fmt::format("{} / __builtin_elementwise_sqrt({})", Literal(1, type), args[0].text);
  if (expr.fn == Fn::kPow) return PowText(expr, args, vector);
  prelude_->Use("splat", type);
  std::string call;
  if (expr.fn == Fn::kExp && IsFromMaximum(body_, expr.args[0])) {
    // What the difference has lost by rounding weighs as much as what its product with log2 e loses.
    prelude_->Use("exp2", type);
    call = fmt::format("v_exp2({} * {})", Widen(args[0], type), Literal(std::numbers::log2e, type));
  } else {
    prelude_->Use(Name(expr.fn), type);
    call = fmt::format("v_{}({})", Name(expr.fn), Widen(args[0], type));
  }
  return vector ? call : call + "[0]";
}

std::string BodyEmitter::PowText(const Expr& expr, const std::vector<Value>& args, bool vector) {
  const DType type = ValueType(expr.dtype);
  const std::string& x = args[0].text;
  if (IsConstant(body_, expr.args[1])) {
    const double exponent = body_.exprs[expr.args[1]].value;
    if (exponent == 1) return x;
    if (exponent == 2) return fmt::format("{0} * {0}", x);
    if (exponent == 3) return fmt::format("{0} * {0} * {0}", x);
    if (exponent == -1) return fmt::format("{} / {}", Literal(1, type), x);
    if (exponent == 0.5) return fmt::format("__builtin_elementwise_sqrt({})", x);
  }
  prelude_->Use("pow", type);
  const std::string call = fmt::format("v_pow({}, {})", Widen(args[0], type), Widen(args[1], type));
  return vector ? call : call + "[0]";
}

// Functions of integers that integers do not have: computed in double and truncated.
std::string BodyEmitter::ViaDoubleText(const Expr& expr, const std::vector<Value>& args, bool vector) {
  Expr wide = expr;
  wide.dtype = DType::kF64;
  std::vector<Value> wide_args;
  for (int i = 0; i < Arity(expr.fn); ++i) {
    const DType from = body_.exprs[expr.args[i]].dtype;
    wide_args.push_back(
        {fmt::format("({})", Convert(vector ? Widen(args[i], from) : args[i].text, from, DType::kF64, vector)), vector});
  }
  const std::string text =
      wide.fn == Fn::kDiv ? fmt::format("{} / {}", wide_args[0].text, wide_args[1].text) : MathText(wide, wide_args, vector);
  return Convert("(" + text + ")", DType::kF64, expr.dtype, vector);
}

std::string BodyEmitter::ExtremeText(const Expr& expr, const std::vector<Value>& args, bool vector) {
  const bool max = expr.fn == Fn::kMax;
  auto text = [&](int i) { return vector ? Widen(args[i], expr.dtype) : args[i].text; };
  if (expr.dtype == DType::kBool) return fmt::format("{} {} {}", text(0), max ? "|" : "&", text(1));
  // Against a constant one instruction: a comparison with NaN is false, so the other operand comes through.
  for (int i = 0; i < 2; ++i) {
    if (!IsFloat(expr.dtype) || !IsConstant(body_, expr.args[i]) || std::isnan(body_.exprs[expr.args[i]].value)) continue;
    return fmt::format("{0} {1} {2} ? {0} : {2}", text(i), max ? ">" : "<", text(1 - i));
  }
  prelude_->Use("arith", expr.dtype);
  return fmt::format("{}({}, {})", max ? "vmax" : "vmin", text(0), text(1));
}

std::string BodyEmitter::CompareText(const Expr& expr, const std::vector<Value>& args, bool vector) {
  const DType type = ValueType(body_.exprs[expr.args[0]].dtype);
  const char* op = expr.fn == Fn::kEq ? "==" : expr.fn == Fn::kLt ? "<" : ">";
  if (!vector) return fmt::format("{} {} {}", args[0].text, op, args[1].text);
  std::string a = Widen(args[0], type), b = Widen(args[1], type);
  if (type == DType::kBool) {  // masks are 0 and -1: order reversed
    return fmt::format("{} {} {}", a, expr.fn == Fn::kLt ? ">" : expr.fn == Fn::kGt ? "<" : "==", b);
  }
  const std::string text = fmt::format("{} {} {}", a, op, b);
  return SizeOf(type) == 4 ? text : fmt::format("__builtin_convertvector({}, vi32)", text);
}

// The index along the vector dimension against a scalar: in 32-bit lanes relative to the vector's first index.
std::string BodyEmitter::IndexCompareText(const Expr& expr) {
  if (expr.fn != Fn::kEq && expr.fn != Fn::kLt && expr.fn != Fn::kGt) return "";
  for (int i = 0; i < 2; ++i) {
    const Expr& index = body_.exprs[expr.args[i]];
    const int other = expr.args[1 - i];
    if (index.kind != Expr::Kind::kIndex || index.dim != state_.vector_dim || index.dtype != DType::kI64) continue;
    if (body_.exprs[other].dtype != DType::kI64) continue;
    const Value bound = Get(other);
    if (bound.vector) continue;
    prelude_->Use("relative");
    const bool less = (expr.fn == Fn::kLt) == (i == 0);
    return fmt::format("iota_i32() {} relative({}, {})",
                       expr.fn == Fn::kEq ? "=="
                       : less             ? "<"
                                          : ">",
                       bound.text, state_.index[index.dim]);
  }
  return "";
}

}  // namespace athanor
