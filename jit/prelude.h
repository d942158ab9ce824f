#pragma once

#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jit/target.h"
#include "ops/tensor_desc.h"

namespace athanor {

// The vocabulary that generated C++ is written in: vector types and inline functions, the same for every instruction set, of
// which a source carries only those it asked for. All vectors of a kernel have the same number of lanes N, whatever their
// element type; clang splits those wider than a register.
//
// Types     vf32 vf64 vi32 vi64 vu8 vu16; a vector of booleans is a vi32 of 0 and -1 (a mask), a scalar one is `bool`.
// Values    splat(x), splat_mask(bool), iota_i32(), iota_i64(), select(mask, a, b), vmax(a, b) and vmin(a, b) (NaN if either is
// NaN),
//           madd(a, b, c) = a * b + c rounded once.
// Memory    load(p), store(p, v); the first n lanes: load_tail(p, n) (the others 0), store_tail(p, v, n); elements `stride` apart:
//           load_strided(p, stride, n), store_strided(p, v, stride, n); every second one: load_second(p), load_second_tail(p, n);
//           elements from two places in turns: load_zipped(p, step), of two or four pieces load_zipped(p, q, step), load_zipped(p, q, r, s, step); the first lanes in one place, the others in another: load_split(p, q, border),
//           store_split(p, q, v, border), and with _tail and n at the end the first n of all; stream(p, v): not through the caches when p is aligned
//           to a vector, fence() after the last one. No alignment is required anywhere. Booleans in memory: load_bool,
//           store_bool..., bf16 and f16: load_bf16, store_f16_tail, ... (as vf32).
//           bf16 are rounded, and their products added, by the processor's instructions where it has them (AVX512_BF16): denormals are then zero.
// Pairs     two bf16 in each lane of a vi32, the first below: pair(low, high) of values that are bf16 already, round_pair(low, high);
//           load_pairs(p) as they lie in memory; dot(c, a, b) = c + the products of both halves.
// Halves    vu16x2, 2 N bf16: round_halves(a, b), two vectors one behind the other; zip_halves(h): the lanes of both in pairs; store_halves(p, q, h): each to its own place;
//           zip_pairs_low(a, b), zip_pairs_high(a, b): two rows of bf16 in turns, the first and the last N pairs.
// Order     even(a, b), odd(a, b): every second element of two vectors; zip_low(a, b), zip_high(a, b): their elements in turns (vf32);
//           permute(x, lane): x[lane[i]] in lane i (vf32).
// Across    sum(v), max(v): over the lanes, in a fixed order; transpose(r): r[i][j] <-> r[j][i] of N vectors.
// Blocks    with strides from row to row and sizes as arguments, routines (jit/routines.h), named with their type, "_f32": copy_rows, copy_squares (columns
//           become rows), pack_rows, pack_squares (into panels, as products read them). Copies read whole vectors. add_parts: the sum of some rows.
//           multiply: a block of C, tile by tile. fetch_rows, of any type: asks for some.
// Random    philox(words, low, high): four vectors of counters become four of random words (ops/philox.h).
//           random_word(index, seed, offset) of a vi64 or a long: RandomWord of each index, a vi32 or an int.
// Math      v_exp v_exp2 v_log v_tanh v_erf v_sigmoid v_pow on vf32 and vf64. Bounds in units in the last place, tested in math_test:
//           exp 1.1, exp2 1.5, log 1, tanh 3, erf 3, sigmoid 3; v_pow 1 on vf32 and 2 + 2 |b log a| on vf64. Denormals, infinities and NaN
//           are handled as IEEE and C do, but that v_exp2 may give zero for a denormal.
class Prelude {
 public:
  Prelude(Isa isa, int lanes) : isa_(isa), lanes_(lanes) {}  // without optional features
  Prelude(const CpuTarget& cpu, int lanes) : isa_(cpu.isa), lanes_(lanes), bf16_instructions_(cpu.isa == Isa::kAvx512 && cpu.Has("avx512bf16")) {}

  Isa isa() const { return isa_; }
  int lanes() const { return lanes_; }
  bool bf16_instructions() const { return bf16_instructions_; }
  // Asks for a helper, e.g. Use("load", DType::kF32), Use("fence"). InternalError when there is no such helper.
  void Use(std::string_view helper);
  void Use(std::string_view helper, DType dtype);
  // Adds a routine of the caller's own, "ROUTINE void $NAME(...) {...}" and comments before it, which may call helpers that are asked for. Its name: `name`,
  // with a number behind it where the source has another routine of that name.
  std::string AddRoutine(std::string_view name, std::string_view definition);
  // Definitions of the types and of the helpers asked for, and of added routines.
  std::string Text() const;

 private:
  Isa isa_;
  int lanes_;
  bool bf16_instructions_ = false;
  std::set<std::string, std::less<>> used_;
  std::vector<std::pair<std::string, std::string>> routines_;  // name and definition
};

// The whole vocabulary of kernels whose lanes are f32: what it says identifies all that routines are made of but themselves.
const std::string& VocabularyText(const CpuTarget& cpu);

// C++ type names: of one element in memory, of a scalar value, of a vector of values. Values of bf16 and f16 are float.
std::string_view MemoryType(DType dtype);
std::string_view ScalarType(DType dtype);
std::string_view VectorType(DType dtype);
// Memory access functions of types that look different in memory carry a suffix: "_bool", "_bf16", "_f16".
std::string MemorySuffix(DType dtype);
// The dtype that values of `dtype` are computed in: f32 for bf16 and f16, otherwise itself.
DType ValueType(DType dtype);
// A C++ literal of type ScalarType(dtype).
std::string Literal(double value, DType dtype);
std::string LowestLiteral(DType dtype);  // -infinity, or the smallest integer

}  // namespace athanor
