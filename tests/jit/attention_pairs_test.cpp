// Attention whose products take bf16 in pairs against the same in f32, and with values in blocks of keys against all at once: odd sizes, bands, masks,
// dropout, groups and lengths.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "jit/attention_writer.h"
#include "jit/plan_builder.h"
#include "ops/decompose.h"
#include "ops/fragment.h"
#include "ops/gradient.h"
#include "tests/jit/kernel_runner.h"

namespace athanor::testing {
namespace {

struct Case {
  std::string name;
  int heads = 1, kv_heads = 1, lq = 1, lk = 1, d = 1, dv = 1;
  std::string attrs = {};
  std::string mask = {};  // its dtype, if there is one
  bool ragged = false;
  double dropout = 0;
};

const Case kCases[] = {
    {"even", 2, 2, 32, 48, 16, 32},
    {"odd", 2, 2, 37, 41, 13, 27},
    {"wide", 1, 1, 19, 23, 150, 97},
    {"few", 1, 1, 5, 1, 1, 1},
    {"causal", 2, 2, 150, 150, 20, 12, R"(, "is_causal": true)"},
    {"sliding", 1, 1, 150, 131, 16, 16, R"(, "window": [20, 0])"},
    {"both_sides", 1, 1, 70, 90, 16, 16, R"(, "window": [9, 17])"},
    {"diagonal", 1, 1, 70, 90, 16, 16, R"(, "window": [0, 0])"},
    {"beyond", 1, 1, 90, 31, 8, 8, R"(, "window": [3, 2])"},
    {"groups", 6, 2, 33, 65, 16, 20, R"(, "is_causal": true)"},
    {"lengths", 4, 2, 60, 75, 16, 16, R"(, "window": [7, 0])", "", true},
    {"lengths_alone", 2, 2, 30, 45, 9, 16, "", "", true},
    {"mask", 2, 2, 33, 71, 16, 16, R"(, "scale": -0.5)", "bool"},
    {"mask_gradient", 2, 1, 33, 71, 16, 16, R"(, "window": [30, 3])", "bf16"},
    {"dropout", 2, 2, 37, 41, 16, 16, "", "", false, 0.3},
    {"dropout_window", 2, 2, 60, 150, 8, 8, R"(, "window": [9, 3])", "", true, 0.4},
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::vector<KernelPlan> PlansOf(const Case& c, const std::string& dtype = "bf16") {
  std::string inputs;
  auto input = [&](const char* name, const std::string& type, const std::string& shape) {
    const bool differentiable = type != "bool" && type != "i64";
    inputs += fmt::format(R"({}{{"name": "{}", "dtype": "{}", "shape": [{}]{}}})", inputs.empty() ? "" : ", ", name, type, shape,
                          differentiable ? R"(, "grad": true)" : "");
  };
  input("q", dtype, fmt::format("2, {}, {}, {}", c.heads, c.lq, c.d));
  input("k", dtype, fmt::format("2, {}, {}, {}", c.kv_heads, c.lk, c.d));
  input("v", dtype, fmt::format("2, {}, {}, {}", c.kv_heads, c.lk, c.dv));
  if (!c.mask.empty()) input("mask", c.mask, fmt::format("{}, {}", c.lq, c.lk));
  if (c.ragged) input("lengths", "i64", "2");
  if (c.dropout > 0) input("seed", "i64", ""), input("offset", "i64", "");
  const std::string text = fmt::format(
      R"({{"format": "athanor.fragment/1", "name": "attention", "inputs": [{}], "nodes": [{{"op": "scaled_dot_product_attention",
          "inputs": ["q", "k", "v", {}, {}{}], "outputs": ["y"], "attrs": {{"enable_gqa": {}, "dropout_p": {}{}}}}}], "outputs": ["y"]}})",
      inputs, c.mask.empty() ? "null" : R"("mask")", c.ragged ? R"("lengths")" : "null", c.dropout > 0 ? R"(, "seed", "offset")" : "",
      c.heads != c.kv_heads, c.dropout, c.attrs);
  std::vector<KernelPlan> plans = BuildProgram(Decompose(Gradient(ReadFragment(text, "test")))).kernels;
  std::erase_if(plans, [](const KernelPlan& plan) { return plan.skeleton != Skeleton::kAttention; });
  return plans;
}

std::vector<Memory> ArgumentsOf(const KernelPlan& plan) {
  const AttentionPlan& attention = std::get<AttentionPlan>(plan.detail);
  std::mt19937 random(3);
  std::vector<Memory> args;
  for (const KernelArg& arg : plan.args) {
    args.emplace_back(arg.dtype, arg.elements);
    args.back().Fill(&random, -1, 1);
  }
  if (attention.backward) args[attention.lse.arg].Fill(&random, 1, 2);
  if (attention.lengths.arg >= 0) {
    args[attention.lengths.arg].Set(0, static_cast<double>(attention.lk / 2));
    args[attention.lengths.arg].Set(1, static_cast<double>(attention.lk - 2));
  }
  return args;
}

class AttentionPairs : public ::testing::TestWithParam<Case> {};

TEST_P(AttentionPairs, EqualF32) {
  for (const CpuTarget& cpu : Targets()) {
    CpuTarget without = cpu;
    std::erase(without.features, "avx512bf16");
    for (const KernelPlan& plan : PlansOf(GetParam())) {
      std::vector<Memory> want = ArgumentsOf(plan);
      TestKernel(GenerateCpp(plan, DefaultSchedule(plan, without), cpu), cpu).Run(&want);
      for (bool instruction : {true, false}) {
        if (instruction && (cpu.isa != Isa::kAvx512 || !cpu.Has("avx512bf16"))) continue;
        const CpuTarget& target = instruction ? cpu : without;
        for (int64_t block : {128, 26}) {
          AttentionSchedule schedule = std::get<AttentionSchedule>(DefaultSchedule(plan, target));
          if (block != 128 && block >= std::max(schedule.block_q, schedule.block_k)) continue;
          schedule.block_q = std::min(schedule.block_q, block), schedule.block_k = std::min(schedule.block_k, block);
          schedule.pairs = true;
          const std::string what = fmt::format("{} {} {} {}", Name(cpu.isa), plan.nodes[0], ToString(schedule),
                                               instruction ? "instruction" : "spelled out");
          ASSERT_EQ(Validate(schedule, plan, target), "") << what;
          std::vector<Memory> got = ArgumentsOf(plan), again = got;
          TestKernel kernel(GenerateCpp(plan, schedule, target), cpu);
          kernel.Run(&got);
          kernel.Run(&again, 3, true);
          for (size_t i = 0; i < want.size(); ++i) {
            if (!plan.args[i].written) continue;
            ExpectClose(got[i], want[i], 1.2e-2, fmt::format("{} arg {}", what, i));
            EXPECT_TRUE(again[i].SameBytes(got[i])) << what << " arg " << i << ": other bits in pieces";
          }
        }
      }
    }
  }
}

TEST_P(AttentionPairs, ValuesInBlocksOfKeys) {
  Case c = GetParam();
  if (!c.mask.empty() && c.mask != "bool") c.mask = "f32";
  for (const CpuTarget& cpu : Targets()) {
    for (const KernelPlan& plan : PlansOf(c, "f32")) {
      const AttentionPlan& attention = std::get<AttentionPlan>(plan.detail);
      if (attention.backward || IsDecode(attention)) continue;
      AttentionSchedule schedule = std::get<AttentionSchedule>(DefaultSchedule(plan, cpu));
      schedule.block_k = std::max<int64_t>(attention.lk, 1);
      std::vector<Memory> want = ArgumentsOf(plan);
      TestKernel(GenerateCpp(plan, schedule, cpu), cpu).Run(&want);
      for (int64_t block : {1, 26, 64}) {
        if (block >= attention.lk) continue;
        schedule.block_k = block;
        ASSERT_EQ(Validate(schedule, plan, cpu), "");
        std::vector<Memory> got = ArgumentsOf(plan);
        TestKernel(GenerateCpp(plan, schedule, cpu), cpu).Run(&got);
        for (size_t i = 0; i < want.size(); ++i) {
          if (plan.args[i].written) ExpectClose(got[i], want[i], 1e-5, fmt::format("{} {} arg {}", Name(cpu.isa), ToString(schedule), i));
        }
      }
    }
  }
}

// Every source compiles for AVX-512 with the instruction, wherever the test runs.
TEST_P(AttentionPairs, CompilesForAvx512Bf16) {
  CpuTarget cpu;
  cpu.features = {"avx", "avx2", "avx512bf16", "avx512bw", "avx512dq", "avx512f", "avx512vl", "bmi", "bmi2", "f16c", "fma"};
  const auto compiler = MakeClangCompiler(cpu);
  for (const KernelPlan& plan : PlansOf(GetParam())) {
    const Schedule schedule = DefaultSchedule(plan, cpu);
    EXPECT_TRUE(std::get<AttentionSchedule>(schedule).pairs);
    compiler->Compile(GenerateCpp(plan, schedule, cpu), "pairs");
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, AttentionPairs, ::testing::ValuesIn(kCases), [](const auto& info) { return info.param.name; });

TEST(AttentionPairsSchedule, IsForBf16) {
  CpuTarget cpu;
  cpu.features = {"avx512bf16"};
  auto reason = [&](const KernelPlan& plan, int64_t block_k = 2) {
    AttentionSchedule schedule = std::get<AttentionSchedule>(DefaultSchedule(plan, cpu));
    schedule.pairs = true, schedule.block_k = block_k;
    return Validate(schedule, plan, cpu);
  };
  const Case c{"", 1, 1, 9, 9, 4, 4};
  for (const KernelPlan& plan : PlansOf(c)) {
    EXPECT_EQ(reason(plan), "");
    EXPECT_TRUE(std::get<AttentionSchedule>(DefaultSchedule(plan, cpu)).pairs);
    EXPECT_FALSE(std::get<AttentionSchedule>(DefaultSchedule(plan, CpuTarget{})).pairs);
    EXPECT_EQ(reason(plan, 3).empty(), !std::get<AttentionPlan>(plan.detail).backward);
    EXPECT_EQ(reason(plan, 9), "");
  }
  for (const char* dtype : {"f32", "f16"}) {
    for (const KernelPlan& plan : PlansOf(c, dtype)) {
      EXPECT_NE(reason(plan), "");
      EXPECT_FALSE(std::get<AttentionSchedule>(DefaultSchedule(plan, cpu)).pairs);
    }
  }
  for (const Case& other : {Case{"", 1, 1, 9, 9, 4, 4, R"(, "scale": -1)"}, Case{"", 1, 1, 1, 9, 4, 4}}) {
    EXPECT_NE(reason(PlansOf(other)[0]), "") << "queries times a factor, and a decoder's";
  }
}

}  // namespace
}  // namespace athanor::testing
