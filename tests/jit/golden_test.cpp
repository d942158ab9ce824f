#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "jit/codegen_cuda.h"
#include "jit/kernel_source.h"
#include "jit/plan_builder.h"
#include "ops/decompose.h"
#include "ops/fragment.h"
#include "tests/jit/plan_builder.h"
#include "tests/jit/reduce_plans.h"

namespace athanor::testing {
namespace {

// Generated sources of a few plans, kept in tests/golden: a change of the generators shows as a change of these files.
// ATHANOR_UPDATE_GOLDEN=1 rewrites them.
void CheckFile(const std::string& name, const std::string& text) {
  const std::filesystem::path path = std::filesystem::path(ATHANOR_SOURCE_DIR) / "tests/golden" / name;
  if (std::getenv("ATHANOR_UPDATE_GOLDEN")) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  std::ifstream file(path);
  std::stringstream want;
  want << file.rdbuf();
  EXPECT_EQ(text, want.str()) << "set ATHANOR_UPDATE_GOLDEN=1 to accept the change of " << path;
}

void CheckGolden(const std::string& name, const KernelPlan& plan) {
  const CpuTarget cpu{.isa = Isa::kAvx512, .l2_bytes = 1 << 20, .l3_bytes = 32 << 20, .cores = 2};
  Schedule schedule = DefaultSchedule(plan, cpu);
  if (auto* contract = std::get_if<ContractSchedule>(&schedule)) contract->maker = ContractSchedule::Maker::kCpp;  // no bytes
  if (auto* winograd = std::get_if<WinogradSchedule>(&schedule)) winograd->maker = ContractSchedule::Maker::kCpp;
  const std::string text = GenerateCpp(plan, schedule, cpu).text;
  EXPECT_EQ(text, GenerateCpp(plan, schedule, cpu).text) << "not deterministic";
  CheckFile(name + ".cpp", text);
}

void CheckCudaGolden(const std::string& name, const KernelPlan& plan) {
  const std::string text = GenerateCuda(plan, DefaultCudaSchedule(plan)).text;
  EXPECT_EQ(text, GenerateCuda(plan, DefaultCudaSchedule(plan)).text) << "not deterministic";
  CheckFile(name + ".cu", text);
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

TEST(Golden, ProductWithMoments) {
  ContractPlan contract{.m = 16, .n = 300, .k = 8};
  PlanBuilder a({1, 16, 8}), b({1, 8, 300}), c({1, 16, 300});
  contract.a_result = a.Load(DType::kF32, a.Contiguous());
  contract.b_result = b.Load(DType::kF32, b.Contiguous());
  const int product = c.Push({.kind = Expr::Kind::kAccumulator});
  c.Store(product, c.Contiguous());
  c.body.stores[0].operand.arg = 2, b.body.operands[0].arg = 1;
  const Layout per_row(0, {{{1, 16}}, {{16, 1}}, {{300, 0}}});
  contract.moments = RowMoments{product, c.body.stores[0].operand, {.arg = 3, .map = per_row}, {.arg = 4, .map = per_row}};
  contract.a = a.body, contract.b = b.body, contract.epilogue = c.body;
  KernelPlan plan;
  plan.skeleton = Skeleton::kContract;
  plan.detail = contract;
  for (int64_t elements : {16 * 8, 8 * 300, 16 * 300, 16, 16}) plan.args.push_back({.dtype = DType::kF32, .written = plan.args.size() > 1, .elements = elements});
  plan.nodes = {"product", "moments"};
  CheckGolden("product_moments", plan);
}

// Of the one kernel of a fragment.
void CheckFragment(const std::string& name, const std::string& fragment) {
  const Program program = BuildProgram(Decompose(ReadFragment(fragment, name)));
  ASSERT_EQ(program.kernels.size(), 1u);
  CheckGolden(name, program.kernels[0]);
}

// Its operand and its results are copied by routines.
TEST(Golden, LinearOfOddWidth) {
  CheckFragment("linear_odd", R"({"format": "athanor.fragment/1", "name": "linear", "inputs": [{"name": "x", "dtype": "f32", "shape": [96, 64]},
    {"name": "w", "dtype": "f32", "shape": [100, 64]}], "nodes": [{"op": "linear", "inputs": ["x", "w"], "outputs": ["y"]}], "outputs": ["y"]})");
}

// Its micro-kernels write to the output.
TEST(Golden, Product) {
  CheckFragment("product", R"({"format": "athanor.fragment/1", "name": "product", "inputs": [{"name": "x", "dtype": "f32", "shape": [96, 64]},
    {"name": "w", "dtype": "f32", "shape": [64, 128]}], "nodes": [{"op": "matmul", "inputs": ["x", "w"], "outputs": ["y"]}], "outputs": ["y"]})");
}

TEST(Golden, VectorByMatrix) {
  CheckFragment("vector_by_matrix", R"({"format": "athanor.fragment/1", "name": "vector", "inputs": [{"name": "x", "dtype": "f32", "shape": [1, 100]},
    {"name": "w", "dtype": "f32", "shape": [70, 100]}], "nodes": [{"op": "linear", "inputs": ["x", "w"], "outputs": ["f"]},
    {"op": "relu", "inputs": ["f"], "outputs": ["y"]}], "outputs": ["y"]})");
}

TEST(Golden, ConvolutionByMinimalFiltering) {
  CheckFragment("convolution_winograd", R"({"format": "athanor.fragment/1", "name": "convolution", "inputs": [{"name": "x", "dtype": "f32", "shape": [1, 32, 32, 32]},
    {"name": "w", "dtype": "f32", "shape": [32, 32, 3, 3]}], "nodes": [{"op": "conv2d", "inputs": ["x", "w"], "attrs": {"stride": [1, 1], "padding": [1, 1]},
    "outputs": ["y"]}], "outputs": ["y"]})");
}

// Its windows are copied by a routine.
TEST(Golden, ConvolutionOfStrideTwo) {
  CheckFragment("convolution_windows", R"({"format": "athanor.fragment/1", "name": "convolution", "inputs": [{"name": "x", "dtype": "f32", "shape": [1, 8, 28, 28]},
    {"name": "w", "dtype": "f32", "shape": [16, 8, 3, 3]}], "nodes": [{"op": "conv2d", "inputs": ["x", "w"], "attrs": {"stride": [2, 2], "padding": [1, 1]},
    "outputs": ["y"]}], "outputs": ["y"]})");
}

TEST(Golden, CudaLayerNorm) { CheckCudaGolden("layer_norm", LayerNormPlan(4096, 384, DType::kF32).Plan(Skeleton::kReduce)); }

// [batch, heads, rows, columns], or without its last dimensions, contiguous.
Operand Contiguous(int arg, const Shape& shape) { return {.arg = arg, .map = Layout::Contiguous(shape)}; }

KernelPlan Attention(AttentionPlan plan, std::vector<bool> written) {
  KernelPlan kernel;
  kernel.skeleton = Skeleton::kAttention;
  for (bool out : written) kernel.args.push_back({DType::kF32, out, 0, -1});
  kernel.nodes = {"attention"};
  kernel.detail = std::move(plan);
  return kernel;
}

AttentionPlan SmallAttention(int64_t heads, int64_t kv_heads, int64_t lq, int64_t lk) {
  AttentionPlan plan{.heads = heads, .kv_heads = kv_heads, .lq = lq, .lk = lk, .d = 16, .dv = 16, .scale = 0.25};
  for (Operand* optional : {&plan.lse, &plan.mask, &plan.lengths, &plan.dmask, &plan.seed, &plan.offset}) optional->arg = -1;
  plan.q = Contiguous(0, {1, heads, lq, 16}), plan.k = Contiguous(1, {1, kv_heads, lk, 16}), plan.v = Contiguous(2, {1, kv_heads, lk, 16});
  return plan;
}

TEST(Golden, AttentionWithWindowAndMask) {
  AttentionPlan plan = SmallAttention(2, 2, 16, 24);
  plan.left = 7, plan.right = 0;
  plan.mask = {.arg = 3, .map = Layout(0, {{{1, 0}}, {{2, 0}}, {{16, 24}}, {{24, 1}}})}, plan.mask_dtype = DType::kF32;
  plan.y = Contiguous(4, {1, 2, 16, 16});
  CheckGolden("attention_window_mask", Attention(plan, {false, false, false, false, true}));
}

TEST(Golden, AttentionBackwardOfGroupedQueries) {
  AttentionPlan plan = SmallAttention(4, 2, 16, 16);
  plan.backward = true, plan.right = 0;
  plan.dy = Contiguous(3, {1, 4, 16, 16}), plan.y = Contiguous(4, {1, 4, 16, 16}), plan.lse = Contiguous(5, {1, 4, 16});
  plan.dq = Contiguous(6, {1, 4, 16, 16}), plan.dk = Contiguous(7, {1, 2, 16, 16}), plan.dv_out = Contiguous(8, {1, 2, 16, 16});
  CheckGolden("attention_backward_grouped", Attention(plan, {false, false, false, false, false, false, true, true, true}));
}

TEST(Golden, AttentionOfOneQuery) {
  AttentionPlan plan = SmallAttention(4, 2, 1, 600);
  plan.y = Contiguous(3, {1, 4, 1, 16});
  CheckGolden("attention_decode", Attention(plan, {false, false, false, true}));
}

}  // namespace
}  // namespace athanor::testing
