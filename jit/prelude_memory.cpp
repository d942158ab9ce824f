#include <fmt/format.h>

#include <algorithm>

#include "jit/prelude_units.h"
#include "ops/error.h"

namespace athanor {
namespace {

// Masked access to the first n lanes, through the floating-point builtins of the same width: they only move bits. A vector twice
// as wide as a register is moved in two parts.
std::string TailText(const ElementType& type, Isa isa, int lanes) {
  const bool avx512 = isa == Isa::kAvx512, wide = type.bytes == 8;
  const int register_bytes = avx512 ? 64 : 32, bytes = type.bytes * lanes;
  const int parts = std::max(1, bytes / register_bytes), part_lanes = lanes / parts, part_bytes = bytes / parts;
  ATHANOR_CHECK(parts <= 2);
  const std::string width = part_bytes == 64 ? "512" : part_bytes == 32 ? "256" : avx512 ? "128" : "";
  auto list = [](int first, int count) { return LaneList(count, [&](int i) { return std::to_string(first + i); }); };
  const std::vector<std::pair<std::string, std::string>> names = {
      {"$PART", fmt::format("{}_part", type.tag)},
      {"$V", fmt::format("v{}", type.tag)},
      {"$T", type.scalar},
      {"$LANES", std::to_string(part_lanes)},
      {"$FLOAT", wide ? "double" : "float"},
      {"$BYTES", std::to_string(part_bytes)},
      {"$SUFFIX", (wide ? "d" : "s") + width},
      // The 512-bit builtins take a pointer to elements, the others one to vectors.
      {"$POINTER", part_bytes == 64 ? wide ? "double*" : "float*" : fmt::format("{}_part*", type.tag)},
      {"$MASK", avx512 ? part_lanes == 16 ? "unsigned short" : "unsigned char" : fmt::format("{}_part_mask", type.tag)},
      {"$INT", wide ? "long long" : "int"},
      {"$IOTA", list(0, part_lanes)},
      {"$ALL", list(0, lanes)},
      {"$LOW", list(0, part_lanes)},
      {"$HIGH", list(part_lanes, part_lanes)}};
  std::string text = "typedef $FLOAT $PART __attribute__((vector_size($BYTES), may_alias));\n";
  if (avx512) {
    text +=
        "INLINE $PART $PART_load(const $T* p, long n) {\n"
        "  return __builtin_ia32_loadup$SUFFIX_mask((const $POINTER)p, $PART{}, ($MASK)((1u << n) - 1));\n"
        "}\n"
        "INLINE void $PART_store($T* p, $PART v, long n) { __builtin_ia32_storeup$SUFFIX_mask(($POINTER)p, v, ($MASK)((1u << n) "
        "- 1)); }\n";
  } else {
    text +=
        "typedef $INT $PART_mask __attribute__((vector_size($BYTES)));\n"
        "INLINE $PART $PART_load(const $T* p, long n) { return __builtin_ia32_maskloadp$SUFFIX((const $PART*)p, $MASK{$IOTA} < "
        "($INT)n); }\n"
        "INLINE void $PART_store($T* p, $PART v, long n) { __builtin_ia32_maskstorep$SUFFIX(($PART*)p, $MASK{$IOTA} < ($INT)n, "
        "v); }\n";
  }
  if (parts == 1) {
    text +=
        "INLINE $V load_tail(const $T* p, long n) { return ($V)$PART_load(p, n); }\n"
        "INLINE void store_tail($T* p, $V v, long n) { $PART_store(p, ($PART)v, n); }\n";
  } else {
    text +=
        "INLINE $V load_tail(const $T* p, long n) {\n"
        "  $PART low = $PART_load(p, n < $LANES ? n : $LANES), high = $PART_load(p + $LANES, n < $LANES ? 0 : n - $LANES);\n"
        "  return ($V)__builtin_shufflevector(low, high, $ALL);\n"
        "}\n"
        "INLINE void store_tail($T* p, $V v, long n) {\n"
        "  $PART_store(p, ($PART)__builtin_shufflevector(v, v, $LOW), n < $LANES ? n : $LANES);\n"
        "  $PART_store(p + $LANES, ($PART)__builtin_shufflevector(v, v, $HIGH), n < $LANES ? 0 : n - $LANES);\n"
        "}\n";
  }
  return Substitute(text, names);
}

// The same for types narrower than floats: masked where there are such instructions, which is for whole registers.
std::string NarrowTailText(const ElementType& type, Isa isa, int lanes) {
  const int bytes = type.bytes * lanes;
  if (isa != Isa::kAvx512 || bytes < 16) {
    return "INLINE $V load_tail(const $T* p, long n) {\n"
           "  $V v{};\n"
           "#pragma clang loop unroll(full)\n"
           "  for (long i = 0; i < n; ++i) v[i] = p[i];\n"
           "  return v;\n"
           "}\n"
           "INLINE void store_tail($T* p, $V v, long n) {\n"
           "#pragma clang loop unroll(full)\n"
           "  for (long i = 0; i < n; ++i) p[i] = v[i];\n"
           "}\n";
  }
  return Substitute("typedef $INT $TAG_part __attribute__((vector_size($BYTES), may_alias));\n"
                    "INLINE $V load_tail(const $T* p, long n) {\n"
                    "  return ($V)__builtin_ia32_loaddqu$SUFFIX_mask((const $TAG_part*)p, $TAG_part{}, ($MASK)((1u << n) - 1));\n"
                    "}\n"
                    "INLINE void store_tail($T* p, $V v, long n) {\n"
                    "  __builtin_ia32_storedqu$SUFFIX_mask(($TAG_part*)p, ($TAG_part)v, ($MASK)((1u << n) - 1));\n"
                    "}\n",
                    {{"$INT", type.bytes == 1 ? "char" : "short"},
                     {"$TAG", type.tag},
                     {"$BYTES", std::to_string(bytes)},
                     {"$SUFFIX", fmt::format("{}{}", type.bytes == 1 ? "qi" : "hi", 8 * bytes)},
                     {"$MASK", lanes == 16 ? "unsigned short" : "unsigned char"}});
}

// Loads and stores of some lanes move bits only: a type of each width stands for the others. Null where there are no such instructions.
struct Masked {
  Isa isa;
  int bytes, width;
  const char *element, *pointer, *load, *store, *mask;
};

const Masked* MaskedAccess(const ElementType& type, Isa isa, int lanes) {
  static constexpr Masked kMasked[] = {
      {Isa::kAvx512, 8, 64, "double", "double", "loadupd512_mask", "storeupd512_mask", "unsigned char"},
      {Isa::kAvx512, 4, 64, "float", "float", "loadups512_mask", "storeups512_mask", "unsigned short"},
      {Isa::kAvx512, 2, 32, "short", "u16_window", "loaddquhi256_mask", "storedquhi256_mask", "unsigned short"},
      {Isa::kAvx2, 8, 32, "double", "$TAG_window", "maskloadpd256", "maskstorepd256", "long long"},
      {Isa::kAvx2, 4, 32, "float", "$TAG_window", "maskloadps256", "maskstoreps256", "int"}};
  const auto* masked = std::find_if(std::begin(kMasked), std::end(kMasked), [&](const Masked& m) {
    return isa == m.isa && m.bytes == type.bytes && m.width == type.bytes * lanes;
  });
  return masked == std::end(kMasked) ? nullptr : masked;
}

// Lanes [first, last) from memory, the others from `fill`, and to memory; the range may be empty or reach over the vector.
std::string WindowText(const ElementType& type, Isa isa, int lanes) {
  const Masked* const masked = MaskedAccess(type, isa, lanes);
  std::string text;
  if (masked == nullptr) {
    text =
        "INLINE $V load_window(const $T* p, long first, long last, $V fill) {\n"
        "  if (first <= 0 && last >= $N) {\n"
        "    __builtin_memcpy(&fill, p, sizeof fill);\n"
        "    return fill;\n"
        "  }\n"
        "  for (long i = larger(first, 0); i < smaller(last, $N); ++i) fill[i] = p[i];\n"
        "  return fill;\n"
        "}\n"
        "INLINE void store_window($T* p, $V v, long first, long last) {\n"
        "  for (long i = larger(first, 0); i < smaller(last, $N); ++i) p[i] = v[i];\n"
        "}\n";
  } else if (isa == Isa::kAvx512) {
    text =
        "typedef $ELEMENT $TAG_window __attribute__((vector_size($WIDTH), may_alias));\n"
        "INLINE $V load_window(const $T* p, long first, long last, $V fill) {\n"
        "  const unsigned live = (1u << larger(smaller(last, $N), 0)) - (1u << smaller(larger(first, 0), $N));\n"
        "  return first < last ? ($V)__builtin_ia32_$LOAD((const $POINTER*)p, ($TAG_window)fill, ($MASK)live) : fill;\n"
        "}\n"
        "INLINE void store_window($T* p, $V v, long first, long last) {\n"
        "  const unsigned live = (1u << larger(smaller(last, $N), 0)) - (1u << smaller(larger(first, 0), $N));\n"
        "  if (first < last) __builtin_ia32_$STORE(($POINTER*)p, ($TAG_window)v, ($MASK)live);\n"
        "}\n";
  } else {
    text =
        "typedef $ELEMENT $TAG_window __attribute__((vector_size($WIDTH), may_alias));\n"
        "typedef $MASK $TAG_window_mask __attribute__((vector_size($WIDTH)));\n"
        "INLINE $V load_window(const $T* p, long first, long last, $V fill) {\n"
        "  if (first <= 0 && last >= $N) return *(const $V_any*)p;\n"
        "  const $TAG_window_mask lane{$IOTA}, live = (lane >= ($MASK)first) & (lane < ($MASK)last);\n"
        "  return live ? ($V)__builtin_ia32_$LOAD((const $POINTER*)p, live) : fill;\n"
        "}\n"
        "INLINE void store_window($T* p, $V v, long first, long last) {\n"
        "  const $TAG_window_mask lane{$IOTA}, live = (lane >= ($MASK)first) & (lane < ($MASK)last);\n"
        "  __builtin_ia32_$STORE(($POINTER*)p, live, ($TAG_window)v);\n"
        "}\n";
  }
  std::vector<std::pair<std::string, std::string>> names = {
      {"$V", fmt::format("v{}", type.tag)}, {"$TAG", type.tag}, {"$T", type.scalar}, {"$N", std::to_string(lanes)}};
  if (masked != nullptr) {
    names.insert(names.begin(), {{"$ELEMENT", masked->element}, {"$WIDTH", std::to_string(masked->width)}, {"$LOAD", masked->load}, {"$STORE", masked->store},
                                 {"$POINTER", masked->pointer}, {"$MASK", masked->mask},
                                 {"$IOTA", LaneList(lanes, [](int i) { return std::to_string(i); })}});
  }
  return Substitute(text, names);
}

// A vector of elements that lie in two places in turns, `step` elements apart: it is made of one, two or four pieces, each of which begins at an address of
// its own and takes as many from both places.
std::string ZippedText(const ElementType& type, int lanes) {
  std::string text;
  for (int pieces = 1; pieces <= 4 && 4 * pieces <= lanes; pieces *= 2) {
    const int half = lanes / pieces / 2;
    const std::string place = fmt::format("{}_zipped_{}", type.tag, half);
    std::vector<std::string> parts, parameters;
    for (int i = 0; i < pieces; ++i) {
      parameters.push_back(fmt::format("const {}* p{}", type.scalar, i));
      parts.push_back(fmt::format("__builtin_shufflevector(*(const {0}*)p{1}, *(const {0}*)(p{1} + step), {2})", place, i,
                                  LaneList(2 * half, [&](int l) { return std::to_string(l / 2 + l % 2 * half); })));
    }
    for (int width = 2 * half; parts.size() > 1; width *= 2) {
      for (size_t i = 0; i < parts.size() / 2; ++i) {
        parts[i] = fmt::format("__builtin_shufflevector({}, {}, {})", parts[2 * i], parts[2 * i + 1], LaneList(2 * width, [](int l) { return std::to_string(l); }));
      }
      parts.resize(parts.size() / 2);
    }
    text += fmt::format("typedef {} {} __attribute__((vector_size({}), aligned({}), may_alias));\n", type.scalar, place, half * type.bytes, type.bytes);
    text += fmt::format("INLINE $V load_zipped({}, long step) {{\n  return {};\n}}\n", fmt::join(parameters, ", "), parts[0]);
  }
  return text;
}

void AppendAccessUnits(Isa isa, int lanes, std::vector<PreludeUnit>* units) {
  units->push_back({"bounds", {}, "INLINE long larger(long a, long b) { return a > b ? a : b; }\n"
                                 "INLINE long smaller(long a, long b) { return a < b ? a : b; }\n"});
  units->push_back({"bounded", {}, "INLINE long bounded(long x, long low, long high) { return x < low ? low : x > high ? high : x; }\n"});
  const int vector_bytes = isa == Isa::kAvx512 ? 64 : 32;
  for (const ElementType& type : kElementTypes) {
    const std::string tag = type.tag;
    const std::vector<std::pair<std::string, std::string>> names = {
        {"$V", "v" + tag}, {"$T", type.scalar}, {"$N", std::to_string(lanes)}, {"$ALIGN", std::to_string(vector_bytes - 1)}};
    auto add = [&](std::string name, std::vector<std::string> needs, std::string text) {
      units->push_back({name + "." + tag, std::move(needs), Substitute(std::move(text), names)});
    };
    add("splat", {}, "INLINE $V splat($T x) { return x - $V{}; }\n");  // exactly x; a list of lanes takes the compiler longer
    add("load", {}, "INLINE $V load(const $T* p) { return *(const $V_any*)p; }\n");
    add("store", {}, "INLINE void store($T* p, $V v) { *($V_any*)p = v; }\n");
    if (type.bytes >= 4) {
      add("tail", {}, TailText(type, isa, lanes));
    } else {
      add("tail", {}, NarrowTailText(type, isa, lanes));
    }
    add("window", {"bounds"}, WindowText(type, isa, lanes));
    // The first `border` lanes lie from p on, the others from q on, which is where lane 0 would be.
    add("split", {"load." + tag, "store." + tag, "window." + tag},
        "INLINE $V load_split(const $T* p, const $T* q, long border) {\n"
        "  return border >= $N ? load(p) : load_window(q, border, $N, load_window(p, 0, border, $V{}));\n"
        "}\n"
        "INLINE $V load_split_tail(const $T* p, const $T* q, long border, long n) {\n"
        "  border = smaller(border, $N);\n"
        "  return load_window(q, border, n, load_window(p, 0, smaller(border, n), $V{}));\n"
        "}\n"
        "INLINE void store_split($T* p, $T* q, $V v, long border) {\n"
        "  if (border >= $N) return store(p, v);\n"
        "  store_window(p, v, 0, border);\n"
        "  store_window(q, v, border, $N);\n"
        "}\n"
        "INLINE void store_split_tail($T* p, $T* q, $V v, long border, long n) {\n"
        "  border = smaller(border, $N);\n"
        "  store_window(p, v, 0, smaller(border, n));\n"
        "  store_window(q, v, border, n);\n"
        "}\n");
    // Every second element lies in two vectors, the second of which ends with the last that is wanted.
    const std::string seconds = LaneList(lanes, [&](int i) { return std::to_string(2 * i < lanes ? 2 * i : 2 * i + 1); });
    add("second", {"load." + tag, "tail." + tag, "bounds"},
        fmt::format("INLINE $V load_second(const $T* p) {{ return __builtin_shufflevector(load(p), load(p + $N - 1), {0}); }}\n"
                    "INLINE $V load_second_tail(const $T* p, long n) {{\n"
                    "  return __builtin_shufflevector(load_tail(p, smaller(2 * n - 1, $N)), load_tail(p + $N - 1, larger(2 * n - $N, 0)), {0});\n"
                    "}}\n",
                    seconds));
    // The same of a row of pixels with a border. `fill` is the same in all lanes. Masks of AVX2 are vectors to be computed.
    const char* const whole = isa == Isa::kAvx2 ? "    if (first <= 0 && last >= $N) return load_second(p);\n" : "";
    add("window_strided", {"window." + tag, "second." + tag},
        fmt::format("INLINE $V load_window_strided(const $T* p, long stride, long first, long last, $V fill) {{\n"
                    "  if (stride == 2) {{\n"
                    "{}"
                    "    const $V low = load_window(p, 2 * first, 2 * last - 1, fill), high = load_window(p + $N, 2 * first - $N, 2 * last - 1 - $N, fill);\n"
                    "    return __builtin_shufflevector(low, high, {});\n"
                    "  }}\n"
                    "  for (long i = larger(first, 0); i < smaller(last, $N); ++i) fill[i] = p[i * stride];\n"
                    "  return fill;\n"
                    "}}\n",
                    whole, LaneList(lanes, [](int i) { return std::to_string(2 * i); })));
    add("zipped", {}, ZippedText(type, lanes));
    add("strided", {},
        "INLINE $V load_strided(const $T* p, long stride, long n) {\n"
        "  $V v{};\n"
        "  if (n == $N) {\n"
        "#pragma clang loop unroll(full)\n"
        "    for (int i = 0; i < $N; ++i) v[i] = p[i * stride];\n"
        "  } else {\n"
        "    for (int i = 0; i < n; ++i) v[i] = p[i * stride];\n"
        "  }\n"
        "  return v;\n"
        "}\n"
        "INLINE void store_strided($T* p, $V v, long stride, long n) {\n"
        "  if (n == $N) {\n"
        "#pragma clang loop unroll(full)\n"
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
void AppendNarrowUnits(int lanes, bool bf16_instructions, std::vector<PreludeUnit>* units) {
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
                    "INLINE vf32 bf16_value(vu16 x) { return (vf32)(__builtin_convertvector(x, vi32) << 16); }\n" +
                        std::string(bf16_instructions ? "typedef __bf16 vbf16 __attribute__((vector_size(sizeof(vu16))));\n"
                                                        "INLINE vu16 bf16_bits(vf32 x) { return (vu16)__builtin_convertvector(x, vbf16); }\n"
                                                      : "INLINE vu16 bf16_bits(vf32 x) {\n"
                                                        "  vi32 bits = (vi32)x;\n"
                                                        "  vi32 rounded = ((bits >> 16) & 0xffff) + (((bits & 0xffff) + 0x7fff + ((bits >> 16) & 1)) >> 16);\n"
                                                        "  vi32 nan = ((bits >> 16) & 0xffff) | 0x40;\n"
                                                        "  return __builtin_convertvector(x != x ? nan : rounded, vu16);\n"
                                                        "}\n") +
                    "INLINE float bf16_value(unsigned short x) { return __builtin_bit_cast(float, (unsigned)x << 16); }\n"
                    "INLINE unsigned short bf16_bits(float x) { return bf16_bits(vf32{x})[0]; }\n" +
                        forms("bf16", "vf32", "vu16", "unsigned short")});
  units->push_back({"interleave",
                    {},
                    Substitute("// Every second element of two vectors one behind the other; the elements of two vectors in turns, first and last half.\n"
                               "INLINE vf32 even(vf32 a, vf32 b) { return __builtin_shufflevector(a, b, $EVEN); }\n"
                               "INLINE vf32 odd(vf32 a, vf32 b) { return __builtin_shufflevector(a, b, $ODD); }\n"
                               "INLINE vf32 zip_low(vf32 a, vf32 b) { return __builtin_shufflevector(a, b, $LOW); }\n"
                               "INLINE vf32 zip_high(vf32 a, vf32 b) { return __builtin_shufflevector(a, b, $HIGH); }\n",
                               {{"$EVEN", LaneList(lanes, [](int i) { return std::to_string(2 * i); })},
                                {"$ODD", LaneList(lanes, [](int i) { return std::to_string(2 * i + 1); })},
                                {"$LOW", LaneList(lanes, [&](int i) { return std::to_string(i / 2 + i % 2 * lanes); })},
                                {"$HIGH", LaneList(lanes, [&](int i) { return std::to_string(lanes / 2 + i / 2 + i % 2 * lanes); })}})});
  if (lanes == 8 || lanes == 16) {
    units->push_back({"permute",
                      {},
                      fmt::format("// Lane i is lane[i] of x.\n"
                                  "INLINE vf32 permute(vf32 x, vi32 lane) {{ return __builtin_ia32_permvarsf{}(x, lane); }}\n", 32 * lanes)});
  }
  units->push_back({"pairs",
                    {"bf16", "interleave", "load.i32", "store.i32"},
                    "// Two bf16 in 32 bits, the first below: of values that are bf16 already, or rounded.\n"
                    "INLINE vi32 pair(vu16 low, vu16 high) { return __builtin_convertvector(low, vi32) | __builtin_convertvector(high, vi32) << 16; }\n"
                    "INLINE vi32 pair(vf32 low, vf32 high) { return (((vi32)low >> 16) & 0xffff) | ((vi32)high & ~0xffff); }\n"
                    "INLINE vi32 round_pair(vf32 low, vf32 high) { return pair(bf16_bits(low), bf16_bits(high)); }\n" +
                        Substitute("// The pairs of two vectors one behind the other; their first n elements; pairs as they lie in memory.\n"
                                   "INLINE vi32 along_pairs(vf32 a, vf32 b) {\n"
                                   "  return pair(even(a, b), odd(a, b));\n"
                                   "}\n"
                                   "INLINE vi32 round_along_pairs(vf32 a, vf32 b) {\n"
                                   "  return round_pair(even(a, b), odd(a, b));\n"
                                   "}\n"
                                   "INLINE vf32 keep(vf32 x, long n) { return vi32{$IOTA} < (int)n ? x : vf32{}; }\n"
                                   "INLINE vi32 load_pairs(const unsigned short* p) {\n"
                                   "  vi32 v;\n"
                                   "  __builtin_memcpy(&v, p, sizeof v);\n"
                                   "  return v;\n"
                                   "}\n"
                                   "INLINE vi32 load_pairs_tail(const unsigned short* p, long n) {\n"
                                   "  vi32 v{};\n"
                                   "  for (long i = 0; i < n; ++i) v[i / 2] |= p[i] << i % 2 * 16;\n"
                                   "  return v;\n"
                                   "}\n",
                                   {{"$IOTA", LaneList(lanes, [](int i) { return std::to_string(i); })}})});
  units->push_back({"dot",
                    {"pairs", "splat.i32"},
                    bf16_instructions ? "typedef __bf16 bf16_halves __attribute__((vector_size(64)));\n"
                                        "// c + the products of both halves\n"
                                        "INLINE vf32 dot(vf32 c, vi32 a, vi32 b) { return (vf32)__builtin_ia32_dpbf16ps_512(c, (bf16_halves)a, (bf16_halves)b); }\n"
                                      : "// c + the products of both halves\n"
                                        "INLINE vf32 dot(vf32 c, vi32 a, vi32 b) {\n"
                                        "  c = __builtin_elementwise_fma((vf32)(a << 16), (vf32)(b << 16), c);\n"
                                        "  return __builtin_elementwise_fma((vf32)(a & ~0xffff), (vf32)(b & ~0xffff), c);\n"
                                        "}\n"});
  const std::string halves = Substitute(
      "INLINE vi32 zip_halves(vu16x2 h) { return (vi32)__builtin_shufflevector(h, h, $LOW); }\n"
      "INLINE vi32 zip_pairs_low(vi32 a, vi32 b) { return (vi32)__builtin_shufflevector((vu16x2)a, (vu16x2)b, $FIRST); }\n"
      "INLINE vi32 zip_pairs_high(vi32 a, vi32 b) { return (vi32)__builtin_shufflevector((vu16x2)a, (vu16x2)b, $LAST); }\n"
      "INLINE void store_halves(unsigned short* p, unsigned short* q, vu16x2 h) {\n"
      "  store(p, __builtin_shufflevector(h, h, $ALL));\n"
      "  store(q, __builtin_shufflevector(h, h, $REST));\n"
      "}\n",
      {{"$LOW", LaneList(2 * lanes, [&](int i) { return std::to_string(i / 2 + i % 2 * lanes); })},
       {"$FIRST", LaneList(2 * lanes, [&](int i) { return std::to_string(i / 2 + i % 2 * 2 * lanes); })},
       {"$LAST", LaneList(2 * lanes, [&](int i) { return std::to_string(lanes + i / 2 + i % 2 * 2 * lanes); })},
       {"$ALL", LaneList(lanes, [](int i) { return std::to_string(i); })},
       {"$REST", LaneList(lanes, [&](int i) { return std::to_string(lanes + i); })}});
  const std::string round_halves =
      bf16_instructions ? "INLINE vu16x2 round_halves(vf32 a, vf32 b) { return (vu16x2)__builtin_ia32_cvtne2ps2bf16_512(b, a); }\n"
                        : fmt::format("INLINE vu16x2 round_halves(vf32 a, vf32 b) {{\n"
                                      "  return __builtin_shufflevector(bf16_bits(a), bf16_bits(b), {});\n"
                                      "}}\n",
                                      LaneList(2 * lanes, [](int i) { return std::to_string(i); }));
  units->push_back({"halves",
                    {"bf16"},
                    fmt::format("typedef unsigned short vu16x2 __attribute__((vector_size({})));\n", 4 * lanes) + round_halves + halves});
  units->push_back({"f16",
                    {"load.u16", "store.u16", "tail.u16", "strided.u16"},
                    "typedef _Float16 vf16 __attribute__((vector_size(sizeof(vu16))));\n"
                    "INLINE vf32 f16_value(vu16 x) { return __builtin_convertvector((vf16)x, vf32); }\n"
                    "INLINE vu16 f16_bits(vf32 x) { return (vu16)__builtin_convertvector(x, vf16); }\n"
                    "INLINE float f16_value(unsigned short x) { return (float)__builtin_bit_cast(_Float16, x); }\n"
                    "INLINE unsigned short f16_bits(float x) { return __builtin_bit_cast(unsigned short, (_Float16)x); }\n" +
                        forms("f16", "vf32", "vu16", "unsigned short")});
}

// The same steps for 4-byte elements that fill two or four blocks, as instructions: each shuffle given to LLVM costs it about 0.2 ms, and kernels hold hundreds.
std::string TransposeInstructions(const ElementType& type, int lanes) {
  std::string text = fmt::format("INLINE void transpose(v{} (&r)[{}]) {{\n  v{} ", type.tag, lanes, type.tag);
  text += LaneList(lanes, [](int i) { return fmt::format("t{}", i); }) + ";\n  asm(";
  const char* separator = "";
  // The operands are r, then t.
  auto instruction = [&](std::string_view name, int to, int a, int b) {
    text += fmt::format("{}\"{}%{}, %{}, %{}\\n\"", separator, name, b, a, to);
    separator = "\n      ";
  };
  for (int i = 0; i < lanes; ++i) instruction(i % 2 ? "vunpckhps " : "vunpcklps ", lanes + i, i / 2 * 2, i / 2 * 2 + 1);
  for (int i = 0; i < lanes; ++i) instruction(i % 2 ? "vunpckhpd " : "vunpcklpd ", i, lanes + i / 4 * 4 + i % 4 / 2, lanes + i / 4 * 4 + i % 4 / 2 + 2);
  if (lanes == 8) {
    for (int i = 0; i < 8; ++i) instruction(i / 4 ? "vperm2f128 $0x31, " : "vperm2f128 $0x20, ", 8 + i, i % 4, 4 + i % 4);
  } else {
    const std::string_view shuffle[] = {"vshuff32x4 $0x88, ", "vshuff32x4 $0xdd, "};
    for (int c = 0; c < 4; ++c) {
      for (int i = 0; i < 4; ++i) instruction(shuffle[i % 2], 16 + c * 4 + i, i / 2 * 8 + c, i / 2 * 8 + 4 + c);
    }
    for (int i = 0; i < 16; ++i) instruction(shuffle[i / 8], i, 16 + i % 4 * 4 + i / 4 % 2, 16 + i % 4 * 4 + 2 + i / 4 % 2);
  }
  // vperm2f128 reaches the first sixteen registers only.
  const char constraint = lanes == 8 ? 'x' : 'v';
  text += "\n      : " + LaneList(lanes, [&](int i) { return fmt::format("\"+{}\"(r[{}])", constraint, i); });
  text += ", " + LaneList(lanes, [&](int i) { return fmt::format("\"=&{}\"(t{})", constraint, i); }) + ");\n";
  for (int i = 0; lanes == 8 && i < 8; ++i) text += fmt::format("  r[{0}] = t{0};\n", i);
  return text + "}\n";
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
  if (per == 4) {  // quadruples: lo/hi pairs interleaved
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
        for (int odd = 0; odd < 2; ++odd) {  // [a0 a2 b0 b2] and [a1 a3 b1 b3]
          shuffle(fmt::format("p{}_{}", c, half * 2 + odd), name(stage, (2 * half) * per + c),
                  name(stage, (2 * half + 1) * per + c),
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

}  // namespace

void AppendMemoryUnits(Isa isa, int lanes, bool bf16_instructions, std::vector<PreludeUnit>* units) {
  AppendAccessUnits(isa, lanes, units);
  AppendNarrowUnits(lanes, bf16_instructions, units);
  for (const ElementType& type : kElementTypes) {
    const int blocks = lanes * type.bytes / 16;
    if ((type.bytes == 4 || type.bytes == 8) && (blocks == 1 || blocks == 2 || blocks == 4) && lanes * type.bytes <= 64) {
      const bool registers = type.bytes == 4 && lanes == (isa == Isa::kAvx512 ? 16 : 8);
      units->push_back({fmt::format("transpose.{}", type.tag), {}, registers ? TransposeInstructions(type, lanes) : TransposeText(type, lanes)});
    }
  }
}

std::string LaneList(int lanes, const std::function<std::string(int)>& lane) {
  std::string text;
  for (int i = 0; i < lanes; ++i) text += (i ? ", " : "") + lane(i);
  return text;
}

std::string Substitute(std::string text, const std::vector<std::pair<std::string, std::string>>& values) {
  for (const auto& [name, value] : values) {
    for (size_t at = 0; (at = text.find(name, at)) != std::string::npos; at += value.size()) text.replace(at, name.size(), value);
  }
  return text;
}

}  // namespace athanor
