#include <gtest/gtest.h>

#include <cmath>
#include <limits>

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

// A vector lies in one piece, in two, in four, or in more; the last one of a row may be a part.
TEST(CodegenCppReduce, PixelsInPhases) {
  for (const auto& [height, width] : {std::pair(4, 16), std::pair(8, 28), std::pair(4, 14), std::pair(3, 10), std::pair(5, 7), std::pair(1, 40)}) {
    for (DType dtype : {DType::kF32, DType::kF64, DType::kBF16}) CheckAll(PhasesPlan(3, height, width, dtype), dtype == DType::kF64 ? 1e-12 : 2e-5);
  }
  for (const CpuTarget& cpu : Targets()) {                   // one piece, two
    for (int64_t width : {16, 28}) {
      const KernelPlan plan = PhasesPlan(3, 4, width, DType::kF32).Plan(Skeleton::kReduce);
      EXPECT_NE(GenerateCpp(plan, LoopSchedule{}, cpu).text.find("= load_zipped("), std::string::npos);
    }
  }
}

TEST(CodegenCppReduce, CrossEntropyWithTargets) {
  for (int64_t classes : {10, 130}) CheckAll(CrossEntropyPlan(21, classes), 1e-5);
}

TEST(CodegenCppReduce, SumThatPicksOneColumn) { CheckAll(PickPlan(21, 70), 1e-5); }
TEST(CodegenCppReduce, IntegersNaNAndInfinity) { CheckAll(IntegersNaNAndInfinityPlan(), 1e-6); }

// exp(x - max) is computed as a power of two of (x - max) / ln 2, whose rounding grows with the distance.
TEST(CodegenCppReduce, SoftmaxOfSteepRows) {
  constexpr int64_t kRows = 5, kColumns = 101;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const PlanBuilder b = SoftmaxPlan(kRows, kColumns, DType::kF32);
  std::vector<Memory> args = b.memories;
  Memory& x = args[0];
  for (int64_t i = 0; i < kRows * kColumns; ++i) x.Set(i, 3.7 - 0.857 * static_cast<double>(i % kColumns) + 1000.0 * static_cast<double>(i / kColumns));
  for (int64_t j = 0; j < kColumns; j += 3) x.Set(kColumns + j, -kInfinity);
  for (int64_t j = 0; j < kColumns; ++j) x.Set(2 * kColumns + j, -kInfinity);
  x.Set(3 * kColumns + 77, std::numeric_limits<double>::quiet_NaN());
  x.Set(4 * kColumns + 50, kInfinity);
  for (const CpuTarget& cpu : Targets()) {
    TestKernel kernel(GenerateCpp(b.Plan(Skeleton::kReduce), kSchedules[0], cpu), cpu);
    std::vector<Memory> got = args;
    kernel.Run(&got);
    for (int64_t row = 0; row < 2; ++row) {
      double most = -kInfinity, sum = 0;
      for (int64_t j = 0; j < kColumns; ++j) most = std::max(most, x.Get(row * kColumns + j));
      for (int64_t j = 0; j < kColumns; ++j) sum += std::exp(x.Get(row * kColumns + j) - most);
      for (int64_t j = 0; j < kColumns; ++j) {
        const double distance = x.Get(row * kColumns + j) - most, want = std::exp(distance) / sum;
        const double bound = want == 0 ? 0 : want * (4 - 2 * distance) * std::ldexp(1, -24);
        EXPECT_NEAR(got[1].Get(row * kColumns + j), want, bound) << Name(cpu.isa) << " row " << row << " column " << j;
      }
    }
    for (int64_t i = 2 * kColumns; i < kRows * kColumns; ++i) {  // all -inf; a NaN; inf, of which inf is subtracted
      EXPECT_TRUE(std::isnan(got[1].Get(i))) << Name(cpu.isa) << " element " << i << ": " << got[1].Get(i);
    }
  }
}

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
