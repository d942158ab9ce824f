#pragma once

#include <string>

#include "jit/prelude.h"
#include "jit/source_writer.h"
#include "jit/target.h"
#include "ops/tensor_desc.h"

namespace athanor {

// The innermost product: C[mr, nv vectors] = or += A[mr, k] * B[k, nv vectors], with C in registers over the whole loop. In
// generated code a function
//   void name(const T* a, const T* b, T* c, long k, long first)
// that overwrites C when `first` is not 0 and adds to it otherwise. Strides are in elements; all sizes but k are constants.
// For each element of C products are added in increasing k, one rounding each, whatever the maker.
//
// Without vectors of columns, nv = 0, B is one column whose steps lie one behind the other, as those of each row of A: C[mr, 1] = or += A[mr, k] * B[k].
// Vectors then run along k, and their lanes are added last, half by half.
//
// With kBF16, elements of A and B are pairs of bf16, steps 2p and 2p + 1 of k in the lower and the upper half of an int, so that `k`
// and the strides count pairs; C is f32. The two products of a pair are added by vdpbf16ps where the prelude has
// the processor's bf16 instructions, else one after the other.
struct Microkernel {
  std::string name;
  DType dtype = DType::kF32;                                 // f32, f64 or bf16
  int mr = 8, nv = 3;                                        // the tile; nv = 0: see above
  int64_t a_row = 0, a_step = 1;                             // A[i, p] = a[i * a_row + p * a_step]
  int64_t b_step = 0;                                        // B[p, j] = b[p * b_step + j]
  int64_t b_tail = 0;                                        // only that many lanes of B's last vector may be read; 0: all
  int64_t c_row = 0;                                         // C[i, j] = c[i * c_row + j]; whole vectors are written
  int unroll = 4;                                            // steps of k per iteration

  DType accumulator() const { return dtype == DType::kBF16 ? DType::kF32 : dtype; }
  std::string_view element() const { return dtype == DType::kBF16 ? "int" : ScalarType(dtype); }  // of A and B, in C++
};

// Two makers of the same function. The first writes C++.
void WriteMicrokernelCpp(const Microkernel& kernel, Prelude* prelude, SourceWriter* out);
// The second emits machine code with asmjit and writes it as a block of bytes, declared extern "C": no compile time. AVX-512 or
// AVX2; false when it does not make this one (a masked tail or vectors along k on AVX2, pairs without vdpbf16ps, sixteen rows along k).
bool WriteMicrokernelAsmjit(const Microkernel& kernel, Prelude* prelude, SourceWriter* out);

// By the maker that is asked for; what asmjit doesn't make is C++.
void WriteMicrokernel(const Microkernel& kernel, bool asmjit, Prelude* prelude, SourceWriter* out);

// Registers that the tile takes: accumulators, a row of B and one broadcast of A, or accumulators and a vector of B.
inline int TileRegisters(int mr, int nv) { return nv == 0 ? mr + 1 : mr * nv + nv + 1; }

}  // namespace athanor
