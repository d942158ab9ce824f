#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "jit/kernel_source.h"
#include "tests/jit/plan_builder.h"

namespace athanor::testing {
namespace {

// Generated sources of a few plans, kept in tests/golden: a change of the generators shows as a change of these files.
// ATHANOR_UPDATE_GOLDEN=1 rewrites them.
void CheckGolden(const std::string& name, const KernelPlan& plan) {
  const CpuTarget cpu{.isa = Isa::kAvx512, .l2_bytes = 1 << 20, .l3_bytes = 32 << 20, .cores = 2};
  const std::string text = GenerateCpp(plan, DefaultSchedule(plan, cpu), cpu).text;
  EXPECT_EQ(text, GenerateCpp(plan, DefaultSchedule(plan, cpu), cpu).text) << "not deterministic";
  const std::filesystem::path path = std::filesystem::path(ATHANOR_SOURCE_DIR) / "tests/golden" / (name + ".cpp");
  if (std::getenv("ATHANOR_UPDATE_GOLDEN")) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  std::ifstream file(path);
  std::stringstream want;
  want << file.rdbuf();
  EXPECT_EQ(text, want.str()) << "set ATHANOR_UPDATE_GOLDEN=1 to accept the change of " << path;
}

TEST(Golden, PointwiseWithBroadcast) {
  PlanBuilder b({64, 100});
  const int x = b.Load(DType::kF32, b.Contiguous()), bias = b.Load(DType::kF32, Layout(0, {{{64, 0}}, {{100, 1}}}));
  b.Store(b.Do(Fn::kTanh, b.Do(Fn::kAdd, x, bias)), b.Contiguous());
  CheckGolden("pointwise_broadcast", b.Plan(Skeleton::kPointwise));
}

TEST(Golden, TransposedCopy) {
  PlanBuilder b({8, 256, 64});
  b.Store(b.Load(DType::kF32, Layout(0, {{{8, 16384}}, {{256, 1}}, {{64, 256}}})), b.Contiguous());
  CheckGolden("transposed_copy", b.Plan(Skeleton::kPointwise));
}

TEST(Golden, SoftmaxWithColumnSums) {
  PlanBuilder b({128, 200});
  const int x = b.Load(DType::kF32, b.Contiguous());
  const int e = b.Do(Fn::kExp, b.Do(Fn::kSub, x, b.Reduce(Fn::kMax, x, 2))), y = b.Do(Fn::kDiv, e, b.Reduce(Fn::kAdd, e, 2));
  b.Store(y, b.Contiguous());
  b.Store(b.Reduce(Fn::kAdd, y, 1), Layout(0, {{{128, 0}}, {{200, 1}}}));
  CheckGolden("softmax_column_sums", b.Plan(Skeleton::kReduce));
}

TEST(Golden, ReductionOverMixedAxes) {
  PlanBuilder b({4, 6, 40});
  b.Store(b.Reduce(Fn::kAdd, b.Load(DType::kF32, b.Contiguous()), 5), Layout(0, {{{4, 0}}, {{6, 1}}, {{40, 0}}}));
  CheckGolden("mixed_axes", b.Plan(Skeleton::kLoopNest));
}

}  // namespace
}  // namespace athanor::testing
