#include <gtest/gtest.h>

#include "tests/jit/cuda_emulator.h"
#include "tests/jit/nvrtc.h"
#include "tests/jit/reduce_plans.h"

namespace athanor::testing {
namespace {

// Rows shared by a part of a warp, a warp and a block; few blocks, so that each takes several rows.
void CheckAll(const PlanBuilder& builder, double tolerance, int max_registers = 128) {
  const KernelPlan plan = builder.Plan(Skeleton::kReduce);
  const CudaSchedule first = DefaultCudaSchedule(plan);
  for (const CudaSchedule& schedule : {first, CudaSchedule{.threads = 64, .max_blocks = 2, .row_threads = 8},
                                       CudaSchedule{.threads = 96, .max_blocks = 3, .row_threads = 32}, CudaSchedule{.threads = 128, .row_threads = 128}}) {
    CheckCudaPlan(plan, schedule, builder.memories, tolerance);
  }
  CheckCubin(plan, max_registers, first);
}

class CudaReduceOfShape : public ::testing::TestWithParam<std::tuple<std::pair<int64_t, int64_t>, DType>> {
 protected:
  int64_t rows() const { return std::get<0>(GetParam()).first; }
  int64_t cols() const { return std::get<0>(GetParam()).second; }
  DType dtype() const { return std::get<1>(GetParam()); }
  double tolerance() const { return dtype() == DType::kF32 ? 2e-5 : 1e-12; }
};

TEST_P(CudaReduceOfShape, Softmax) { CheckAll(SoftmaxPlan(rows(), cols(), dtype()), tolerance()); }
TEST_P(CudaReduceOfShape, LayerNormForwardAndBackward) { CheckAll(LayerNormPlan(rows(), cols(), dtype()), 10 * tolerance(), 168); }
TEST_P(CudaReduceOfShape, SumOfEverything) { CheckAll(SumOfEverythingPlan(rows(), cols(), dtype()), 10 * tolerance()); }
TEST_P(CudaReduceOfShape, AlongTheOtherDimensionOfMemory) { CheckAll(TurnedPlan(rows(), cols(), dtype()), 10 * tolerance()); }

INSTANTIATE_TEST_SUITE_P(Shapes, CudaReduceOfShape,
                         ::testing::Combine(::testing::ValuesIn(kReduceShapes), ::testing::Values(DType::kF32, DType::kF64)));

TEST(CodegenCudaReduce, CrossEntropyWithTargets) {
  for (int64_t classes : {10, 130}) CheckAll(CrossEntropyPlan(21, classes), 1e-5);
}

TEST(CodegenCudaReduce, SumThatPicksOneColumn) { CheckAll(PickPlan(21, 70), 1e-5); }
TEST(CodegenCudaReduce, IntegersNaNAndInfinity) { CheckAll(IntegersNaNAndInfinityPlan(), 1e-6); }

TEST(CodegenCudaReduce, HalfPrecisionOperands) {
  for (DType dtype : {DType::kBF16, DType::kF16}) {
    for (int64_t cols : {83, 320}) CheckAll(HalfSoftmaxPlan(9, cols, dtype), 4e-3);
  }
}

// Longer than what registers hold: read again in each pass, column sums in memory.
TEST(CodegenCudaReduce, LongRows) {
  CheckAll(LayerNormPlan(3, 24'580, DType::kF32), 1e-3);
  CheckAll(LayerNormPlan(2, 24'581, DType::kF64), 1e-11);
}

TEST(CodegenCudaReduce, EmptyRowsAndColumns) {
  for (auto [rows, cols] : {std::pair<int64_t, int64_t>{0, 20}, {4, 0}}) {
    PlanBuilder b = EmptyPlan(rows, cols);
    const KernelPlan plan = b.Plan(Skeleton::kReduce);
    const CudaSource source = GenerateCuda(plan, DefaultCudaSchedule(plan));
    std::vector<char*> pointers = {b.memories[0].data(), b.memories[1].data()};
    Memory sums(DType::kU8, source.temporary_bytes.empty() ? 0 : source.temporary_bytes[0]);
    pointers.push_back(sums.data());
    RunEmulated(source, pointers);
    for (int64_t j = 0; j < b.memories[1].elements(); ++j) EXPECT_EQ(b.memories[1].Get(j), 0);
    EXPECT_TRUE(b.memories[1].GuardIntact());
    CheckCubin(plan, 64);
  }
}

// At the borders of what registers hold: a warp's, a block's, beyond.
TEST(CodegenCudaReduce, NothingSpillsAtAnyLength) {
  for (int64_t cols : {8, 65, 333, 512, 1024, 2048, 4097, 16384}) {
    for (DType dtype : {DType::kF32, DType::kF64}) {
      CheckCubin(SoftmaxPlan(512, cols, dtype).Plan(Skeleton::kReduce), 168);
      CheckCubin(LayerNormPlan(512, cols, dtype).Plan(Skeleton::kReduce), 168);
      CheckCubin(TurnedPlan(512, cols, dtype).Plan(Skeleton::kReduce), 168);
    }
  }
}

TEST(CodegenCudaReduce, RowsMoveInOnePieceAndAreReadOnce) {
  const NvrtcCompiler* nvrtc = Nvrtc();
  if (nvrtc == nullptr) GTEST_SKIP() << "no NVRTC here";
  auto count = [](const std::string& text, const std::string& word) {
    int found = 0;
    for (size_t at = 0; (at = text.find(word, at)) != std::string::npos; at += word.size()) ++found;
    return found;
  };
  const KernelPlan softmax = SoftmaxPlan(64, 256, DType::kF32).Plan(Skeleton::kReduce);
  const std::string ptx = nvrtc->Compile(GenerateCuda(softmax, DefaultCudaSchedule(softmax)).text, "softmax").ptx;
  EXPECT_EQ(count(ptx, "ld.global.v4"), 2) << ptx;           // 256 columns over 32 threads by 4 in two steps, for three passes
  EXPECT_EQ(count(ptx, "ld.global"), 2) << ptx;
  EXPECT_EQ(count(ptx, "st.global.v4"), 2) << ptx;
  EXPECT_EQ(count(ptx, "shfl.sync.bfly"), 10) << ptx;        // maximum and sum, five steps each
}

}  // namespace
}  // namespace athanor::testing
