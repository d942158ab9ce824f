#include <gtest/gtest.h>

#include "tests/jit/cuda_emulator.h"
#include "tests/jit/loop_nest_plans.h"
#include "tests/jit/nvrtc.h"

namespace athanor::testing {
namespace {

// Points of a thread, of a part of a warp and of a block.
void CheckAll(const PlanBuilder& builder, double tolerance, int max_registers = 96) {
  const KernelPlan plan = builder.Plan(Skeleton::kLoopNest);
  for (const CudaSchedule& schedule : {DefaultCudaSchedule(plan), CudaSchedule{.threads = 64, .max_blocks = 2, .row_threads = 1},
                                       CudaSchedule{.threads = 64, .max_blocks = 3, .row_threads = 16}, CudaSchedule{.threads = 128, .row_threads = 128}}) {
    CheckCudaPlan(plan, schedule, builder.memories, tolerance);
  }
  CheckCubin(plan, max_registers);
}

TEST(CodegenCudaLoopNest, AnyAxes) {
  for (DType dtype : {DType::kF32, DType::kF64}) {
    for (uint32_t axes = 1; axes < 8; ++axes) CheckAll(AnyAxesPlan(dtype, axes, axes % 2 == 0 ? Fn::kAdd : Fn::kMax), 1e-5);
  }
}

TEST(CodegenCudaLoopNest, BatchNormOverMixedAxes) { CheckAll(BatchNormPlan(), 1e-5); }
TEST(CodegenCudaLoopNest, ReductionOfReductions) { CheckAll(ReductionOfReductionsPlan(), 1e-5); }

TEST(CodegenCudaLoopNest, ThreadsAcrossPoints) {
  for (DType dtype : {DType::kF32, DType::kF64}) {
    for (int64_t inner : {16, 129}) CheckAll(AcrossPointsPlan(dtype, inner), 1e-5);
  }
  CheckAll(TallPlan(), 1e-6);
}

TEST(CodegenCudaLoopNest, LongSumsKeepTheirAccuracy) { CheckAll(LongSumPlan(), 1e-6); }

TEST(CodegenCudaLoopNest, PartsOfTheLastDimension) {
  const Shape extents = {5, 6, 8};
  PlanBuilder b(extents);
  const int x = b.Load(DType::kF32, b.Contiguous()), shifted = b.Do(Fn::kSub, x, b.Reduce(Fn::kMax, x, 2));
  b.Store(b.Do(Fn::kExp, shifted), Layout(0, {{{5, 18}}, {{6, 3}}, {{3, 1}}}), 0, 3);
  b.Store(shifted, Layout(0, {{{5, 30}}, {{6, 5}}, {{5, 1}}}), 3, 8);
  CheckAll(b, 1e-6);
}

}  // namespace
}  // namespace athanor::testing
