#include <gtest/gtest.h>

#include <numeric>

#include "tests/jit/cuda_emulator.h"
#include "tests/jit/kernel_runner.h"
#include "tests/jit/plan_builder.h"

namespace athanor::testing {
namespace {

// Random loop plans over random access maps. A failure names its seed, which reproduces it.
class RandomPlan {
 public:
  explicit RandomPlan(uint32_t seed) : random_(seed), builder_({}, seed), dtype_(Pick(3) == 0 ? DType::kF64 : DType::kF32) {}

  PlanBuilder Pointwise() {
    const int rank = 1 + Pick(4);
    for (int d = 0; d < rank; ++d) builder_.body.extents.push_back(1 + Pick(rank > 2 ? 20 : 70));
    Values(2 + Pick(3), 3 + Pick(8), 0);
    for (int s = 1 + Pick(3); s > 0; --s) StoreWhole(Any());
    return builder_;
  }

  PlanBuilder Reduce() {
    builder_.body.extents = {1 + Pick(40), 1 + Pick(150)};
    Values(1 + Pick(3), 3 + Pick(6), 2);
    const std::vector<uint32_t> varies = builder_.body.Varies();
    const int whole = Any();
    StoreWhole(whole);
    for (int e : values_) {
      if (varies[e] == 1 && Pick(2)) builder_.Store(e, Layout(0, {{{Extent(0), 1}}, {{Extent(1), 0}}}));
    }
    if (Pick(2))
      builder_.Store(builder_.Reduce(Fn::kAdd, whole, 1),
                     Layout(0, {{{Extent(0), 0}}, {{Extent(1), varies[whole] & 2 ? 1 : 0}}}));
    return builder_;
  }

  double tolerance() const { return dtype_ == DType::kF32 ? 1e-4 : 1e-11; }

 private:
  int Pick(int n) { return static_cast<int>(random_() % n); }
  int64_t Extent(int d) const { return builder_.body.extents[d]; }
  int Any() { return values_[values_.size() - 1 - Pick(std::min<int>(3, static_cast<int>(values_.size())))]; }

  // Strides of a random order of the dimensions; with `holes` some are broadcast or padded.
  Layout RandomMap(bool holes) {
    const int rank = builder_.body.rank();
    std::vector<int> order(rank);
    std::iota(order.begin(), order.end(), 0);
    if (Pick(2)) std::shuffle(order.begin(), order.end(), random_);
    std::vector<Digits> dims(rank);
    int64_t stride = 1;
    for (auto d = order.rbegin(); d != order.rend(); ++d) {
      const int64_t extent = Extent(*d);
      if (holes && Pick(4) == 0) {
        dims[*d] = {{extent, 0}};
        continue;
      }
      if (extent % 2 == 0 && Pick(3) == 0) {  // the two halves swapped in significance
        dims[*d] = {{2, stride * extent / 2}, {extent / 2, stride}};
      } else {
        dims[*d] = {{extent, stride}};
      }
      stride *= extent + (holes && Pick(5) == 0 ? 3 : 0);
    }
    return Layout(holes ? Pick(4) : 0, dims);
  }

  void StoreWhole(int e) { builder_.Store(e, RandomMap(false)); }

  void Values(int loads, int functions, uint32_t axes) {
    for (int i = 0; i < loads; ++i) values_.push_back(builder_.Load(dtype_, RandomMap(i > 0)));
    values_.push_back(builder_.Constant(0.75, dtype_));
    constexpr Fn kUnary[] = {Fn::kNeg, Fn::kAbs, Fn::kTanh, Fn::kErf, Fn::kSigmoid},
                 kBinary[] = {Fn::kAdd, Fn::kSub, Fn::kMul, Fn::kMax, Fn::kMin};
    for (int i = 0; i < functions; ++i) {
      const int a = Any(), b = values_[Pick(static_cast<int>(values_.size()))];
      switch (Pick(axes ? 5 : 4)) {
        case 0:
          values_.push_back(builder_.Do(kUnary[Pick(5)], a));
          break;
        case 1:
          values_.push_back(builder_.Do(Fn::kWhere, builder_.Do(Fn::kLt, a, b), b, values_[0]));
          break;
        case 4:
          values_.push_back(builder_.Do(Fn::kTanh, builder_.Reduce(Pick(2) ? Fn::kAdd : Fn::kMax, a, axes)));
          break;
        default:
          values_.push_back(builder_.Do(Fn::kTanh, builder_.Do(kBinary[Pick(5)], a, b)));
          break;
      }
    }
  }

  std::mt19937 random_;
  PlanBuilder builder_;
  DType dtype_;
  std::vector<int> values_;
};

void Check(uint32_t seed, Skeleton skeleton) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  RandomPlan random(seed);
  const PlanBuilder builder = skeleton == Skeleton::kPointwise ? random.Pointwise() : random.Reduce();
  for (const CpuTarget& cpu : Targets()) {
    const LoopSchedule schedule = {.task_elements = 1 << (5 + seed % 8),
                                   .unroll = 1 + static_cast<int>(seed % 3),
                                   .streaming = seed % 2 == 1,
                                   .row_chunks = 1 + static_cast<int>(seed % 5)};
    CheckLoopPlan(builder.Plan(skeleton), schedule, cpu, builder.memories, random.tolerance());
  }
}

TEST(RandomPlans, Pointwise) {
  for (uint32_t seed = 0; seed < 60; ++seed) Check(seed, Skeleton::kPointwise);
}

TEST(RandomPlans, Reduce) {
  for (uint32_t seed = 0; seed < 60; ++seed) Check(seed, Skeleton::kReduce);
}

TEST(RandomPlans, ReduceAsLoopNest) {
  for (uint32_t seed = 100; seed < 130; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomPlan random(seed);
    const PlanBuilder builder = random.Reduce();
    for (const CpuTarget& cpu : Targets())
      CheckLoopPlan(builder.Plan(Skeleton::kLoopNest), LoopSchedule{.task_elements = 200}, cpu, builder.memories,
                    random.tolerance());
  }
}

// The same plans as CUDA in the emulator, under the default schedule and others.
void CheckCuda(uint32_t seed, Skeleton skeleton) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  RandomPlan random(seed);
  const PlanBuilder builder = skeleton == Skeleton::kPointwise ? random.Pointwise() : random.Reduce();
  const KernelPlan plan = builder.Plan(skeleton);
  const int threads = 32 << seed % 3, shared = seed % 4 == 3 ? threads : 1 << seed % 6;
  for (const CudaSchedule& schedule : {DefaultCudaSchedule(plan), CudaSchedule{.threads = threads, .max_blocks = 1 + seed % 7, .row_threads = shared}}) {
    CheckCudaPlan(plan, schedule, builder.memories, random.tolerance());
  }
}

TEST(RandomPlans, Cuda) {
  for (Skeleton skeleton : {Skeleton::kPointwise, Skeleton::kReduce, Skeleton::kLoopNest}) {
    for (uint32_t seed = 200; seed < 215; ++seed) CheckCuda(seed, skeleton);
  }
}

}  // namespace
}  // namespace athanor::testing
