#include <gtest/gtest.h>

#include "tests/jit/kernel_runner.h"
#include "tests/jit/loop_nest_plans.h"

namespace athanor::testing {
namespace {

void CheckAll(const PlanBuilder& builder, double tolerance) {
  const KernelPlan plan = builder.Plan(Skeleton::kLoopNest);
  for (const CpuTarget& cpu : Targets()) {
    for (const LoopSchedule& schedule : {LoopSchedule{}, LoopSchedule{.task_elements = 50}})
      CheckLoopPlan(plan, schedule, cpu, builder.memories, tolerance);
  }
}

TEST(CodegenCppLoopNest, AnyAxes) {
  for (DType dtype : {DType::kF32, DType::kF64}) {
    for (uint32_t axes = 1; axes < 8; ++axes) {
      for (Fn fn : {Fn::kAdd, Fn::kMax}) CheckAll(AnyAxesPlan(dtype, axes, fn), 1e-5);
    }
  }
}

TEST(CodegenCppLoopNest, BatchNormOverMixedAxes) { CheckAll(BatchNormPlan(), 1e-5); }
TEST(CodegenCppLoopNest, ReductionOfReductions) { CheckAll(ReductionOfReductionsPlan(), 1e-5); }

TEST(CodegenCppLoopNest, LanesAcrossPoints) {
  for (DType dtype : {DType::kF32, DType::kF64}) {
    for (int64_t inner : {16, 40, 129}) CheckAll(AcrossPointsPlan(dtype, inner), 1e-5);
  }
  CheckAll(TallPlan(), 1e-7);
}

TEST(CodegenCppLoopNest, LongSumsKeepTheirAccuracy) { CheckAll(LongSumPlan(), 1e-6); }

}  // namespace
}  // namespace athanor::testing
