#include "jit/prelude.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <tuple>
#include <vector>

#include "jit/prelude_units.h"
#include "ops/emit.h"
#include "ops/error.h"

namespace athanor {
namespace {

std::string TypesText(Isa isa, int lanes) {
  const int vector_bytes = isa == Isa::kAvx512 ? 64 : 32;
  std::string text = "#define INLINE static inline __attribute__((always_inline))\n";
  for (const ElementType& type : kElementTypes) {
    const int bytes = type.bytes * lanes;
    text += fmt::format("typedef {} v{} __attribute__((vector_size({})));\n", type.scalar, type.tag, bytes);
    text += fmt::format("typedef {} v{}_any __attribute__((vector_size({}), aligned({}), may_alias));\n", type.scalar, type.tag,
                        bytes, type.bytes);
    if (bytes >= vector_bytes) {
      text += fmt::format("typedef {} v{}_aligned __attribute__((vector_size({}), aligned({}), may_alias));\n", type.scalar,
                          type.tag, bytes, vector_bytes);
    }
  }
  return text;
}

void AppendValueUnits(int lanes, std::vector<PreludeUnit>* units) {
  const std::string iota = LaneList(lanes, [](int i) { return std::to_string(i); });
  units->push_back({"splat_mask", {"splat.i32"}, "INLINE vi32 splat_mask(bool x) { return splat(-(int)x); }\n"});
  units->push_back({"iota.i32", {}, fmt::format("INLINE vi32 iota_i32() {{ return vi32{{{}}}; }}\n", iota)});
  units->push_back({"iota.i64", {}, fmt::format("INLINE vi64 iota_i64() {{ return vi64{{{}}}; }}\n", iota)});
  const std::pair<const char*, const char*> selects[] = {
      {"f32", "m"}, {"i32", "m"}, {"f64", "__builtin_convertvector(m, vi64)"}, {"i64", "__builtin_convertvector(m, vi64)"}};
  for (auto [tag, mask] : selects) {
    units->push_back({fmt::format("select.{}", tag),
                      {},
                      fmt::format("INLINE v{0} select(vi32 m, v{0} a, v{0} b) {{ return {1} ? a : b; }}\n", tag, mask)});
  }
  units->push_back({"select.u8",
                    {},
                    "INLINE vu8 select(vi32 m, vu8 a, vu8 b) {\n"
                    "  vu8 mask = __builtin_convertvector(m, vu8);\n"
                    "  return (a & mask) | (b & ~mask);\n"
                    "}\n"});
  for (const char* tag : {"f32", "f64"}) {
    const char* scalar = tag == std::string_view("f32") ? "float" : "double";
    std::string text = Substitute(
        "INLINE $V vmax($V a, $V b) {\n  const $V m = a > b ? a : b;\n  return a != a ? a : m;\n}\n"
        "INLINE $V vmin($V a, $V b) {\n  const $V m = a < b ? a : b;\n  return a != a ? a : m;\n}\n"
        "INLINE $T vmax($T a, $T b) { return a > b || a != a ? a : b; }\n"
        "INLINE $T vmin($T a, $T b) { return a < b || a != a ? a : b; }\n"
        "INLINE $V madd($V a, $V b, $V c) { return __builtin_elementwise_fma(a, b, c); }\n",
        {{"$V", fmt::format("v{}", tag)}, {"$T", scalar}});
    units->push_back({fmt::format("arith.{}", tag), {}, text});
  }
  for (auto [tag, scalar] : {std::pair{"i32", "int"}, {"i64", "long"}, {"u8", "unsigned char"}}) {
    units->push_back({fmt::format("arith.{}", tag),
                      {},
                      Substitute("INLINE $V vmax($V a, $V b) { return __builtin_elementwise_max(a, b); }\n"
                                 "INLINE $V vmin($V a, $V b) { return __builtin_elementwise_min(a, b); }\n"
                                 "INLINE $T vmax($T a, $T b) { return a > b ? a : b; }\n"
                                 "INLINE $T vmin($T a, $T b) { return a < b ? a : b; }\n",
                                 {{"$V", fmt::format("v{}", tag)}, {"$T", scalar}})});
  }
  for (const ElementType& type : kElementTypes) {
    if (type.tag == std::string_view("u16")) continue;
    const std::string_view tag = type.tag;
    std::string sum = fmt::format("INLINE {} sum(v{} v) {{\n", type.scalar, tag), max = fmt::format("INLINE {} max(v{} v) {{\n", type.scalar, tag);
    std::string whole = "v";                                 // halves of halves: less for the compiler than vectors of which a part is needed
    for (int width = lanes / 2; width > 1; width /= 2) {
      const std::string half = fmt::format("h{}", width);
      sum += fmt::format("  typedef {} {}_t __attribute__((vector_size({})));\n", type.scalar, half, width * type.bytes);
      sum += fmt::format("  const {0}_t {0} = __builtin_shufflevector({1}, {1}, {2}) + __builtin_shufflevector({1}, {1}, {3});\n", half, whole,
                         LaneList(width, [&](int i) { return std::to_string(i); }), LaneList(width, [&](int i) { return std::to_string(i + width); }));
      whole = half;
    }
    sum += fmt::format("  return {0}[0] + {0}[1];\n}}\n", whole);
    for (int w = lanes / 2; w >= 1; w /= 2) {
      max += fmt::format("  v = vmax(v, __builtin_shufflevector(v, v, {}));\n", LaneList(lanes, [&](int i) { return std::to_string(i ^ w); }));
    }
    units->push_back({fmt::format("sum.{}", tag), {}, sum});
    units->push_back({fmt::format("max.{}", tag), {fmt::format("arith.{}", tag)}, max + "  return v[0];\n}\n"});
  }
  units->push_back(
      {"digit",
       {},
       "// Digit of a mixed-radix index.\n"
       "INLINE long digit(long i, unsigned long below, unsigned long extent) { return (unsigned long)i / below % extent; }\n"
       "INLINE long high_digit(long i, unsigned long below) { return (unsigned long)i / below; }\n"});
  units->push_back({"relative",
                    {"iota.i32"},
                    fmt::format("// An index as seen from the first of {0} lanes; anything outside stays outside.\n"
                                "INLINE int relative(long index, long first) {{\n"
                                "  const long d = index - first;\n"
                                "  return d < -1 ? -1 : d > {0} ? {0} : (int)d;\n"
                                "}}\n",
                                lanes)});
}

// All that sources of one kind may carry.
struct Vocabulary {
  std::string types, all;                                    // types and all units
  std::vector<PreludeUnit> units;                            // each after those that it needs
  std::map<std::string_view, size_t> by_name;
};

Vocabulary MakeVocabulary(Isa isa, int lanes, bool bf16_instructions) {
  Vocabulary result;
  result.types = TypesText(isa, lanes);
  AppendMemoryUnits(isa, lanes, bf16_instructions, &result.units);
  AppendValueUnits(lanes, &result.units);
  AppendMathUnits(isa, lanes, &result.units);
  AppendRandomUnits(lanes, &result.units);
  AppendRoutineUnits(lanes, &result.units);
  result.all = result.types;
  for (size_t i = 0; i < result.units.size(); ++i) {
    result.by_name.emplace(result.units[i].name, i);
    result.all += result.units[i].text;
  }
  return result;
}

// Made once in a process.
const Vocabulary& VocabularyOf(Isa isa, int lanes, bool bf16_instructions) {
  static std::mutex mutex;
  static std::map<std::tuple<Isa, int, bool>, Vocabulary> made;
  const std::lock_guard lock(mutex);
  const auto [found, fresh] = made.try_emplace({isa, lanes, bf16_instructions});
  if (fresh) found->second = MakeVocabulary(isa, lanes, bf16_instructions);
  return found->second;
}

const char* Tag(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kBF16:
    case DType::kF16:
      return "f32";
    case DType::kF64:
      return "f64";
    case DType::kI32:
    case DType::kBool:
      return "i32";
    case DType::kI64:
      return "i64";
    case DType::kU8:
      return "u8";
  }
  return "";
}

}  // namespace

const std::string& VocabularyText(const CpuTarget& cpu) {
  const Prelude prelude(cpu, cpu.vector_bytes() / 4);
  return VocabularyOf(prelude.isa(), prelude.lanes(), prelude.bf16_instructions()).all;
}

void Prelude::Use(std::string_view helper) { used_.emplace(helper); }

void Prelude::Use(std::string_view helper, DType dtype) { used_.insert(fmt::format("{}.{}", helper, Tag(dtype))); }

std::string Prelude::AddRoutine(std::string_view name, std::string_view definition) {
  Use("routine");
  for (int number = 1;; ++number) {
    const std::string numbered = number == 1 ? std::string(name) : fmt::format("{}_{}", name, number);
    const std::string text = Substitute(std::string(definition), {{"$NAME", numbered}});
    const auto same = std::find_if(routines_.begin(), routines_.end(), [&](const auto& routine) { return routine.first == numbered; });
    if (same != routines_.end() && same->second != text) continue;
    if (same == routines_.end()) routines_.emplace_back(numbered, text);
    return numbered;
  }
}

std::string Prelude::Text() const {
  const Vocabulary& vocabulary = VocabularyOf(isa_, lanes_, bf16_instructions_);
  std::set<size_t> wanted;                                   // units
  const std::function<void(std::string_view)> want = [&](std::string_view name) {
    const auto unit = vocabulary.by_name.find(name);
    if (unit == vocabulary.by_name.end()) {
      throw InternalError(fmt::format("prelude: no helper '{}' for {} with {} lanes", name, Name(isa_), lanes_));
    }
    if (!wanted.insert(unit->second).second) return;
    for (const std::string& need : vocabulary.units[unit->second].needs) want(need);
  };
  for (const std::string& name : used_) want(name);
  std::string text = vocabulary.types;
  for (size_t unit : wanted) text += vocabulary.units[unit].text;
  for (const auto& [name, definition] : routines_) text += definition;
  return text;
}

std::string_view MemoryType(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "float";
    case DType::kF64:
      return "double";
    case DType::kBF16:
    case DType::kF16:
      return "unsigned short";
    case DType::kI32:
      return "int";
    case DType::kI64:
      return "long";
    case DType::kU8:
    case DType::kBool:
      return "unsigned char";
  }
  return "";
}

std::string MemorySuffix(DType dtype) {
  return dtype == DType::kBool || ValueType(dtype) != dtype ? fmt::format("_{}", Name(dtype)) : "";
}

std::string_view ScalarType(DType dtype) {
  if (dtype == DType::kBool) return "bool";
  return MemoryType(ValueType(dtype));
}

std::string_view VectorType(DType dtype) {
  switch (ValueType(dtype)) {
    case DType::kF64:
      return "vf64";
    case DType::kI32:
    case DType::kBool:
      return "vi32";
    case DType::kI64:
      return "vi64";
    case DType::kU8:
      return "vu8";
    default:
      return "vf32";
  }
}

DType ValueType(DType dtype) { return ComputeType(dtype); }

std::string LowestLiteral(DType dtype) {
  switch (ValueType(dtype)) {
    case DType::kI32:
      return "(-2147483647 - 1)";
    case DType::kI64:
      return "(-9223372036854775807L - 1)";
    case DType::kU8:
      return "(unsigned char)0";
    case DType::kBool:
      return "false";
    default:
      return Literal(-std::numeric_limits<double>::infinity(), dtype);
  }
}

std::string Literal(double value, DType dtype) {
  const DType type = ValueType(dtype);
  if (type == DType::kBool) return value != 0 ? "true" : "false";
  if (!IsFloat(type)) {
    const auto integer = static_cast<int64_t>(value);
    if (type == DType::kI64) {
      return integer == INT64_MIN ? LowestLiteral(type)
             : integer < 0        ? fmt::format("({}L)", integer)
                                  : fmt::format("{}L", integer);
    }
    return fmt::format("({}){}", MemoryType(type), integer);
  }
  const bool single = type == DType::kF32;
  if (std::isnan(value)) return single ? "__builtin_nanf(\"\")" : "__builtin_nan(\"\")";
  if (single) value = static_cast<float>(value);
  if (std::isinf(value)) return fmt::format("({}{})", value < 0 ? "-" : "", single ? "__builtin_inff()" : "__builtin_inf()");
  std::string text = single ? fmt::format("{}", static_cast<float>(value)) : fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  if (single) text += "f";
  return std::signbit(value) ? "(" + text + ")" : text;
}

}  // namespace athanor
