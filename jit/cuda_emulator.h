#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "jit/codegen_cuda.h"
#include "jit/compiler.h"
#include "jit/target.h"

namespace athanor {

// Runs generated CUDA text on the CPU, slowly. The text is compiled as C++ behind definitions of what CUDA adds to the language; the
// threads of a block are fibers that a seeded random scheduler switches at barriers and shuffles, and blocks run one after the
// other, the last one first. What a GPU leaves undefined (shared memory at the start of a block) is filled with NaNs.
class CudaEmulator {
 public:
  // `compiler` makes code for `cpu`.
  CudaEmulator(const CudaSource& source, const CpuTarget& cpu, Compiler* compiler, uint32_t seed = 1);
  ~CudaEmulator();

  // `pointers`: the plan's args followed by the temporaries. Throws InternalError where threads wait at a barrier or a shuffle that
  // others never reach, or where a shuffle reads from a thread that does not take part. One run at a time in a thread.
  void Run(std::span<char* const> pointers);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace athanor
