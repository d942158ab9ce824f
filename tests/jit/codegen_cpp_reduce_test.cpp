#include <gtest/gtest.h>

#include "tests/jit/kernel_runner.h"
#include "tests/jit/plan_builder.h"

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

Layout PerRow(const PlanBuilder& b) { return Layout(0, {{{b.body.extents[0], 1}}, {{b.body.extents[1], 0}}}); }
Layout PerColumn(const PlanBuilder& b) { return Layout(0, {{{b.body.extents[0], 0}}, {{b.body.extents[1], 1}}}); }
Layout Scalar(const PlanBuilder& b) { return Layout(0, {{{b.body.extents[0], 0}}, {{b.body.extents[1], 0}}}); }

const std::pair<int64_t, int64_t> kShapes[] = {{1, 1}, {5, 1}, {7, 10}, {33, 49}, {3, 200}, {20, 777}, {1, 1000}};

class ReduceOfShape : public ::testing::TestWithParam<std::tuple<std::pair<int64_t, int64_t>, DType>> {
 protected:
  PlanBuilder Make() const { return PlanBuilder({std::get<0>(GetParam()).first, std::get<0>(GetParam()).second}); }
  DType dtype() const { return std::get<1>(GetParam()); }
  double tolerance() const { return dtype() == DType::kF32 ? 2e-5 : 1e-12; }
};

TEST_P(ReduceOfShape, Softmax) {
  PlanBuilder b = Make();
  const int x = b.Load(dtype(), b.Contiguous());
  const int e = b.Do(Fn::kExp, b.Do(Fn::kSub, x, b.Reduce(Fn::kMax, x, 2)));
  b.Store(b.Do(Fn::kDiv, e, b.Reduce(Fn::kAdd, e, 2)), b.Contiguous());
  CheckAll(b, tolerance());
}

TEST_P(ReduceOfShape, LayerNormForwardAndBackward) {
  PlanBuilder b = Make();
  const double cols = static_cast<double>(b.body.extents[1]);
  const int x = b.Load(dtype(), b.Contiguous()), dy = b.Load(dtype(), b.Contiguous());
  const int weight = b.Load(dtype(), PerColumn(b)), bias = b.Load(dtype(), PerColumn(b));
  const int inverse = b.Constant(1 / cols, dtype());
  const int mean = b.Do(Fn::kMul, b.Reduce(Fn::kAdd, x, 2), inverse);
  const int centered = b.Do(Fn::kSub, x, mean);
  const int variance = b.Do(Fn::kMul, b.Reduce(Fn::kAdd, b.Do(Fn::kMul, centered, centered), 2), inverse);
  const int scale = b.Do(Fn::kRsqrt, b.Do(Fn::kAdd, variance, b.Constant(1e-1, dtype())));
  const int normal = b.Do(Fn::kMul, centered, scale);
  b.Store(b.Do(Fn::kAdd, b.Do(Fn::kMul, normal, weight), bias), b.Contiguous());
  const int g = b.Do(Fn::kMul, dy, weight);
  const int g_mean = b.Do(Fn::kMul, b.Reduce(Fn::kAdd, g, 2), inverse);
  const int g_dot = b.Do(Fn::kMul, b.Reduce(Fn::kAdd, b.Do(Fn::kMul, g, normal), 2), inverse);
  const int dx = b.Do(Fn::kMul, scale, b.Do(Fn::kSub, b.Do(Fn::kSub, g, g_mean), b.Do(Fn::kMul, normal, g_dot)));
  b.Store(dx, b.Contiguous());
  b.Store(b.Reduce(Fn::kAdd, b.Do(Fn::kMul, dy, normal), 1), PerColumn(b));
  b.Store(b.Reduce(Fn::kAdd, dy, 1), PerColumn(b));
  b.Store(mean, PerRow(b));
  CheckAll(b, 10 * tolerance());
}

TEST_P(ReduceOfShape, SumOfEverything) {
  PlanBuilder b = Make();
  const int x = b.Load(dtype(), b.Contiguous());
  b.Store(b.Reduce(Fn::kAdd, b.Reduce(Fn::kAdd, x, 2), 1), Scalar(b));
  b.Store(b.Do(Fn::kNeg, x), b.Contiguous());
  CheckAll(b, 10 * tolerance());
}

TEST_P(ReduceOfShape, AlongTheOtherDimensionOfMemory) {
  PlanBuilder b = Make();
  const int64_t rows = b.body.extents[0], cols = b.body.extents[1];
  const Layout turned(0, {{{rows, 1}}, {{cols, rows}}});
  const int x = b.Load(dtype(), turned), factor = b.Load(dtype(), PerColumn(b)), shift = b.Load(dtype(), PerRow(b));
  const int e = b.Do(Fn::kExp, b.Do(Fn::kMul, x, factor));
  const int sum = b.Reduce(Fn::kAdd, e, 2), max = b.Reduce(Fn::kMax, b.Do(Fn::kAdd, x, shift), 2);
  b.Store(sum, PerRow(b));
  b.Store(b.Do(Fn::kMul, b.Do(Fn::kDiv, e, sum), max), turned);
  b.Store(b.Reduce(Fn::kAdd, factor, 2), PerRow(b));
  CheckAll(b, 10 * tolerance());
}

INSTANTIATE_TEST_SUITE_P(Shapes, ReduceOfShape,
                         ::testing::Combine(::testing::ValuesIn(kShapes), ::testing::Values(DType::kF32, DType::kF64)));

TEST(CodegenCppReduce, CrossEntropyWithTargets) {
  for (int64_t classes : {10, 130}) {
    PlanBuilder b({21, classes});
    const int x = b.Load(DType::kF32, b.Contiguous());
    const int target = b.Load(DType::kI64, PerRow(b), 0, static_cast<double>(classes)), dy = b.Load(DType::kF32, PerRow(b));
    const int max = b.Reduce(Fn::kMax, x, 2);
    const int shifted = b.Do(Fn::kSub, x, max);
    const int log_sum = b.Do(Fn::kLog, b.Reduce(Fn::kAdd, b.Do(Fn::kExp, shifted), 2));
    const int log_softmax = b.Do(Fn::kSub, shifted, log_sum);
    const int hit = b.Cast(b.Do(Fn::kEq, b.Index(1), target), DType::kF32);
    const int picked = b.Reduce(Fn::kAdd, b.Do(Fn::kMul, log_softmax, hit), 2);
    b.Store(b.Do(Fn::kNeg, picked), PerRow(b));
    b.Store(b.Do(Fn::kMul, b.Do(Fn::kSub, b.Do(Fn::kExp, log_softmax), hit), dy), b.Contiguous());
    CheckAll(b, 1e-5);
  }
}

TEST(CodegenCppReduce, SumThatPicksOneColumn) {
  PlanBuilder b({21, 70});
  const int x = b.Load(DType::kF32, b.Contiguous()), target = b.Load(DType::kI64, PerRow(b), 0, 70), zero = b.Constant(0);
  b.memories[1].Set(3, -100);
  b.memories[1].Set(4, 70);
  const int e = b.Do(Fn::kExp, b.Do(Fn::kSub, x, b.Reduce(Fn::kMax, x, 2)));
  const int picked = b.Reduce(Fn::kAdd, b.Do(Fn::kWhere, b.Do(Fn::kEq, target, b.Index(1)), e, zero), 2);
  b.Store(b.Do(Fn::kDiv, picked, b.Reduce(Fn::kAdd, e, 2)), PerRow(b));
  b.Store(b.Do(Fn::kSub, e, picked), b.Contiguous());
  b.Store(b.Reduce(Fn::kAdd, picked, 1), Scalar(b));
  CheckAll(b, 1e-5);
}

TEST(CodegenCppReduce, IntegersNaNAndInfinity) {
  PlanBuilder b({6, 37});
  const int x = b.Load(DType::kF32, b.Contiguous()), i = b.Load(DType::kI64, b.Contiguous(), -1000, 1000),
            k = b.Load(DType::kI32, b.Contiguous(), -9, 9);
  b.memories[0].Set(40, NAN);
  b.memories[0].Set(80, INFINITY);
  b.memories[0].Set(148, -INFINITY);
  b.Store(b.Reduce(Fn::kMax, x, 2), PerRow(b));
  b.Store(b.Reduce(Fn::kMax, i, 2), PerRow(b));
  b.Store(b.Reduce(Fn::kAdd, i, 2), PerRow(b));
  b.Store(b.Reduce(Fn::kAdd, k, 1), PerColumn(b));
  CheckAll(b, 1e-6);
}

TEST(CodegenCppReduce, HalfPrecisionOperands) {
  for (DType dtype : {DType::kBF16, DType::kF16}) {
    PlanBuilder b({9, 83});
    const int x = b.Cast(b.Load(dtype, b.Contiguous()), DType::kF32);
    const int e = b.Do(Fn::kExp, b.Do(Fn::kSub, x, b.Reduce(Fn::kMax, x, 2)));
    b.Store(b.Cast(b.Do(Fn::kDiv, e, b.Reduce(Fn::kAdd, e, 2)), dtype), b.Contiguous());
    b.Store(b.Cast(b.Reduce(Fn::kMax, x, 2), dtype), PerRow(b));
    CheckAll(b, 4e-3);
  }
}

TEST(CodegenCppReduce, EmptyRowsAndColumns) {
  for (auto [rows, cols] : {std::pair<int64_t, int64_t>{0, 20}, {4, 0}}) {
    PlanBuilder b({rows, cols});
    b.AddArg(DType::kF32, 1, false);
    const int x = b.LoadArg(0, Layout::Contiguous({rows, cols}));
    if (rows == 0) {
      b.body.stores.push_back({b.Reduce(Fn::kAdd, x, 1), {.arg = b.AddArg(DType::kF32, 20, true), .map = PerColumn(b)}});
      b.memories[1].Fill(&b.random);
    } else {
      b.body.stores.push_back({b.Reduce(Fn::kAdd, x, 2), {.arg = b.AddArg(DType::kF32, 4, true), .map = PerRow(b)}});
    }
    const KernelPlan plan = b.Plan(Skeleton::kReduce);
    for (const CpuTarget& cpu : Targets()) {
      TestKernel kernel(GenerateCpp(plan, kSchedules[0], cpu), cpu);
      std::vector<Memory> got = b.memories;
      kernel.Run(&got);
      for (int64_t j = 0; j < got[1].elements(); ++j) EXPECT_EQ(got[1].Get(j), 0);
    }
  }
}

}  // namespace
}  // namespace athanor::testing
