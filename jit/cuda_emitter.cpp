#include "jit/cuda_emitter.h"

#include <algorithm>
#include <cmath>

#include "jit/prelude.h"
#include "ops/error.h"

namespace athanor {
namespace {

bool DividesStrides(const Digits& digits, int64_t lanes) {
  return std::all_of(digits.begin(), digits.end(), [&](const Digit& digit) { return digit.stride % lanes == 0; });
}

struct Helper {
  const char* name;
  const char* text;
};

// bf16 rounds to nearest even and a NaN keeps its sign and becomes quiet. f16 is converted by the one instruction for it; other
// compilers, which run this text on the CPU in tests, have a type for it.
const std::vector<Helper>& Helpers() {
  static const std::vector<Helper> helpers = {
      {"vec",
       "// Neighbouring elements, moved in one piece.\n"
       "template <typename T, int N>\n"
       "struct alignas(sizeof(T) * N) Vec {\n"
       "  T v[N];\n"
       "};\n"},
      {"max", "template <typename T>\n__device__ inline T larger(T a, T b) { return a > b || a != a ? a : b; }  // NaN if either is\n"},
      {"sum_across",
       "// Over threads whose numbers differ in the bits from `low` below `high`: all of `threads`, of which each gets the same bits.\n"
       "template <int low, int high, typename T>\n"
       "__device__ inline T sum_across(unsigned threads, T x) {\n"
       "#pragma unroll\n"
       "  for (int mask = low; mask < high; mask *= 2) x += __shfl_xor_sync(threads, x, mask);\n"
       "  return x;\n"
       "}\n"},
      {"max_across",
       "template <int low, int high, typename T>\n"
       "__device__ inline T max_across(unsigned threads, T x) {  // as sum_across; types narrower than int travel as int\n"
       "#pragma unroll\n"
       "  for (int mask = low; mask < high; mask *= 2) x = larger(x, (T)__shfl_xor_sync(threads, +x, mask));\n"
       "  return x;\n"
       "}\n"},
      {"min", "template <typename T>\n__device__ inline T smaller(T a, T b) { return a < b || a != a ? a : b; }  // NaN if either is\n"},
      {"random_word",
       "// Philox4x32-10: word `index` of a stream, less 2^31.\n"
       "__device__ inline int random_word(long long index, long long seed, long long offset) {\n"
       "  const unsigned long long block = (unsigned long long)index / 4;\n"
       "  unsigned c0 = (unsigned)block, c1 = (unsigned)(block >> 32), c2 = (unsigned)offset, c3 = (unsigned)(offset >> 32);\n"
       "  unsigned low = (unsigned)seed, high = (unsigned)(seed >> 32);\n"
       "  for (int round = 0; round < 10; ++round, low += 0x9E3779B9u, high += 0xBB67AE85u) {\n"
       "    const unsigned long long a = c0 * 0xD2511F53ull, b = c2 * 0xCD9E8D57ull;\n"
       "    c0 = (unsigned)(b >> 32) ^ c1 ^ low;\n"
       "    c1 = (unsigned)b;\n"
       "    c2 = (unsigned)(a >> 32) ^ c3 ^ high;\n"
       "    c3 = (unsigned)a;\n"
       "  }\n"
       "  const unsigned word = index & 2 ? (index & 1 ? c3 : c2) : (index & 1 ? c1 : c0);\n"
       "  return (int)(word ^ 0x80000000u);\n"
       "}\n"},
      {"sigmoid",
       "__device__ inline float sigmoid(float x) {\n"
       "  const float e = expf(-fabsf(x));\n"
       "  return (x < 0.0f ? e : 1.0f) / (1.0f + e);\n"
       "}\n"
       "__device__ inline double sigmoid(double x) {\n"
       "  const double e = exp(-fabs(x));\n"
       "  return (x < 0.0 ? e : 1.0) / (1.0 + e);\n"
       "}\n"},
      {"bf16",
       "__device__ inline float bf16_value(unsigned short bits) { return __uint_as_float((unsigned)bits << 16); }\n"
       "__device__ inline unsigned short bf16_bits(float x) {\n"
       "  const unsigned bits = __float_as_uint(x);\n"
       "  return x != x ? (bits >> 16) | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;\n"
       "}\n"},
      {"f16",
       "#ifdef __CUDACC_RTC__\n"
       "__device__ inline float f16_value(unsigned short bits) {\n"
       "  float x;\n"
       "  asm(\"cvt.f32.f16 %0, %1;\" : \"=f\"(x) : \"h\"(bits));\n"
       "  return x;\n"
       "}\n"
       "__device__ inline unsigned short f16_bits(float x) {\n"
       "  unsigned short bits;\n"
       "  asm(\"cvt.rn.f16.f32 %0, %1;\" : \"=h\"(bits) : \"f\"(x));\n"
       "  return bits;\n"
       "}\n"
       "#else\n"
       "inline float f16_value(unsigned short bits) { return (float)__builtin_bit_cast(_Float16, bits); }\n"
       "inline unsigned short f16_bits(float x) { return __builtin_bit_cast(unsigned short, (_Float16)x); }\n"
       "#endif\n"}};
  return helpers;
}

}  // namespace

CudaEmitter::CudaEmitter(const Body& body, const std::vector<KernelArg>& args, SourceWriter* out)
    : body_(body), args_(args), out_(out), varies_(body.Varies()) {
  constexpr int64_t kNarrow = int64_t{1} << 30;              // leaves room for a step of the grid
  wide_ = Product(body.extents) >= kNarrow;
  auto check = [&](const Operand& operand) {
    int64_t span = std::abs(operand.map.offset());
    for (const Digits& digits : operand.map.dims()) {
      for (const Digit& digit : digits) span += digit.extent * std::abs(digit.stride);
    }
    wide_ |= span >= kNarrow;
  };
  for (const Operand& operand : body.operands) check(operand);
  for (const Store& store : body.stores) check(store.operand);
  state_.index.resize(body.rank());
}

void CudaEmitter::Push() { saved_.push_back(state_); }

void CudaEmitter::Pop() {
  ATHANOR_CHECK(!saved_.empty());
  state_ = std::move(saved_.back());
  saved_.pop_back();
}

std::string CudaEmitter::Define(int id, const std::string& text) {
  std::string name = fmt::format("x{}", id);
  if (const int uses = used_names_[id]++; uses > 0) name += fmt::format("_{}", uses);
  out_->Line("const {} {} = {};", ScalarType(body_.exprs[id].dtype), name, text);
  return name;
}

// --- values

std::string CudaEmitter::Get(int id) {
  if (const auto known = state_.values.find(id); known != state_.values.end()) return known->second;
  const Expr& expr = body_.exprs[id];
  std::string name;
  switch (expr.kind) {
    case Expr::Kind::kConstant: return CudaLiteral(expr.value, expr.dtype);
    case Expr::Kind::kIndex:
      ATHANOR_CHECK(!state_.index[expr.dim].empty());
      name = Define(id, state_.index[expr.dim]);
      break;
    case Expr::Kind::kLoad: {
      const Operand& operand = body_.operands[expr.operand];
      std::string text = FromMemory(fmt::format("*({})", Pointer(operand)), args_[operand.arg].dtype, expr.dtype);
      if (const std::string inside = Inside(operand); !inside.empty()) {
        text = fmt::format("{} ? {} : {}", inside, text, CudaLiteral(operand.fill, expr.dtype));
      }
      name = Define(id, text);
      break;
    }
    case Expr::Kind::kApply: name = Define(id, ApplyText(expr)); break;
    case Expr::Kind::kReduce:
    case Expr::Kind::kAccumulator: throw InternalError(fmt::format("cuda emitter: expression {} is not bound", id));
  }
  return state_.values[id] = name;
}

void CudaEmitter::BindElement(int expr, const std::string& text) {
  const DType memory = args_[body_.operands[body_.exprs[expr].operand].arg].dtype;
  Bind(expr, Define(expr, FromMemory(text, memory, body_.exprs[expr].dtype)));
}

void CudaEmitter::Hoist(std::span<const int> roots) {
  uint32_t known = 0;
  for (int d = 0; d < body_.rank(); ++d) known |= state_.index[d].empty() ? 0 : 1u << d;
  const int count = static_cast<int>(body_.exprs.size());
  std::vector<char> needed(count, 0), computable(count, 0);
  for (int root : roots) needed[root] = 1;
  auto sources = [&](const Expr& expr) {
    std::vector<int> all;
    if (expr.kind == Expr::Kind::kLoad && body_.operands[expr.operand].row >= 0) all.push_back(body_.operands[expr.operand].row);
    if (expr.kind == Expr::Kind::kApply) all.assign(expr.args.begin(), expr.args.begin() + Arity(expr.fn));
    return all;
  };
  for (int e = count - 1; e >= 0; --e) {
    if (!needed[e] || state_.values.contains(e)) continue;
    for (int source : sources(body_.exprs[e])) needed[source] = 1;
  }
  for (int e = 0; e < count; ++e) {
    const Expr& expr = body_.exprs[e];
    computable[e] = state_.values.contains(e);
    if (computable[e]) continue;
    computable[e] = (varies_[e] & ~known) == 0 && expr.kind != Expr::Kind::kReduce && expr.kind != Expr::Kind::kAccumulator;
    for (int source : sources(expr)) computable[e] &= computable[source];
    if (needed[e] && computable[e] && (expr.kind == Expr::Kind::kLoad || expr.kind == Expr::Kind::kApply)) Get(e);
  }
}

// --- addresses

std::string CudaEmitter::OffsetText(const Digits& digits, const std::string& index) const {
  std::string text;
  int64_t below = 1;
  for (size_t k = 0; k < digits.size(); ++k) {
    const Digit& digit = digits[k];
    if (digit.stride != 0 && index != "0") {
      ATHANOR_CHECK(!index.empty());
      std::string part = index;
      if (below != 1) part += fmt::format(" / {}", below);
      if (k + 1 < digits.size()) part += fmt::format(" % {}", digit.extent);
      if (digit.stride != 1) part += fmt::format(" * {}", digit.stride);
      text += " + " + part;
    }
    below *= digit.extent;
  }
  return text;
}

std::string CudaEmitter::Pointer(const Operand& operand, int64_t begin) {
  if (!operand.pieces.empty()) return PiecedPointer(operand);
  std::string text = fmt::format("a{}", operand.arg);
  if (const int64_t offset = operand.map.offset(); offset != 0) text += fmt::format(" {} {}", offset < 0 ? '-' : '+', std::abs(offset));
  for (int d = 0; d < operand.map.rank(); ++d) {
    std::string index = state_.index[d];
    if (d == operand.map.rank() - 1 && begin != 0) index = fmt::format("({} - {})", index, begin);
    text += OffsetText(Coalesce(operand.map.dim(d)), index);
  }
  if (operand.row >= 0) text += fmt::format(" + {} * {}", Get(operand.row), operand.row_stride);
  return text;
}

std::string CudaEmitter::PiecedPointer(const Operand& operand) {
  std::string coordinate = std::to_string(operand.coordinate.offset()), text;
  for (int d = 0; d < operand.coordinate.rank(); ++d) coordinate += OffsetText(Coalesce(operand.coordinate.dim(d)), state_.index[d]);
  Operand plain;
  plain.arg = operand.arg, plain.map = operand.map;
  for (const Piece& piece : operand.pieces) {
    text += fmt::format("{} < {} ? {} : ", coordinate, piece.begin, Pointer(plain));
    plain.arg = piece.arg, plain.map = piece.map;
  }
  return fmt::format("({}{})", text, Pointer(plain));
}

std::string CudaEmitter::Inside(const Operand& operand) const {
  std::string text;
  for (const Bound& bound : operand.bounds) {
    std::string coordinate = std::to_string(bound.coordinate.offset());
    for (int d = 0; d < bound.coordinate.rank(); ++d) coordinate += OffsetText(Coalesce(bound.coordinate.dim(d)), state_.index[d]);
    text += fmt::format("{}(unsigned long long)({}) < {}", text.empty() ? "" : " && ", coordinate, bound.extent);
  }
  return text;
}

bool CudaEmitter::IsVec(const Operand& operand, int dim, int lanes, int64_t begin) const {
  if (!operand.bounds.empty() || !operand.pieces.empty()) return false;
  if (lanes == 1 || operand.map.offset() % lanes != 0 || begin % lanes != 0) return false;
  if (operand.row >= 0 && ((varies_[operand.row] >> dim & 1) || operand.row_stride % lanes != 0)) return false;
  for (int d = 0; d < operand.map.rank(); ++d) {
    Digits digits = Coalesce(operand.map.dim(d));
    if (d == dim) {
      if (digits.empty() || digits[0].stride != 1 || (digits.size() > 1 && digits[0].extent % lanes != 0)) return false;
      digits.erase(digits.begin());
    }
    if (!DividesStrides(digits, lanes)) return false;
  }
  return true;
}

int CudaEmitter::LanesAlong(int dim) const {
  std::vector<std::pair<const Operand*, int64_t>> accesses;  // with unit stride, and where a store begins
  auto add = [&](const Operand& operand, int64_t begin) {
    const Digits digits = Coalesce(operand.map.dim(dim));
    const bool gathered = operand.row >= 0 && (varies_[operand.row] >> dim & 1);
    if (!digits.empty() && digits[0].stride == 1 && !gathered) accesses.emplace_back(&operand, begin);
  };
  for (const Operand& operand : body_.operands) add(operand, 0);
  for (const Store& store : body_.stores) add(store.operand, store.end < 0 ? 0 : store.begin);
  int64_t widest = 1;
  for (const auto& [operand, begin] : accesses) widest = std::max(widest, SizeOf(args_[operand->arg].dtype));
  int lanes = accesses.empty() ? 1 : static_cast<int>(std::min<int64_t>(8, 16 / widest));
  auto fits = [&](const auto& access) { return IsVec(*access.first, dim, lanes, access.second); };
  while (lanes > 1 && !std::all_of(accesses.begin(), accesses.end(), fits)) lanes /= 2;
  return lanes;
}

// --- memory

std::string CudaEmitter::FromMemory(const std::string& text, DType memory, DType dtype) {
  std::string value = text;
  if (IsHalf(memory)) {
    Use(std::string(Name(memory)));
    value = fmt::format("{}_value({})", Name(memory), text);
  } else if (memory == DType::kBool) {
    value = fmt::format("({} != 0)", text);
  }
  return Convert(value, memory, dtype);
}

std::string CudaEmitter::Element(const Store& store) {
  const DType memory = args_[store.operand.arg].dtype;
  const std::string value = Convert(Get(store.expr), body_.exprs[store.expr].dtype, memory);
  if (!IsHalf(memory)) return value;
  Use(std::string(Name(memory)));
  return fmt::format("{}_bits({})", Name(memory), value);
}

void CudaEmitter::EmitStore(const Store& store) {
  const std::string value = Element(store);
  out_->Line("*({}) = {};", Pointer(store.operand, store.end < 0 ? 0 : store.begin), value);
}

// --- functions

std::string CudaEmitter::Convert(const std::string& text, DType from, DType to) const {
  const DType source = ValueType(from), target = ValueType(to);
  if (source == target) return text;
  return target == DType::kBool ? fmt::format("({} != 0)", text) : fmt::format("({}){}", ScalarType(target), text);
}

std::string CudaEmitter::Larger(const std::string& a, const std::string& b, DType dtype) {
  if (dtype == DType::kBool) return fmt::format("{} | {}", a, b);
  Use("max");
  return fmt::format("larger({}, {})", a, b);
}

std::string CudaEmitter::ApplyText(const Expr& expr) {
  const DType from = body_.exprs[expr.args[0]].dtype, type = ValueType(expr.dtype);
  const bool is_bool = type == DType::kBool, floating = IsFloat(type);
  std::string arg[3];
  for (int i = 0; i < Arity(expr.fn); ++i) arg[i] = Get(expr.args[i]);
  const auto& [a, b, c] = arg;
  switch (expr.fn) {
    case Fn::kCast: {
      const std::string converted = Convert(a, from, type);
      if (expr.dtype == from || !IsHalf(expr.dtype)) return converted;
      Use(std::string(Name(expr.dtype)));                    // rounds
      return fmt::format("{0}_value({0}_bits({1}))", Name(expr.dtype), converted);
    }
    case Fn::kNeg: return "-" + a;
    case Fn::kNot: return "!" + a;
    case Fn::kAnd: return fmt::format("{} & {}", a, b);
    case Fn::kAbs:
      if (is_bool || type == DType::kU8) return a;
      return floating ? MathText(Fn::kAbs, type, a, "") : fmt::format("{0} < 0 ? -{0} : {0}", a);
    case Fn::kAdd: return is_bool ? fmt::format("{} | {}", a, b) : fmt::format("{} + {}", a, b);
    case Fn::kSub: return is_bool ? fmt::format("{} ^ {}", a, b) : fmt::format("{} - {}", a, b);
    case Fn::kMul: return is_bool ? fmt::format("{} & {}", a, b) : fmt::format("{} * {}", a, b);
    case Fn::kMax: return Larger(a, b, type);
    case Fn::kMin:
      if (is_bool) return fmt::format("{} & {}", a, b);
      Use("min");
      return fmt::format("smaller({}, {})", a, b);
    case Fn::kEq: return fmt::format("{} == {}", a, b);
    case Fn::kLt: return fmt::format("{} < {}", a, b);
    case Fn::kGt: return fmt::format("{} > {}", a, b);
    case Fn::kWhere: return fmt::format("{} ? {} : {}", a, b, c);
    case Fn::kRandom: Use("random_word"); return fmt::format("random_word({}, {}, {})", a, b, c);
    case Fn::kPow:
      if (floating) return PowText(expr, a, b);
      break;
    default: break;
  }
  if (floating) return MathText(expr.fn, type, a, b);
  // What integers do not have is computed in double and truncated.
  const std::string wide = MathText(expr.fn, DType::kF64, Convert(a, type, DType::kF64), b.empty() ? b : Convert(b, type, DType::kF64));
  return fmt::format("({})({})", ScalarType(type), wide);
}

std::string CudaEmitter::MathText(Fn fn, DType type, const std::string& a, const std::string& b) {
  const char* suffix = type == DType::kF32 ? "f" : "";
  switch (fn) {
    case Fn::kDiv: return fmt::format("{} / {}", a, b);
    case Fn::kAbs: return fmt::format("fabs{}({})", suffix, a);
    case Fn::kPow: return fmt::format("pow{}({}, {})", suffix, a, b);
    case Fn::kSigmoid: Use("sigmoid"); return fmt::format("sigmoid({})", a);
    case Fn::kExp: case Fn::kLog: case Fn::kSqrt: case Fn::kRsqrt: case Fn::kTanh: case Fn::kErf: return fmt::format("{}{}({})", Name(fn), suffix, a);
    default: throw InternalError(fmt::format("cuda emitter: no function {}", Name(fn)));
  }
}

std::string CudaEmitter::PowText(const Expr& expr, const std::string& a, const std::string& b) {
  const DType type = ValueType(expr.dtype);
  if (const Expr& exponent = body_.exprs[expr.args[1]]; exponent.kind == Expr::Kind::kConstant) {
    if (exponent.value == 1) return a;
    if (exponent.value == 2) return fmt::format("{0} * {0}", a);
    if (exponent.value == 3) return fmt::format("{0} * {0} * {0}", a);
    if (exponent.value == -1) return fmt::format("{} / {}", Literal(1, type), a);
    if (exponent.value == 0.5) return MathText(Fn::kSqrt, type, a, "");
  }
  return MathText(Fn::kPow, type, a, b);
}

// --- declarations

// NVRTC has no builtins for the values that are no numbers: they are made from their bits.
std::string CudaLiteral(double value, DType dtype) {
  const DType type = ValueType(dtype);
  const double rounded = type == DType::kF32 ? static_cast<float>(value) : value;
  if (!IsFloat(type) || std::isfinite(rounded)) return Literal(value, dtype);
  return fmt::format("({})__uint_as_float({:#x}u)", ScalarType(type), std::isnan(rounded) ? 0x7fc00000u : rounded > 0 ? 0x7f800000u : 0xff800000u);
}

std::string CudaLowest(DType dtype) { return IsFloat(dtype) ? CudaLiteral(-INFINITY, dtype) : LowestLiteral(dtype); }

std::string CudaHelpers(std::set<std::string> used) {
  if (used.contains("max_across")) used.insert("max");
  std::string text;
  for (const Helper& helper : Helpers()) {
    if (used.contains(helper.name)) text += helper.text;
  }
  return text;
}

void DeclareCudaArgs(const std::vector<KernelArg>& args, SourceWriter* out) {
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string type = fmt::format("{}{}*", args[i].written ? "" : "const ", MemoryType(args[i].dtype));
    out->Line("{0} const a{1} = ({0})arguments.pointers[{1}];", type, i);
  }
}

std::string VecType(DType dtype, int lanes, bool in_memory) {
  return fmt::format("Vec<{}, {}>", in_memory ? MemoryType(dtype) : ScalarType(dtype), lanes);
}

}  // namespace athanor
