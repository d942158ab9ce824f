#pragma once

#include "ops/tensor_desc.h"

namespace athanor {

// What this machine can do at most, measured now with `threads` threads at once.
struct MachinePeak {
  double gflops_f32 = 0, gflops_f64 = 0;                     // fused multiply-adds in registers, two operations each
  double gflops_bf16 = 0;                                    // products of bf16 added to f32; that of f32 without an instruction for it
  double read_gbs = 0;                                       // reading memory far larger than the caches, 1e9 bytes a second

  // f16 has no arithmetic of its own here: it is computed in f32.
  double gflops(DType dtype) const { return dtype == DType::kF64 ? gflops_f64 : dtype == DType::kBF16 ? gflops_bf16 : gflops_f32; }
};

// Takes about `seconds` for each of the four.
MachinePeak MeasurePeak(int threads, double seconds = 0.15);

}  // namespace athanor
