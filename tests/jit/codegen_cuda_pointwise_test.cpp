#include <gtest/gtest.h>

#include "tests/jit/cuda_emulator.h"
#include "tests/jit/nvrtc.h"
#include "tests/jit/plan_builder.h"

namespace athanor::testing {
namespace {

const CudaSchedule kSchedules[] = {{}, {.threads = 64, .max_blocks = 3}};

void CheckAll(const PlanBuilder& builder, double tolerance = 1e-5, std::vector<int64_t> instances = {}) {
  const KernelPlan plan = builder.Plan(Skeleton::kPointwise, std::move(instances));
  for (const CudaSchedule& schedule : kSchedules) CheckCudaPlan(plan, schedule, builder.memories, tolerance);
  CheckCubin(plan, 64);
}

TEST(CodegenCudaPointwise, ContiguousOfOddSizes) {
  for (int64_t n : {1, 7, 16, 33, 1000, 5003}) {
    for (DType dtype : {DType::kF32, DType::kF64}) {
      PlanBuilder b({n});
      const int x = b.Load(dtype, b.Contiguous()), y = b.Load(dtype, b.Contiguous());
      b.Store(b.Do(Fn::kAdd, b.Do(Fn::kMul, x, y), b.Do(Fn::kTanh, x)), b.Contiguous());
      CheckAll(b);
    }
  }
}

TEST(CodegenCudaPointwise, NeighboursMoveInOnePiece) {
  PlanBuilder b({64, 100});
  const int x = b.Load(DType::kF32, b.Contiguous()), bias = b.Load(DType::kF32, Layout(0, {{{64, 0}}, {{100, 1}}}));
  b.Store(b.Do(Fn::kTanh, b.Do(Fn::kAdd, x, bias)), b.Contiguous());
  const KernelPlan plan = b.Plan(Skeleton::kPointwise);
  EXPECT_NE(GenerateCuda(plan, {}).text.find("Vec<float, 4>"), std::string::npos);
  if (const NvrtcCompiler* nvrtc = Nvrtc()) {
    const std::string ptx = nvrtc->Compile(GenerateCuda(plan, {}).text, "bias_tanh").ptx;
    EXPECT_NE(ptx.find("ld.global.v4"), std::string::npos) << ptx;
    EXPECT_NE(ptx.find("st.global.v4"), std::string::npos) << ptx;
  }
}

TEST(CodegenCudaPointwise, BroadcastsPermutationsAndOffsets) {
  const Shape extents = {3, 5, 36};
  for (const Layout& from : {Layout(0, {{{3, 180}}, {{5, 36}}, {{36, 1}}}), Layout(4, {{{3, 180}}, {{5, 1}}, {{36, 5}}}), Layout(1, {{{3, 0}}, {{5, 40}}, {{36, 1}}}),
                             Layout(0, {{{3, 1}}, {{5, 3}}, {{36, 0}}})}) {
    for (const Layout& to : {Layout(0, {{{3, 180}}, {{5, 36}}, {{36, 1}}}), Layout(8, {{{3, 1}}, {{5, 108}}, {{36, 3}}})}) {
      PlanBuilder b(extents);
      const int x = b.Load(DType::kF32, b.Contiguous()), y = b.Load(DType::kF32, from);
      b.Store(b.Do(Fn::kSub, x, b.Do(Fn::kExp, y)), to);
      CheckAll(b);
    }
  }
}

TEST(CodegenCudaPointwise, DigitsSplitHeads) {
  PlanBuilder b({6, 192});
  b.Store(b.Load(DType::kF32, b.Contiguous()), Layout(0, {{{6, 32}}, {{32, 1}, {2, 192}, {3, 384}}}));
  CheckAll(b);
}

TEST(CodegenCudaPointwise, DigitsThatDoNotDivideEachOther) {
  PlanBuilder b({5, 24});
  const int x = b.Load(DType::kF32, Layout(1, {{{5, 24}}, {{4, 6}, {6, 1}}})), y = b.Load(DType::kF32, Layout(0, {{{5, 24}}, {{6, 4}, {4, 1}}}));
  b.Store(b.Do(Fn::kAdd, x, y), b.Contiguous());
  CheckAll(b);
}

TEST(CodegenCudaPointwise, StoresWithRanges) {
  for (int64_t cut : {32, 37}) {
    PlanBuilder b({4, 96});
    const int x = b.Load(DType::kF32, b.Contiguous());
    b.Store(b.Do(Fn::kNeg, x), Layout(0, {{{4, cut}}, {{cut, 1}}}), 0, cut);
    b.Store(b.Do(Fn::kMul, x, x), Layout(0, {{{4, 96 - cut}}, {{96 - cut, 1}}}), cut, 96);
    b.Store(x, Layout(0, {{{4, 10}}, {{10, 1}}}), 5, 15);
    CheckAll(b);
  }
}

TEST(CodegenCudaPointwise, IndicesMasksAndTypes) {
  PlanBuilder b({9, 50});
  const int x = b.Load(DType::kF32, b.Contiguous()), m = b.Load(DType::kBool, b.Contiguous());
  const int t = b.Load(DType::kI64, Layout(0, {{{9, 1}}, {{50, 0}}}), 0, 60);
  const int hit = b.Do(Fn::kEq, b.Index(1), t), before = b.Do(Fn::kLt, t, b.Index(1));
  b.Store(b.Do(Fn::kWhere, hit, x, b.Constant(-1)), b.Contiguous());
  b.Store(b.Do(Fn::kWhere, b.Do(Fn::kAnd, m, b.Do(Fn::kNot, before)), b.Do(Fn::kNeg, x), x), b.Contiguous());
  b.Store(before, b.Contiguous());
  b.Store(b.Cast(b.Do(Fn::kMul, x, b.Constant(100)), DType::kI32), b.Contiguous());
  b.Store(b.Cast(b.Index(1), DType::kF64), b.Contiguous());
  b.Store(b.Cast(x, DType::kBF16), b.Contiguous());
  b.Store(b.Cast(x, DType::kF16), b.Contiguous());
  b.Store(b.Cast(b.Load(DType::kU8, b.Contiguous(), 0, 255), DType::kF32), b.Contiguous());
  b.Store(b.Do(Fn::kMax, b.Load(DType::kI32, b.Contiguous(), -100, 100), b.Load(DType::kI32, b.Contiguous(), -100, 100)), b.Contiguous());
  CheckAll(b, 1e-6);
}

TEST(CodegenCudaPointwise, HalfPrecisionMovesEightAtOnce) {
  for (DType dtype : {DType::kBF16, DType::kF16}) {
    PlanBuilder b({12, 64});
    const int x = b.Load(dtype, b.Contiguous()), y = b.Load(dtype, b.Contiguous());
    b.Store(b.Cast(b.Do(Fn::kMul, b.Cast(x, DType::kF32), b.Cast(y, DType::kF32)), dtype), b.Contiguous());
    EXPECT_NE(GenerateCuda(b.Plan(Skeleton::kPointwise), {}).text.find("Vec<unsigned short, 8>"), std::string::npos);
    CheckAll(b, 1e-6);
  }
}

TEST(CodegenCudaPointwise, EveryFunction) {
  for (DType dtype : {DType::kF32, DType::kF64}) {
    PlanBuilder b({131});
    const int x = b.Load(dtype, b.Contiguous()), y = b.Load(dtype, b.Contiguous(), 0.1, 3);
    for (Fn fn : {Fn::kNeg, Fn::kAbs, Fn::kExp, Fn::kTanh, Fn::kErf, Fn::kSigmoid}) b.Store(b.Do(fn, x), b.Contiguous());
    for (Fn fn : {Fn::kLog, Fn::kSqrt, Fn::kRsqrt}) b.Store(b.Do(fn, y), b.Contiguous());
    for (Fn fn : {Fn::kAdd, Fn::kSub, Fn::kMul, Fn::kDiv, Fn::kMax, Fn::kMin}) b.Store(b.Do(fn, x, y), b.Contiguous());
    b.Store(b.Do(Fn::kPow, y, x), b.Contiguous());
    for (double power : {-1.0, 0.5, 1.0, 2.0, 3.0, 2.5}) b.Store(b.Do(Fn::kPow, y, b.Constant(power, dtype)), b.Contiguous());
    const KernelPlan plan = b.Plan(Skeleton::kPointwise);
    CheckCudaPlan(plan, {}, b.memories, 1e-5);
    CheckCubin(plan, 168);
  }
}

TEST(CodegenCudaPointwise, NaNAndInfinity) {
  PlanBuilder b({8});
  const int x = b.Load(DType::kF32, b.Contiguous()), y = b.Load(DType::kF32, b.Contiguous());
  b.memories[0].Set(1, NAN), b.memories[1].Set(2, NAN), b.memories[0].Set(3, INFINITY);
  b.Store(b.Do(Fn::kMax, x, y), b.Contiguous());
  b.Store(b.Do(Fn::kMin, x, y), b.Contiguous());
  b.Store(b.Do(Fn::kWhere, b.Do(Fn::kLt, x, y), b.Constant(-INFINITY), b.Constant(NAN)), b.Contiguous());
  CheckAll(b);
}

TEST(CodegenCudaPointwise, GatheredRows) {
  PlanBuilder b({7, 24});
  const int row = b.Load(DType::kI64, Layout(0, {{{7, 1}}, {{24, 0}}}), 0, 11);
  const int table = b.AddArg(DType::kF32, 11 * 24, false);
  b.Store(b.LoadArg(table, Layout(0, {{{7, 0}}, {{24, 1}}}), row, 24, 11), b.Contiguous());
  CheckAll(b);
}

TEST(CodegenCudaPointwise, InstancesOfDifferentSizes) {
  const std::vector<int64_t> elements = {5, 1000, 0, 4097, 1};
  PlanBuilder b({4097});
  const Layout along = b.Contiguous(), scalar(0, {{{4097, 0}}});
  const int p = b.Load(DType::kF32, along), g = b.Load(DType::kF32, along), rate = b.Load(DType::kF32, scalar);
  const int next = b.Do(Fn::kSub, p, b.Do(Fn::kMul, rate, g));
  b.Store(next, along);
  KernelPlan plan = b.Plan(Skeleton::kPointwise, elements);
  const std::vector<KernelArg> own = plan.args;
  std::vector<Memory> memories;
  plan.args.clear();
  for (int64_t count : elements) {
    for (KernelArg arg : own) {
      arg.elements = arg.elements == 1 ? 1 : count;
      plan.args.push_back(arg);
      memories.emplace_back(arg.dtype, arg.elements);
      if (!arg.written) memories.back().Fill(&b.random);
    }
  }
  const CudaSource source = GenerateCuda(plan, kSchedules[1]);
  std::vector<char*> pointers;
  for (Memory& memory : memories) pointers.push_back(memory.data());
  RunEmulated(source, pointers);
  for (size_t i = 0; i < elements.size(); ++i) {
    for (int64_t k = 0; k < elements[i]; ++k) {
      const double want = memories[4 * i].Get(k) - memories[2].Get(0) * memories[4 * i + 1].Get(k);
      ASSERT_NEAR(memories[4 * i + 3].Get(k), want, 1e-6) << i << " " << k;
    }
    EXPECT_TRUE(memories[4 * i + 3].GuardIntact());
  }
  CheckCubin(plan, 64);
}

TEST(CodegenCudaPointwise, ScalarAndEmpty) {
  PlanBuilder scalar({});
  scalar.Store(scalar.Do(Fn::kNeg, scalar.Load(DType::kF32, Layout(0, {}))), Layout(0, {}));
  CheckAll(scalar);
  PlanBuilder empty({0, 4});
  empty.AddArg(DType::kF32, 1, false);
  empty.body.stores.push_back({empty.LoadArg(0, empty.Contiguous()), {.arg = empty.AddArg(DType::kF32, 1, true), .map = empty.Contiguous()}});
  EXPECT_TRUE(GenerateCuda(empty.Plan(Skeleton::kPointwise), {}).launches.empty());
}

TEST(CodegenCuda, OtherSkeletonsAndSchedulesAreErrors) {
  PlanBuilder b({4});
  b.Store(b.Load(DType::kF32, b.Contiguous()), b.Contiguous());
  EXPECT_THROW(GenerateCuda(b.Plan(Skeleton::kContract), {}), Error);
  EXPECT_THROW(DefaultCudaSchedule(b.Plan(Skeleton::kAttention)), Error);
  EXPECT_THROW(GenerateCuda(b.Plan(Skeleton::kPointwise), {.threads = 33}), InternalError);
  EXPECT_THROW(GenerateCuda(b.Plan(Skeleton::kPointwise), {.row_threads = 12}), InternalError);
}

}  // namespace
}  // namespace athanor::testing
