#include <gtest/gtest.h>

#include <numeric>

#include "tests/jit/kernel_runner.h"
#include "tests/jit/plan_builder.h"

namespace athanor::testing {
namespace {

const LoopSchedule kSchedules[] = {{}, {.task_elements = 64, .unroll = 2}, {.task_elements = 1000, .streaming = true}};

void CheckAll(const PlanBuilder& builder, double tolerance = 1e-5, std::vector<int64_t> instances = {}) {
  const KernelPlan plan = builder.Plan(Skeleton::kPointwise, std::move(instances));
  for (const CpuTarget& cpu : Targets()) {
    for (const LoopSchedule& schedule : kSchedules) CheckLoopPlan(plan, schedule, cpu, builder.memories, tolerance);
  }
}

// The layout of a tensor whose dimensions lie in memory in the order `memory_order` (outermost first).
Layout InOrder(const Shape& extents, const std::vector<int>& memory_order, int64_t offset = 0) {
  std::vector<Digits> dims(extents.size());
  int64_t stride = 1;
  for (auto d = memory_order.rbegin(); d != memory_order.rend(); ++d) {
    dims[*d] = {{extents[*d], stride}};
    stride *= extents[*d];
  }
  return Layout(offset, dims);
}

Layout Broadcast(const Shape& extents, uint32_t dims) {
  std::vector<Digits> digits(extents.size());
  int64_t stride = 1;
  for (int d = static_cast<int>(extents.size()) - 1; d >= 0; --d) {
    digits[d] = {{extents[d], dims >> d & 1 ? stride : 0}};
    if (dims >> d & 1) stride *= extents[d];
  }
  return Layout(0, digits);
}

TEST(CodegenCppPointwise, ContiguousOfOddSizes) {
  for (int64_t n : {1, 7, 16, 33, 1000, 5003}) {
    for (DType dtype : {DType::kF32, DType::kF64}) {
      PlanBuilder b({n});
      const int x = b.Load(dtype, b.Contiguous()), y = b.Load(dtype, b.Contiguous());
      b.Store(b.Do(Fn::kAdd, b.Do(Fn::kMul, x, y), b.Do(Fn::kTanh, x)), b.Contiguous());
      CheckAll(b);
    }
  }
}

TEST(CodegenCppPointwise, BroadcastsAndSeveralOutputs) {
  const Shape extents = {3, 5, 37};
  for (uint32_t dims = 0; dims < 8; ++dims) {
    PlanBuilder b(extents, dims);
    const int x = b.Load(DType::kF32, b.Contiguous()), y = b.Load(DType::kF32, Broadcast(extents, dims));
    b.Store(b.Do(Fn::kSub, x, b.Do(Fn::kExp, y)), b.Contiguous());
    b.Store(b.Do(Fn::kMax, x, y), b.Contiguous());
    CheckAll(b);
  }
}

TEST(CodegenCppPointwise, EveryPermutationOfMemory) {
  const Shape extents = {19, 4, 33};
  std::vector<int> from = {0, 1, 2};
  do {
    std::vector<int> to = {0, 1, 2};
    do {
      PlanBuilder b(extents);
      const int x = b.Load(DType::kF32, InOrder(extents, from));
      const int y = b.Load(DType::kF32, Broadcast(extents, 4));
      b.Store(b.Do(Fn::kAdd, x, y), InOrder(extents, to));
      const KernelPlan plan = b.Plan(Skeleton::kPointwise);
      for (const CpuTarget& cpu : Targets()) CheckLoopPlan(plan, kSchedules[1], cpu, b.memories, 1e-6);
    } while (std::next_permutation(to.begin(), to.end()));
  } while (std::next_permutation(from.begin(), from.end()));
}

TEST(CodegenCppPointwise, TransposeOfTiles) {
  for (DType dtype : {DType::kF32, DType::kF64}) {
    for (auto [rows, columns] : {std::pair<int64_t, int64_t>{64, 48}, {33, 65}, {16, 100}}) {
      PlanBuilder b({2, rows, columns});
      const int x = b.Load(dtype, InOrder(b.body.extents, {0, 2, 1}, 3));
      b.Store(b.Do(Fn::kMul, x, b.Constant(3, dtype)), b.Contiguous());
      CheckAll(b);
    }
  }
}

TEST(CodegenCppPointwise, DigitsSplitHeads) {
  // [6, 3 * 2 * 32] seen as [3, 2, 6, 32] in the store.
  PlanBuilder b({6, 192});
  const int x = b.Load(DType::kF32, b.Contiguous());
  b.Store(x, Layout(0, {{{6, 32}}, {{32, 1}, {2, 192}, {3, 384}}}));
  CheckAll(b);
}

TEST(CodegenCppPointwise, DigitsThatDoNotDivideEachOther) {
  PlanBuilder b({5, 24});
  const int x = b.Load(DType::kF32, Layout(1, {{{5, 24}}, {{4, 6}, {6, 1}}}));
  const int y = b.Load(DType::kF32, Layout(0, {{{5, 24}}, {{6, 4}, {4, 1}}}));
  b.Store(b.Do(Fn::kAdd, x, y), b.Contiguous());
  CheckAll(b);
}

TEST(CodegenCppPointwise, StoresWithRanges) {
  for (int64_t cut : {32, 37}) {
    PlanBuilder b({4, 96});
    const int x = b.Load(DType::kF32, b.Contiguous());
    b.Store(b.Do(Fn::kNeg, x), Layout(0, {{{4, cut}}, {{cut, 1}}}), 0, cut);
    b.Store(b.Do(Fn::kMul, x, x), Layout(0, {{{4, 96 - cut}}, {{96 - cut, 1}}}), cut, 96);
    b.Store(x, Layout(0, {{{4, 10}}, {{10, 1}}}), 5, 15);
    CheckAll(b);
  }
}

TEST(CodegenCppPointwise, IndicesMasksAndTypes) {
  PlanBuilder b({9, 50});
  const int x = b.Load(DType::kF32, b.Contiguous()), m = b.Load(DType::kBool, b.Contiguous());
  const int t = b.Load(DType::kI64, Layout(0, {{{9, 1}}, {{50, 0}}}), 0, 60);
  const int hit = b.Do(Fn::kEq, b.Index(1), t), before = b.Do(Fn::kLt, t, b.Index(1));
  b.Store(b.Do(Fn::kWhere, hit, x, b.Constant(-1)), b.Contiguous());
  b.Store(b.Do(Fn::kWhere, b.Do(Fn::kAnd, m, b.Do(Fn::kNot, before)), b.Do(Fn::kNeg, x), x), b.Contiguous());
  b.Store(before, b.Contiguous());
  b.Store(b.Cast(b.Do(Fn::kGt, x, b.Constant(0.5)), DType::kF32), b.Contiguous());
  b.Store(b.Cast(b.Do(Fn::kMul, x, b.Constant(100)), DType::kI32), b.Contiguous());
  b.Store(b.Do(Fn::kAdd, b.Do(Fn::kMul, b.Index(0), b.Constant(50, DType::kI64)), b.Index(1)), b.Contiguous());
  b.Store(b.Cast(b.Index(1), DType::kF64), b.Contiguous());
  b.Store(b.Cast(x, DType::kBF16), b.Contiguous());
  b.Store(b.Cast(x, DType::kF16), b.Contiguous());
  b.Store(b.Cast(b.Load(DType::kU8, b.Contiguous(), 0, 255), DType::kF32), b.Contiguous());
  b.Store(b.Do(Fn::kMax, b.Load(DType::kI32, b.Contiguous(), -100, 100), b.Load(DType::kI32, b.Contiguous(), -100, 100)),
          b.Contiguous());
  CheckAll(b, 1e-6);
}

TEST(CodegenCppPointwise, EveryFunction) {
  for (DType dtype : {DType::kF32, DType::kF64}) {
    PlanBuilder b({131});
    const int x = b.Load(dtype, b.Contiguous()), y = b.Load(dtype, b.Contiguous(), 0.1, 3);
    for (Fn fn : {Fn::kNeg, Fn::kAbs, Fn::kExp, Fn::kTanh, Fn::kErf, Fn::kSigmoid}) b.Store(b.Do(fn, x), b.Contiguous());
    for (Fn fn : {Fn::kLog, Fn::kSqrt, Fn::kRsqrt}) b.Store(b.Do(fn, y), b.Contiguous());
    for (Fn fn : {Fn::kAdd, Fn::kSub, Fn::kMul, Fn::kDiv, Fn::kMax, Fn::kMin}) b.Store(b.Do(fn, x, y), b.Contiguous());
    b.Store(b.Do(Fn::kPow, y, x), b.Contiguous());
    for (double e : {-1.0, 0.5, 1.0, 2.0, 3.0, 1.7}) b.Store(b.Do(Fn::kPow, y, b.Constant(e, dtype)), b.Contiguous());
    CheckAll(b, dtype == DType::kF32 ? 2e-6 : 1e-14);
  }
}

TEST(CodegenCppPointwise, GatherOfRows) {
  PlanBuilder b({11, 40});
  const int index = b.Load(DType::kI64, Layout(0, {{{11, 1}}, {{40, 0}}}), 0, 7);
  const int table = b.AddArg(DType::kF32, 7 * 40, false);
  const int row = b.LoadArg(table, Layout(0, {{{11, 0}}, {{40, 1}}}), index, 40, 7);
  b.Store(b.Do(Fn::kMul, row, b.Constant(2)), b.Contiguous());
  const int column = b.Load(DType::kI64, Layout(0, {{{11, 0}}, {{40, 1}}}), 0, 7);
  b.Store(b.LoadArg(table, Layout(2, {{{11, 1}}, {{40, 0}}}), column, 40, 7), b.Contiguous());
  CheckAll(b);
}

TEST(CodegenCppPointwise, EmptyAndScalar) {
  PlanBuilder empty({3, 0});
  empty.body.operands.push_back({empty.AddArg(DType::kF32, 1, false), Layout::Contiguous({3, 0})});
  empty.Store(empty.Push({.kind = Expr::Kind::kLoad, .operand = 0}), Layout::Contiguous({3, 0}));
  CheckAll(empty);
  PlanBuilder scalar(std::vector<int64_t>{});
  scalar.Store(scalar.Do(Fn::kExp, scalar.Load(DType::kF32, Layout(0, {}))), Layout(0, {}));
  CheckAll(scalar);
}

TEST(CodegenCppPointwise, Instances) {
  const std::vector<int64_t> elements = {5, 2000, 0, 64, 1};
  PlanBuilder b({2000});
  const int first_x = b.Load(DType::kF32, b.Contiguous());
  const int rate = b.Load(DType::kF32, Layout(0, {{{2000, 0}}}));
  const int updated = b.Do(Fn::kSub, first_x, b.Do(Fn::kMul, rate, first_x));
  b.Store(updated, b.Contiguous());
  b.args.clear();
  b.memories.clear();
  for (int64_t n : elements) {
    b.AddArg(DType::kF32, n, false);
    b.AddArg(DType::kF32, 1, false);
    b.AddArg(DType::kF32, n, true);
  }
  const KernelPlan plan = b.Plan(Skeleton::kPointwise, elements);
  for (const CpuTarget& cpu : Targets()) {
    for (const LoopSchedule& schedule : kSchedules) {
      TestKernel kernel(GenerateCpp(plan, schedule, cpu), cpu);
      std::vector<Memory> got = b.memories;
      kernel.Run(&got, 3, true);
      const double factor = 1 - got[1].Get(0);
      for (size_t i = 0; i < elements.size(); ++i) {
        for (int64_t j = 0; j < elements[i]; ++j)
          ASSERT_NEAR(got[3 * i + 2].Get(j), got[3 * i].Get(j) * factor, 1e-5) << i << " " << j;
      }
    }
  }
}

}  // namespace
}  // namespace athanor::testing
