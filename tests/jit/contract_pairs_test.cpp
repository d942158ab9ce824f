// Products of bf16 in pairs of k against the same products in f32, over the kernels of real graphs: windows, prologues,
// epilogues.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "jit/plan_builder.h"
#include "ops/decompose.h"
#include "ops/fragment.h"
#include "ops/gradient.h"
#include "tests/jit/kernel_runner.h"

namespace athanor::testing {
namespace {

struct Fragment {
  const char *name, *inputs, *nodes;
};

constexpr Fragment kFragments[] = {
    {"conv3x3",
     R"({"name": "x", "dtype": "bf16", "shape": [2, 5, 13, 19], "grad": true}, {"name": "w", "dtype": "bf16", "shape": [12, 5, 3, 3], "grad": true})",
     R"({"op": "conv2d", "inputs": ["x", "w"], "outputs": ["y"], "attrs": {"padding": [1, 1]}})"},
    {"conv_strided",
     R"({"name": "x", "dtype": "bf16", "shape": [2, 3, 21, 17], "grad": true}, {"name": "w", "dtype": "bf16", "shape": [16, 3, 5, 5], "grad": true})",
     R"({"op": "conv2d", "inputs": ["x", "w"], "outputs": ["y"], "attrs": {"padding": [2, 2], "stride": [2, 2]}})"},
    {"conv_groups",
     R"({"name": "x", "dtype": "bf16", "shape": [2, 8, 9, 9], "grad": true}, {"name": "w", "dtype": "bf16", "shape": [16, 4, 3, 3], "grad": true})",
     R"({"op": "conv2d", "inputs": ["x", "w"], "outputs": ["y"], "attrs": {"padding": [2, 2], "dilation": [2, 2], "groups": 2}})"},
    {"conv1x1",
     R"({"name": "x", "dtype": "bf16", "shape": [2, 24, 7, 7], "grad": true}, {"name": "w", "dtype": "bf16", "shape": [20, 24, 1, 1], "grad": true})",
     R"({"op": "conv2d", "inputs": ["x", "w"], "outputs": ["z"]}, {"op": "relu", "inputs": ["z"], "outputs": ["y"]})"},
    {"mlp",
     R"({"name": "x", "dtype": "bf16", "shape": [37, 33], "grad": true}, {"name": "w", "dtype": "bf16", "shape": [45, 33], "grad": true},
               {"name": "b", "dtype": "bf16", "shape": [45], "grad": true}, {"name": "v", "dtype": "bf16", "shape": [33, 45], "grad": true},
               {"name": "g", "dtype": "bf16", "shape": [33], "grad": true}, {"name": "h", "dtype": "bf16", "shape": [33], "grad": true})",
     R"({"op": "layer_norm", "inputs": ["x", "g", "h"], "outputs": ["n"], "attrs": {"normalized_shape": [33]}}, {"op": "linear", "inputs": ["n", "w", "b"], "outputs": ["a"]},
        {"op": "gelu", "inputs": ["a"], "outputs": ["e"]}, {"op": "linear", "inputs": ["e", "v"], "outputs": ["f"]}, {"op": "add", "inputs": ["f", "x"], "outputs": ["y"]})"},
};

Program ProgramOf(const Fragment& fragment) {
  const std::string text =
      fmt::format(R"({{"format": "athanor.fragment/1", "name": "{}", "inputs": [{}], "nodes": [{}], "outputs": ["y"]}})",
                  fragment.name, fragment.inputs, fragment.nodes);
  return BuildProgram(Decompose(Gradient(ReadFragment(text, "test"))));
}

class ContractPairs : public ::testing::TestWithParam<Fragment> {};

TEST_P(ContractPairs, EqualF32) {
  const Fragment& fragment = GetParam();
  const Program program = ProgramOf(fragment);
  int products = 0;
  for (const CpuTarget& cpu : Targets()) {
    for (const KernelPlan& plan : program.kernels) {
      if (plan.skeleton != Skeleton::kContract) continue;
      std::mt19937 random(3);
      std::vector<Memory> want;
      for (const KernelArg& arg : plan.args) {
        want.emplace_back(arg.dtype, arg.elements);
        want.back().Fill(&random, 0.5, 1.5);
      }
      std::vector<Memory> got = want, again = want;
      CpuTarget without = cpu;
      std::erase(without.features, "avx512bf16");
      TestKernel(GenerateCpp(plan, DefaultSchedule(plan, without), cpu), cpu).Run(&want);
      ContractSchedule schedule = std::get<ContractSchedule>(DefaultSchedule(plan, cpu));
      schedule.pairs = true;
      if (schedule.pack_b == ContractSchedule::Pack::kNone) schedule.pack_b = ContractSchedule::Pack::kPhase;
      for (auto pack : {ContractSchedule::Pack::kNone, ContractSchedule::Pack::kPhase, ContractSchedule::Pack::kTask}) {
        schedule.pack_a = pack;
        if (pack == ContractSchedule::Pack::kTask) schedule.kc = 2 * cpu.vector_bytes() / 4;  // several parts of k
        if (!Validate(schedule, plan, cpu).empty()) continue;
        ++products;
        TestKernel kernel(GenerateCpp(plan, schedule, cpu), cpu);
        kernel.Run(&got);
        kernel.Run(&again, 3, true);
        for (size_t i = 0; i < want.size(); ++i) {
          if (!plan.args[i].written) continue;
          const std::string what = fmt::format("{} {} {} arg {}", fragment.name, plan.nodes[0], ToString(schedule), i);
          ExpectClose(got[i], want[i], 2e-2, what);
          EXPECT_TRUE(again[i].SameBytes(got[i])) << what << ": other bits in pieces";
        }
      }
    }
  }
  EXPECT_GE(products, 3);
}

// Every source compiles for AVX-512 with the instruction, wherever the test runs.
TEST_P(ContractPairs, CompileForAvx512Bf16) {
  CpuTarget cpu;
  cpu.features = {"avx", "avx2", "avx512bf16", "avx512bw", "avx512dq", "avx512f", "avx512vl", "bmi", "bmi2", "f16c", "fma"};
  const auto compiler = MakeClangCompiler(cpu);
  int pairs = 0;
  for (const KernelPlan& plan : ProgramOf(GetParam()).kernels) {
    if (plan.skeleton != Skeleton::kContract) continue;
    const Schedule schedule = DefaultSchedule(plan, cpu);
    compiler->Compile(GenerateCpp(plan, schedule, cpu), "pairs");
    pairs += std::get<ContractSchedule>(schedule).pairs;
  }
  EXPECT_GE(pairs, 3);
}

INSTANTIATE_TEST_SUITE_P(Graphs, ContractPairs, ::testing::ValuesIn(kFragments),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace athanor::testing
