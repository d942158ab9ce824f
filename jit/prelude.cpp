#include "jit/prelude.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "jit/prelude_units.h"
#include "ops/error.h"

namespace athanor {
namespace {

struct ElementType {
  const char* tag;                                           // vector type v<tag>
  const char* scalar;
  int bytes;
};
constexpr ElementType kElementTypes[] = {{"f32", "float", 4}, {"f64", "double", 8},       {"i32", "int", 4},
                                         {"i64", "long", 8},  {"u8", "unsigned char", 1}, {"u16", "unsigned short", 2}};

std::string LaneList(int lanes, const std::function<std::string(int)>& lane) {
  std::string text;
  for (int i = 0; i < lanes; ++i) text += (i ? ", " : "") + lane(i);
  return text;
}

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

// Masked access to the first n lanes, through the floating-point builtins of the same width (they only move bits).
// `part` is what one builtin moves: a whole vector or each half of one that is twice as wide as a register.
std::string TailText(const ElementType& type, Isa isa, int lanes) {
  const int bytes = type.bytes * lanes, register_bytes = isa == Isa::kAvx512 ? 64 : 32;
  const int parts = bytes > register_bytes ? bytes / register_bytes : 1;
  const int part_lanes = lanes / parts, part_bytes = bytes / parts;
  const bool wide_element = type.bytes == 8;
  const std::string part_type = fmt::format("v{}x{}", wide_element ? "f64" : "f32", part_lanes);
  const std::string width = part_bytes == 64 ? "512" : part_bytes == 32 ? "256" : isa == Isa::kAvx512 ? "128" : "";
  std::string mask, load, store;
  if (isa == Isa::kAvx512) {
    const char* mask_type = part_lanes == 16 ? "unsigned short" : "unsigned char";
    const std::string pointer = part_bytes == 64 ? (wide_element ? "const double*" : "const float*") : "const " + part_type + "*";
    mask = fmt::format("({})((1u << n) - 1)", mask_type);
    load = fmt::format("__builtin_ia32_loadup{}{}_mask(({})(p), {}{{}}, mask)", wide_element ? 'd' : 's', width, pointer, part_type);
    store = fmt::format("__builtin_ia32_storeup{}{}_mask(({})(p), v, mask)", wide_element ? 'd' : 's', width, pointer.substr(6));
  } else {
    const std::string lane_type = wide_element ? "long long" : "int";
    mask = fmt::format("{}m{{{}}} < ({})n", part_type, LaneList(part_lanes, [](int i) { return std::to_string(i); }), lane_type);
    load = fmt::format("__builtin_ia32_maskloadp{}{}((const {}*)(p), mask)", wide_element ? 'd' : 's', width, part_type);
    store = fmt::format("__builtin_ia32_maskstorep{}{}(({}*)(p), mask, v)", wide_element ? 'd' : 's', width, part_type);
  }
  const std::string prefix = fmt::format("{}_{}", type.tag, "part");
  std::string text = fmt::format("typedef {} {} __attribute__((vector_size({}), may_alias));\n", wide_element ? "double" : "float",
                                 part_type + "_" + type.tag, part_bytes);
  const std::string own = part_type + "_" + type.tag;
  auto named = [&](std::string s) {
    for (size_t at = 0; (at = s.find(part_type, at)) != std::string::npos; at += own.size()) s.replace(at, part_type.size(), own);
    return s;
  };
  if (isa == Isa::kAvx2) {
    text += fmt::format("typedef {} {}m __attribute__((vector_size({})));\n", wide_element ? "long long" : "int", own, part_bytes);
  }
  const std::string mask_decl = isa == Isa::kAvx512 ? fmt::format("const {} mask", part_lanes == 16 ? "unsigned short" : "unsigned char")
                                                    : own + "m mask";
  text += fmt::format("INLINE {} {}_load(const {}* p, long n) {{ {} = {}; return {}; }}\n", own, prefix, type.scalar, mask_decl,
                      named(mask), named(load));
  text += fmt::format("INLINE void {}_store({}* p, {} v, long n) {{ {} = {}; {}; }}\n", prefix, type.scalar, own, mask_decl, named(mask),
                      named(store));
  if (parts == 1) {
    text += fmt::format("INLINE v{0} load_tail(const {1}* p, long n) {{ return (v{0}){2}_load(p, n); }}\n", type.tag, type.scalar, prefix);
    text += fmt::format("INLINE void store_tail({1}* p, v{0} v, long n) {{ {2}_store(p, ({3})v, n); }}\n", type.tag, type.scalar, prefix, own);
    return text;
  }
  ATHANOR_CHECK(parts == 2);
  const std::string low_n = fmt::format("n < {0} ? n : {0}", part_lanes), high_n = fmt::format("n < {0} ? 0 : n - {0}", part_lanes);
  text += fmt::format("typedef {} {}h __attribute__((vector_size({})));\n", type.scalar, own, part_bytes);
  text += fmt::format("INLINE v{0} load_tail(const {1}* p, long n) {{\n  {2} low = {3}_load(p, {4}), high = {3}_load(p + {5}, {6});\n"
                      "  return (v{0})__builtin_shufflevector(low, high, {7});\n}}\n",
                      type.tag, type.scalar, own, prefix, low_n, part_lanes, high_n, LaneList(lanes, [](int i) { return std::to_string(i); }));
  text += fmt::format("INLINE void store_tail({1}* p, v{0} v, long n) {{\n"
                      "  {3}_store(p, ({2})__builtin_shufflevector(v, v, {7}), {4});\n"
                      "  {3}_store(p + {5}, ({2})__builtin_shufflevector(v, v, {8}), {6});\n}}\n",
                      type.tag, type.scalar, own, prefix, low_n, part_lanes, high_n,
                      LaneList(part_lanes, [](int i) { return std::to_string(i); }),
                      LaneList(part_lanes, [&](int i) { return std::to_string(i + part_lanes); }));
  return text;
}

void AppendMemoryUnits(Isa isa, int lanes, std::vector<PreludeUnit>* units) {
  const int vector_bytes = isa == Isa::kAvx512 ? 64 : 32;
  for (const ElementType& type : kElementTypes) {
    const std::string tag = type.tag;
    const std::vector<std::pair<std::string, std::string>> names = {
        {"$V", "v" + tag}, {"$T", type.scalar}, {"$N", std::to_string(lanes)}, {"$ALIGN", std::to_string(vector_bytes - 1)}};
    auto add = [&](std::string name, std::vector<std::string> needs, std::string text) {
      units->push_back({name + "." + tag, std::move(needs), Substitute(std::move(text), names)});
    };
    add("splat", {}, fmt::format("INLINE $V splat($T x) {{ return $V{{{}}}; }}\n", LaneList(lanes, [](int) { return "x"; })));
    add("load", {}, "INLINE $V load(const $T* p) { return *(const $V_any*)p; }\n");
    add("store", {}, "INLINE void store($T* p, $V v) { *($V_any*)p = v; }\n");
    if (type.bytes >= 4) {
      add("tail", {}, TailText(type, isa, lanes));
    } else {
      add("tail", {},
          "INLINE $V load_tail(const $T* p, long n) { $V v{}; for (long i = 0; i < n; ++i) v[i] = p[i]; return v; }\n"
          "INLINE void store_tail($T* p, $V v, long n) { for (long i = 0; i < n; ++i) p[i] = v[i]; }\n");
    }
    add("strided", {},
        "INLINE $V load_strided(const $T* p, long stride, long n) {\n"
        "  $V v{};\n"
        "  if (n == $N) {\n"
        "    for (int i = 0; i < $N; ++i) v[i] = p[i * stride];\n"
        "  } else {\n"
        "    for (int i = 0; i < n; ++i) v[i] = p[i * stride];\n"
        "  }\n"
        "  return v;\n"
        "}\n"
        "INLINE void store_strided($T* p, $V v, long stride, long n) {\n"
        "  if (n == $N) {\n"
        "    for (int i = 0; i < $N; ++i) p[i * stride] = v[i];\n"
        "  } else {\n"
        "    for (int i = 0; i < n; ++i) p[i * stride] = v[i];\n"
        "  }\n"
        "}\n");
    if (type.bytes * lanes >= vector_bytes) {
      add("stream", {"store." + tag},
          "INLINE void stream($T* p, $V v) {\n"
          "  if (((unsigned long)p & $ALIGN) == 0) {\n"
          "    __builtin_nontemporal_store(v, ($V_aligned*)p);\n"
          "  } else {\n"
          "    store(p, v);\n"
          "  }\n"
          "}\n");
    }
  }
  units->push_back({"fence", {}, "INLINE void fence() { __builtin_ia32_sfence(); }\n"});
}

// Booleans, bf16 and f16 have another form in memory than as values.
void AppendNarrowUnits(std::vector<PreludeUnit>* units) {
  auto forms = [](std::string_view tag, std::string_view value, std::string_view memory, std::string_view scalar) {
    return Substitute(
        "INLINE $V load_$tag(const $T* p) { return $tag_value(load(p)); }\n"
        "INLINE $V load_$tag_tail(const $T* p, long n) { return $tag_value(load_tail(p, n)); }\n"
        "INLINE $V load_$tag_strided(const $T* p, long stride, long n) { return $tag_value(load_strided(p, stride, n)); }\n"
        "INLINE void store_$tag($T* p, $V v) { store(p, $tag_bits(v)); }\n"
        "INLINE void store_$tag_tail($T* p, $V v, long n) { store_tail(p, $tag_bits(v), n); }\n"
        "INLINE void store_$tag_strided($T* p, $V v, long stride, long n) { store_strided(p, $tag_bits(v), stride, n); }\n",
        {{"$tag", std::string(tag)}, {"$V", std::string(value)}, {"$T", std::string(scalar)}, {"$M", std::string(memory)}});
  };
  units->push_back({"bool",
                    {"load.u8", "store.u8", "tail.u8", "strided.u8"},
                    "INLINE vi32 bool_value(vu8 x) { return __builtin_convertvector(x, vi32) != 0; }\n"
                    "INLINE vu8 bool_bits(vi32 x) { return __builtin_convertvector(x & 1, vu8); }\n" +
                        forms("bool", "vi32", "vu8", "unsigned char")});
  // Round to nearest even; a NaN keeps its sign and becomes quiet.
  units->push_back({"bf16",
                    {"load.u16", "store.u16", "tail.u16", "strided.u16"},
                    "INLINE vf32 bf16_value(vu16 x) { return (vf32)(__builtin_convertvector(x, vi32) << 16); }\n"
                    "INLINE vu16 bf16_bits(vf32 x) {\n"
                    "  vi32 bits = (vi32)x;\n"
                    "  vi32 rounded = ((bits >> 16) & 0xffff) + (((bits & 0xffff) + 0x7fff + ((bits >> 16) & 1)) >> 16);\n"
                    "  vi32 nan = ((bits >> 16) & 0xffff) | 0x40;\n"
                    "  return __builtin_convertvector(x != x ? nan : rounded, vu16);\n"
                    "}\n"
                    "INLINE float bf16_value(unsigned short x) { return __builtin_bit_cast(float, (unsigned)x << 16); }\n"
                    "INLINE unsigned short bf16_bits(float x) { return bf16_bits(vf32{x})[0]; }\n" +
                        forms("bf16", "vf32", "vu16", "unsigned short")});
  units->push_back({"f16",
                    {"load.u16", "store.u16", "tail.u16", "strided.u16"},
                    "typedef _Float16 vf16 __attribute__((vector_size(sizeof(vu16))));\n"
                    "INLINE vf32 f16_value(vu16 x) { return __builtin_convertvector((vf16)x, vf32); }\n"
                    "INLINE vu16 f16_bits(vf32 x) { return (vu16)__builtin_convertvector(x, vf16); }\n"
                    "INLINE float f16_value(unsigned short x) { return (float)__builtin_bit_cast(_Float16, x); }\n"
                    "INLINE unsigned short f16_bits(float x) { return __builtin_bit_cast(unsigned short, (_Float16)x); }\n" +
                        forms("f16", "vf32", "vu16", "unsigned short")});
}

void AppendValueUnits(int lanes, std::vector<PreludeUnit>* units) {
  const std::string iota = LaneList(lanes, [](int i) { return std::to_string(i); });
  units->push_back({"splat_mask", {"splat.i32"}, "INLINE vi32 splat_mask(bool x) { return splat(-(int)x); }\n"});
  units->push_back({"iota.i32", {}, fmt::format("INLINE vi32 iota_i32() {{ return vi32{{{}}}; }}\n", iota)});
  units->push_back({"iota.i64", {}, fmt::format("INLINE vi64 iota_i64() {{ return vi64{{{}}}; }}\n", iota)});
  const std::pair<const char*, const char*> selects[] = {
      {"f32", "m"}, {"i32", "m"}, {"f64", "__builtin_convertvector(m, vi64)"}, {"i64", "__builtin_convertvector(m, vi64)"}};
  for (auto [tag, mask] : selects) {
    units->push_back({fmt::format("select.{}", tag), {},
                      fmt::format("INLINE v{0} select(vi32 m, v{0} a, v{0} b) {{ return {1} ? a : b; }}\n", tag, mask)});
  }
  units->push_back({"select.u8", {},
                    "INLINE vu8 select(vi32 m, vu8 a, vu8 b) {\n"
                    "  vu8 mask = __builtin_convertvector(m, vu8);\n"
                    "  return (a & mask) | (b & ~mask);\n"
                    "}\n"});
  for (const char* tag : {"f32", "f64"}) {
    const char* scalar = tag == std::string_view("f32") ? "float" : "double";
    std::string text = Substitute(
        "INLINE $V vmax($V a, $V b) { return ((a > b) | (a != a)) ? a : b; }\n"
        "INLINE $V vmin($V a, $V b) { return ((a < b) | (a != a)) ? a : b; }\n"
        "INLINE $T vmax($T a, $T b) { return a > b || a != a ? a : b; }\n"
        "INLINE $T vmin($T a, $T b) { return a < b || a != a ? a : b; }\n"
        "INLINE $V madd($V a, $V b, $V c) { return __builtin_elementwise_fma(a, b, c); }\n",
        {{"$V", fmt::format("v{}", tag)}, {"$T", scalar}});
    units->push_back({fmt::format("arith.{}", tag), {}, text});
  }
  for (auto [tag, scalar] : {std::pair{"i32", "int"}, {"i64", "long"}, {"u8", "unsigned char"}}) {
    units->push_back({fmt::format("arith.{}", tag), {},
                      Substitute("INLINE $V vmax($V a, $V b) { return __builtin_elementwise_max(a, b); }\n"
                                 "INLINE $V vmin($V a, $V b) { return __builtin_elementwise_min(a, b); }\n"
                                 "INLINE $T vmax($T a, $T b) { return a > b ? a : b; }\n"
                                 "INLINE $T vmin($T a, $T b) { return a < b ? a : b; }\n",
                                 {{"$V", fmt::format("v{}", tag)}, {"$T", scalar}})});
  }
  for (const ElementType& type : kElementTypes) {
    if (type.tag == std::string_view("u16")) continue;
    std::string sum = fmt::format("INLINE {} sum(v{} v) {{\n", type.scalar, type.tag);
    std::string max = fmt::format("INLINE {} max(v{} v) {{\n", type.scalar, type.tag);
    for (int w = lanes / 2; w >= 1; w /= 2) {
      const std::string other = LaneList(lanes, [&](int i) { return std::to_string(i ^ w); });
      sum += fmt::format("  v += __builtin_shufflevector(v, v, {});\n", other);
      max += fmt::format("  v = vmax(v, __builtin_shufflevector(v, v, {}));\n", other);
    }
    units->push_back({fmt::format("sum.{}", type.tag), {}, sum + "  return v[0];\n}\n"});
    units->push_back({fmt::format("max.{}", type.tag), {fmt::format("arith.{}", type.tag)}, max + "  return v[0];\n}\n"});
  }
  units->push_back({"digit", {},
                    "// Digit of a mixed-radix index.\n"
                    "INLINE long digit(long i, unsigned long below, unsigned long extent) { return (unsigned long)i / below % extent; }\n"
                    "INLINE long high_digit(long i, unsigned long below) { return (unsigned long)i / below; }\n"});
  units->push_back({"relative", {"iota.i32"},
                    fmt::format("// An index as seen from the first of {0} lanes; anything outside stays outside.\n"
                                "INLINE int relative(long index, long first) {{\n"
                                "  const long d = index - first;\n"
                                "  return d < -1 ? -1 : d > {0} ? {0} : (int)d;\n"
                                "}}\n", lanes)});
}

// Lanes interleaved within 128-bit blocks first, then the blocks transposed.
std::string TransposeText(const ElementType& type, int lanes) {
  const int per = 16 / type.bytes, blocks = lanes / per;
  std::string text = fmt::format("INLINE void transpose(v{} (&r)[{}]) {{\n", type.tag, lanes);
  auto shuffle = [&](const std::string& to, const std::string& a, const std::string& b, const std::function<int(int)>& lane) {
    text += fmt::format("  v{} {} = __builtin_shufflevector({}, {}, {});\n", type.tag, to, a, b,
                        LaneList(lanes, [&](int i) { return std::to_string(lane(i)); }));
  };
  auto name = [](const char* base, int i) { return fmt::format("{}{}", base, i); };
  // Pairs: lo/hi elements of each block interleaved.
  for (int i = 0; i < lanes; i += 2) {
    for (int high = 0; high < 2; ++high) {
      shuffle(name("a", i + high), fmt::format("r[{}]", i), fmt::format("r[{}]", i + 1), [&](int l) {
        const int block = l / per, e = l % per;
        return block * per + high * (per / 2) + e / 2 + (e % 2 ? lanes : 0);
      });
    }
  }
  const char* stage = "a";
  if (per == 4) {                                            // quadruples: lo/hi pairs interleaved
    for (int g = 0; g < lanes; g += 4) {
      for (int c = 0; c < 4; ++c) {
        shuffle(name("b", g + c), name("a", g + c / 2), name("a", g + c / 2 + 2), [&](int l) {
          const int block = l / per, e = l % per;
          return block * per + (c % 2) * 2 + e % 2 + (e >= 2 ? lanes : 0);
        });
      }
    }
    stage = "b";
  }
  // Now block L of register g * per + c holds column L * per + c of the rows g * per ... g * per + per - 1.
  for (int c = 0; c < per; ++c) {
    if (blocks == 2) {
      for (int out = 0; out < 2; ++out) {
        shuffle(name("c", out * per + c), name(stage, c), name(stage, per + c),
                [&](int l) { return out * per + l % per + (l >= per ? lanes : 0); });
      }
    } else if (blocks == 4) {
      for (int half = 0; half < 2; ++half) {
        for (int odd = 0; odd < 2; ++odd) {                  // [a0 a2 b0 b2] and [a1 a3 b1 b3]
          shuffle(fmt::format("p{}_{}", c, half * 2 + odd), name(stage, (2 * half) * per + c), name(stage, (2 * half + 1) * per + c),
                  [&](int l) { return ((l / per) % 2 * 2 + odd) * per + l % per + (l / per >= 2 ? lanes : 0); });
        }
      }
      for (int out = 0; out < 4; ++out) {
        shuffle(name("c", out * per + c), fmt::format("p{}_{}", c, out % 2), fmt::format("p{}_{}", c, 2 + out % 2),
                [&](int l) { return ((l / per) % 2 * 2 + out / 2) * per + l % per + (l / per >= 2 ? lanes : 0); });
      }
    }
  }
  const char* last = blocks == 1 ? stage : "c";
  for (int i = 0; i < lanes; ++i) text += fmt::format("  r[{}] = {}{};\n", i, last, i);
  return text + "}\n";
}

std::vector<PreludeUnit> AllUnits(Isa isa, int lanes) {
  std::vector<PreludeUnit> units;
  AppendMemoryUnits(isa, lanes, &units);
  AppendNarrowUnits(&units);
  AppendValueUnits(lanes, &units);
  for (const ElementType& type : kElementTypes) {
    const int blocks = lanes * type.bytes / 16;
    if ((type.bytes == 4 || type.bytes == 8) && (blocks == 1 || blocks == 2 || blocks == 4) && lanes * type.bytes <= 64) {
      units.push_back({fmt::format("transpose.{}", type.tag), {}, TransposeText(type, lanes)});
    }
  }
  AppendMathUnits(isa, lanes, &units);
  return units;
}

const char* Tag(DType dtype) {
  switch (dtype) {
    case DType::kF32: case DType::kBF16: case DType::kF16: return "f32";
    case DType::kF64: return "f64";
    case DType::kI32: case DType::kBool: return "i32";
    case DType::kI64: return "i64";
    case DType::kU8: return "u8";
  }
  return "";
}

}  // namespace

std::string Substitute(std::string text, const std::vector<std::pair<std::string, std::string>>& values) {
  for (const auto& [name, value] : values) {
    for (size_t at = 0; (at = text.find(name, at)) != std::string::npos; at += value.size()) text.replace(at, name.size(), value);
  }
  return text;
}

void Prelude::Use(std::string_view helper) { used_.emplace(helper); }

void Prelude::Use(std::string_view helper, DType dtype) { used_.insert(fmt::format("{}.{}", helper, Tag(dtype))); }

std::string Prelude::Text() const {
  const std::vector<PreludeUnit> units = AllUnits(isa_, lanes_);
  std::set<std::string, std::less<>> wanted;
  std::function<void(std::string_view)> want = [&](std::string_view name) {
    if (!wanted.emplace(name).second) return;
    auto unit = std::find_if(units.begin(), units.end(), [&](const PreludeUnit& u) { return u.name == name; });
    if (unit == units.end()) throw InternalError(fmt::format("prelude: no helper '{}' for {} with {} lanes", name, Name(isa_), lanes_));
    for (const std::string& need : unit->needs) want(need);
  };
  for (const std::string& name : used_) want(name);
  std::string text = TypesText(isa_, lanes_);
  for (const PreludeUnit& unit : units) {
    if (wanted.contains(unit.name)) text += unit.text;
  }
  return text;
}

std::string_view MemoryType(DType dtype) {
  switch (dtype) {
    case DType::kF32: return "float";
    case DType::kF64: return "double";
    case DType::kBF16: case DType::kF16: return "unsigned short";
    case DType::kI32: return "int";
    case DType::kI64: return "long";
    case DType::kU8: case DType::kBool: return "unsigned char";
  }
  return "";
}

std::string_view ScalarType(DType dtype) {
  if (dtype == DType::kBool) return "bool";
  return MemoryType(ValueType(dtype));
}

std::string_view VectorType(DType dtype) {
  switch (ValueType(dtype)) {
    case DType::kF64: return "vf64";
    case DType::kI32: case DType::kBool: return "vi32";
    case DType::kI64: return "vi64";
    case DType::kU8: return "vu8";
    default: return "vf32";
  }
}

DType ValueType(DType dtype) { return dtype == DType::kBF16 || dtype == DType::kF16 ? DType::kF32 : dtype; }

std::string LowestLiteral(DType dtype) {
  switch (ValueType(dtype)) {
    case DType::kI32: return "(-2147483647 - 1)";
    case DType::kI64: return "(-9223372036854775807L - 1)";
    case DType::kU8: return "(unsigned char)0";
    case DType::kBool: return "false";
    default: return Literal(-std::numeric_limits<double>::infinity(), dtype);
  }
}

std::string Literal(double value, DType dtype) {
  const DType type = ValueType(dtype);
  if (type == DType::kBool) return value != 0 ? "true" : "false";
  if (!IsFloat(type)) {
    const auto integer = static_cast<int64_t>(value);
    if (type == DType::kI64) {
      return integer == INT64_MIN ? LowestLiteral(type) : integer < 0 ? fmt::format("({}L)", integer) : fmt::format("{}L", integer);
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
