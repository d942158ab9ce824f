#include <gtest/gtest.h>

#include "tests/jit/kernel_runner.h"
#include "tests/jit/reduce_plans.h"

namespace athanor::testing {
namespace {

const LoopSchedule kSchedules[] = {
    {}, {.task_elements = 100, .row_chunks = 3}, {.task_elements = 1000, .streaming = true, .row_chunks = 1}};

void CheckAll(const PlanBuilder& builder, double tolerance) {
  const KernelPlan plan = builder.Plan(Skeleton::kReduce);
  for (const CpuTarget& cpu : Targets()) {
    for (const LoopSchedule& schedule : kSchedules) CheckLoopPlan(plan, schedule, cpu, builder.memories, tolerance);
  }
}

class ReduceOfShape : public ::testing::TestWithParam<std::tuple<std::pair<int64_t, int64_t>, DType>> {
 protected:
  int64_t rows() const { return std::get<0>(GetParam()).first; }
  int64_t cols() const { return std::get<0>(GetParam()).second; }
  DType dtype() const { return std::get<1>(GetParam()); }
  double tolerance() const { return dtype() == DType::kF32 ? 2e-5 : 1e-12; }
};

TEST_P(ReduceOfShape, Softmax) { CheckAll(SoftmaxPlan(rows(), cols(), dtype()), tolerance()); }
TEST_P(ReduceOfShape, LayerNormForwardAndBackward) { CheckAll(LayerNormPlan(rows(), cols(), dtype()), 10 * tolerance()); }
TEST_P(ReduceOfShape, SumOfEverything) { CheckAll(SumOfEverythingPlan(rows(), cols(), dtype()), 10 * tolerance()); }
TEST_P(ReduceOfShape, AlongTheOtherDimensionOfMemory) { CheckAll(TurnedPlan(rows(), cols(), dtype()), 10 * tolerance()); }

INSTANTIATE_TEST_SUITE_P(Shapes, ReduceOfShape,
                         ::testing::Combine(::testing::ValuesIn(kReduceShapes), ::testing::Values(DType::kF32, DType::kF64)));

TEST(CodegenCppReduce, CrossEntropyWithTargets) {
  for (int64_t classes : {10, 130}) CheckAll(CrossEntropyPlan(21, classes), 1e-5);
}

TEST(CodegenCppReduce, SumThatPicksOneColumn) { CheckAll(PickPlan(21, 70), 1e-5); }
TEST(CodegenCppReduce, IntegersNaNAndInfinity) { CheckAll(IntegersNaNAndInfinityPlan(), 1e-6); }

TEST(CodegenCppReduce, HalfPrecisionOperands) {
  for (DType dtype : {DType::kBF16, DType::kF16}) CheckAll(HalfSoftmaxPlan(9, 83, dtype), 4e-3);
}

TEST(CodegenCppReduce, EmptyRowsAndColumns) {
  for (auto [rows, cols] : {std::pair<int64_t, int64_t>{0, 20}, {4, 0}}) {
    const PlanBuilder b = EmptyPlan(rows, cols);
    for (const CpuTarget& cpu : Targets()) {
      TestKernel kernel(GenerateCpp(b.Plan(Skeleton::kReduce), kSchedules[0], cpu), cpu);
      std::vector<Memory> got = b.memories;
      kernel.Run(&got);
      for (int64_t j = 0; j < got[1].elements(); ++j) EXPECT_EQ(got[1].Get(j), 0);
    }
  }
}

}  // namespace
}  // namespace athanor::testing
