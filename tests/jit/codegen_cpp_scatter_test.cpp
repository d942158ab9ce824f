#include <gtest/gtest.h>

#include "tests/jit/kernel_runner.h"
#include "tests/jit/scatter_plans.h"

namespace athanor::testing {
namespace {

void Check(const ScatterCase& c, const CpuTarget& cpu, const ScatterSchedule& schedule) {
  TestKernel kernel(GenerateCpp(c.plan, schedule, cpu), cpu);
  std::vector<Memory> got = c.memories, again = c.memories;
  kernel.Run(&got);
  kernel.Run(&again, 5, true);
  EXPECT_TRUE(again[2].SameBytes(got[2]));
  for (size_t i = 0; i < c.want.size(); ++i) ASSERT_NEAR(got[2].Get(i), c.want[i], 1e-4) << i;
}

TEST(CodegenCppScatter, SumsOfRows) {
  for (const CpuTarget& cpu : Targets()) {
    for (const ScatterSchedule& schedule : {ScatterSchedule{}, ScatterSchedule{.column_block = 16}}) {
      Check({50, 70, 9}, cpu, schedule);
      Check({1, 3, 4}, cpu, schedule);
      Check({0, 40, 4}, cpu, schedule);
      Check({33, 64, 5, DType::kF64, DType::kI32}, cpu, schedule);
    }
  }
}

TEST(CodegenCppScatter, RowsOverATable) {
  for (const CpuTarget& cpu : Targets()) {
    for (const ScatterSchedule& schedule : {ScatterSchedule{}, ScatterSchedule{.column_block = 16}}) {
      Check({50, 70, 9, DType::kF32, DType::kI64, 5, false}, cpu, schedule);
      Check({3, 70, 40, DType::kBF16, DType::kI32, 5, false}, cpu, schedule);
      Check({0, 40, 4, DType::kF32, DType::kI64, 5, false}, cpu, schedule);
      Check({5, 33, 9, DType::kI64, DType::kI64, 5, false}, cpu, schedule);
      Check({5, 64, 9, DType::kF64, DType::kI64, 0, false}, cpu, schedule);
    }
  }
}

}  // namespace
}  // namespace athanor::testing
