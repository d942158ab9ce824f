#include "tests/jit/cuda_emulator.h"

#include <gtest/gtest.h>

#include "ops/error.h"

namespace athanor::testing {
namespace {

CudaSource Kernel(const std::string& body, int64_t blocks = 2) {
  CudaSource source;
  source.text = "struct Arguments { char* pointers[1]; };\nextern \"C\" __global__ void kernel(const __grid_constant__ Arguments arguments) {\n"
                "  int* const out = (int*)arguments.pointers[0] + blockIdx.x * 64;\n  const int t = threadIdx.x;\n" + body + "}\n";
  source.launches.push_back({"kernel", blocks, 64});
  return source;
}

std::vector<int> RunKernel(const std::string& body, uint32_t seed = 1) {
  std::vector<int> out(128, -1);
  RunEmulated(Kernel(body), {reinterpret_cast<char*>(out.data())}, seed);
  return out;
}

TEST(CudaEmulator, BarriersMakeSharedMemoryVisible) {
  for (uint32_t seed : {1, 2, 3}) {
    const std::vector<int> out = RunKernel("  __shared__ int x[64];\n  x[t] = t;\n  __syncthreads();\n  out[t] = x[63 - t] + 100 * blockIdx.x;\n", seed);
    for (int i = 0; i < 128; ++i) EXPECT_EQ(out[i], 63 - i % 64 + i / 64 * 100);
  }
}

TEST(CudaEmulator, SharedMemoryStartsUndefined) {
  for (int value : RunKernel("  __shared__ int x[64];\n  out[t] = x[t];\n")) EXPECT_EQ(value, -1);
}

TEST(CudaEmulator, ShufflesAmongTheThreadsNamed) {
  const std::vector<int> all = RunKernel("  out[t] = __shfl_xor_sync(0xffffffffu, t, 5);\n");
  for (int i = 0; i < 128; ++i) EXPECT_EQ(all[i], (i % 64) ^ 5);
  // Groups of eight need not come the same number of times.
  const std::vector<int> groups = RunKernel(
      "  out[t] = t;\n  const unsigned team = 0xffu << t % 32 / 8 * 8;\n"
      "  for (int k = 0; k < t / 8; ++k) out[t] = __shfl_xor_sync(team, out[t], 1);\n");
  for (int i = 0; i < 128; ++i) EXPECT_EQ(groups[i], (i % 64) ^ (i % 64 / 8 % 2));
}

TEST(CudaEmulator, ThreadsThatNeverMeetAreAnError) {
  EXPECT_THROW(RunKernel("  if (t < 40) __syncthreads();\n"), InternalError);
  EXPECT_THROW(RunKernel("  if (t != 7) out[t] = __shfl_xor_sync(0xffffffffu, t, 1);\n"), InternalError);
  EXPECT_THROW(RunKernel("  if (t < 32) out[t] = __shfl_xor_sync(0xffu << t / 8 * 8, t, 8);\n"), InternalError);
}

}  // namespace
}  // namespace athanor::testing
