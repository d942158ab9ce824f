#include <gtest/gtest.h>

#include "tests/jit/cuda_emulator.h"
#include "tests/jit/nvrtc.h"
#include "tests/jit/scatter_plans.h"

namespace athanor::testing {
namespace {

void CheckAll(const ScatterCase& c) {
  for (const CudaSchedule& schedule : {DefaultCudaSchedule(c.plan), CudaSchedule{.threads = 32, .max_blocks = 2}}) {
    const CudaSource source = GenerateCuda(c.plan, schedule);
    std::vector<Memory> first;
    for (uint32_t seed : {1, 2}) {
      std::vector<Memory> got = c.memories;
      std::vector<char*> pointers;
      for (Memory& memory : got) pointers.push_back(memory.data());
      RunEmulated(source, pointers, seed);
      for (size_t i = 0; i < c.want.size(); ++i) ASSERT_NEAR(got[2].Get(i), c.want[i], 1e-4) << i << source.text;
      EXPECT_TRUE(got[2].GuardIntact());
      if (!first.empty()) EXPECT_TRUE(first[2].SameBytes(got[2])) << source.text;
      first.swap(got);
    }
  }
  CheckCubin(c.plan, 64);
}

TEST(CodegenCudaScatter, SumsOfRows) {
  CheckAll({50, 70, 9});
  CheckAll({1, 3, 4});
  CheckAll({0, 40, 4});
  CheckAll({200, 64, 7});
  CheckAll({33, 64, 5, DType::kF64, DType::kI32});
}

TEST(CodegenCudaScatter, RowsOverATable) {
  CheckAll({50, 70, 9, DType::kF32, DType::kI64, 5, false});
  CheckAll({3, 70, 40, DType::kBF16, DType::kI32, 5, false});
  CheckAll({0, 40, 4, DType::kF32, DType::kI64, 5, false});
  CheckAll({5, 33, 9, DType::kI64, DType::kI64, 5, false});
  CheckAll({5, 64, 9, DType::kF64, DType::kI64, 0, false});
}

TEST(CodegenCudaScatter, NeighboursMoveInOnePiece) {
  const ScatterCase aligned(50, 64, 9, DType::kF32, DType::kI64, 4);
  CheckAll(aligned);
  EXPECT_NE(GenerateCuda(aligned.plan, DefaultCudaSchedule(aligned.plan)).text.find("Vec<float, 4>"), std::string::npos);
}

}  // namespace
}  // namespace athanor::testing
