#include "jit/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "jit/kernel_source.h"
#include "ops/error.h"
#include "tests/jit/plan_builder.h"

namespace athanor::testing {
namespace {

using ::testing::HasSubstr;

TEST(Schedule, TextAndBack) {
  const Schedule schedules[] = {LoopSchedule{.task_elements = 12345, .unroll = 4, .streaming = true, .row_chunks = 7},
                                ContractSchedule{.mr = 14, .nv = 2, .pack_a = ContractSchedule::Pack::kTask, .maker = ContractSchedule::Maker::kAsmjit},
                                AttentionSchedule{.block_q = 32, .block_k = 128}, ScatterSchedule{.column_block = 48}, WinogradSchedule{.tile = 2, .kc = 16, .streaming = true},
                                WinogradSchedule{.weights = ContractSchedule::Pack::kTask}};
  for (const Schedule& schedule : schedules) EXPECT_EQ(ParseSchedule(ToString(schedule)), schedule) << ToString(schedule);
  EXPECT_EQ(ToString(LoopSchedule{}), "loop task=32768 unroll=1 streaming=0 row_chunks=16");
}

TEST(Schedule, AnythingElseIsAnError) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "unknown kind"},
      {"loops task=1", "unknown kind"},
      {"scatter", "'column_block' is missing"},
      {"scatter column_block", "not name=value"},
      {"scatter column_block=x", "cannot be 'x'"},
      {"scatter column_block=64 column_block=64", "given twice"},
      {"scatter column_block=064", "cannot be '064'"},
      {"scatter column_block=64 more=1", "2 fields given"},
      {"scatter column_block=99999999999999999999", "cannot be"},
      {"loop task=1 unroll=1 streaming=2 row_chunks=1", "'streaming' cannot be '2'"}};
  for (const auto& [text, message] : cases) {
    try {
      ParseSchedule(text);
      ADD_FAILURE() << "accepted '" << text << "'";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(message));
    }
  }
}

TEST(Schedule, ValidatedAgainstThePlan) {
  PlanBuilder b({8, 16});
  b.Store(b.Load(DType::kF32, b.Contiguous()), b.Contiguous());
  const KernelPlan plan = b.Plan(Skeleton::kPointwise);
  const CpuTarget cpu;
  EXPECT_EQ(Validate(DefaultSchedule(plan, cpu), plan, cpu), "");
  EXPECT_THAT(Validate(ScatterSchedule{}, plan, cpu), HasSubstr("scatter schedule cannot carry out a pointwise plan"));
  EXPECT_THAT(Validate(LoopSchedule{.task_elements = 0}, plan, cpu), HasSubstr("task of 0 elements"));
  EXPECT_THAT(Validate(LoopSchedule{.unroll = 0}, plan, cpu), HasSubstr("unroll of 0"));
  EXPECT_THROW(GenerateCpp(plan, LoopSchedule{.unroll = 0}, cpu), InternalError);
}

// Results past the caches are written around them; small ones are left where the next kernel finds them.
TEST(Schedule, StreamsOnlyLargeResults) {
  const CpuTarget cpu;
  for (int64_t n : {int64_t{1} << 10, int64_t{1} << 24}) {
    KernelPlan plan{.skeleton = Skeleton::kPointwise, .args = {{.written = false}, {.written = true}}};
    LoopPlan loop{.body = {.extents = {n}}};
    loop.body.operands = {{.arg = 0, .map = Layout::Contiguous({n})}};
    loop.body.exprs = {{.kind = Expr::Kind::kLoad, .operand = 0}};
    loop.body.stores = {{.expr = 0, .operand = {.arg = 1, .map = Layout::Contiguous({n})}}};
    plan.detail = loop;
    EXPECT_EQ(std::get<LoopSchedule>(DefaultSchedule(plan, cpu)).streaming, n > 1 << 20);
  }
}

// A transpose, and three results at once, fill many lines in turns: that streams only where a vector is a whole line.
TEST(Schedule, HalfLinesOfManyRowsDoNotStream) {
  const auto streams = [](const Body& body, size_t args, Isa isa) {
    KernelPlan plan{.skeleton = Skeleton::kPointwise, .args = {{.written = false}}};
    plan.args.resize(args, {.written = true});
    plan.detail = LoopPlan{.body = body};
    CpuTarget cpu;
    cpu.isa = isa;
    return std::get<LoopSchedule>(DefaultSchedule(plan, cpu)).streaming;
  };
  const int64_t n = 1 << 12;
  Body transpose{.extents = {n, n}};
  transpose.operands = {{.arg = 0, .map = Layout::Contiguous({n, n}).Permute({1, 0})}};
  transpose.exprs = {{.kind = Expr::Kind::kLoad, .operand = 0}};
  transpose.stores = {{.expr = 0, .operand = {.arg = 1, .map = Layout::Contiguous({n, n})}}};
  EXPECT_TRUE(streams(transpose, 2, Isa::kAvx512));
  EXPECT_FALSE(streams(transpose, 2, Isa::kAvx2));

  for (int results : {2, 3}) {
    Body copies{.extents = {n * n}};
    copies.operands = {{.arg = 0, .map = Layout::Contiguous({n * n})}};
    copies.exprs = {{.kind = Expr::Kind::kLoad, .operand = 0}};
    for (int i = 1; i <= results; ++i) copies.stores.push_back({.expr = 0, .operand = {.arg = i, .map = Layout::Contiguous({n * n})}});
    EXPECT_TRUE(streams(copies, 1 + results, Isa::kAvx512));
    EXPECT_EQ(streams(copies, 1 + results, Isa::kAvx2), results == 2);
  }
}

}  // namespace
}  // namespace athanor::testing
