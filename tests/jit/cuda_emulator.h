#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "jit/codegen_cuda.h"
#include "jit/cuda_emulator.h"
#include "tests/jit/kernel_runner.h"

namespace athanor::testing {

inline void RunEmulated(const CudaSource& source, const std::vector<char*>& pointers, uint32_t seed = 1) {
  CudaEmulator(source, Targets()[0], &CompilerFor(Targets()[0]), seed).Run(pointers);
}

// Compares emulated CUDA with the evaluator, under several schedulers of threads; none may change a bit.
inline void CheckCudaPlan(const KernelPlan& plan, const CudaSchedule& schedule, const std::vector<Memory>& args, double tolerance) {
  const Body& body = std::get<LoopPlan>(plan.detail).body;
  std::vector<Memory> want = args, first;
  BodyEvaluator(body, args).Store(&want);
  const CudaSource source = GenerateCuda(plan, schedule);
  const std::string what = source.text;
  for (uint32_t seed : {1, 2}) {
    std::vector<Memory> got = args, temporaries;
    std::vector<char*> pointers;
    temporaries.reserve(source.temporary_bytes.size());
    for (Memory& memory : got) pointers.push_back(memory.data());
    for (int64_t bytes : source.temporary_bytes) {
      temporaries.emplace_back(DType::kU8, bytes);
      std::memset(temporaries.back().data(), 0xff, bytes);
      pointers.push_back(temporaries.back().data());
    }
    RunEmulated(source, pointers, seed);
    for (const Memory& memory : got) EXPECT_TRUE(memory.GuardIntact()) << what;
    for (const Memory& memory : temporaries) EXPECT_TRUE(memory.GuardIntact()) << what;
    if (first.empty()) {
      for (size_t i = 0; i < args.size(); ++i) ExpectClose(got[i], want[i], tolerance, what + "\narg " + std::to_string(i));
      first.swap(got);
    } else {
      for (size_t i = 0; i < args.size(); ++i) EXPECT_TRUE(got[i].SameBytes(first[i])) << what << "\nother bits under another scheduler, arg " << i;
    }
  }
}

}  // namespace athanor::testing
