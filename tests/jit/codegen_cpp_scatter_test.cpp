#include <gtest/gtest.h>

#include "tests/jit/kernel_runner.h"
#include "tests/jit/plan_builder.h"

namespace athanor::testing {
namespace {

struct Case {
  int64_t rows, columns, table_rows;
  DType dtype = DType::kF32, index_dtype = DType::kI64;
};

void Check(const Case& c, const CpuTarget& cpu, const ScatterSchedule& schedule) {
  ScatterPlan scatter{
      .rows = c.rows, .columns = c.columns, .table_rows = c.table_rows, .dtype = c.dtype, .index_dtype = c.index_dtype};
  scatter.source = {0, Layout(3, {{{c.rows, c.columns + 5}}, {{c.columns, 1}}})};
  scatter.index = {1, Layout::Contiguous({c.rows})};
  scatter.out = {2, Layout::Contiguous({c.table_rows, c.columns})};
  KernelPlan plan{.skeleton = Skeleton::kScatter, .detail = scatter, .nodes = {"test"}};
  std::mt19937 random(7);
  std::vector<Memory> memories;
  const std::pair<DType, int64_t> args[] = {
      {c.dtype, c.rows * (c.columns + 5) + 3}, {c.index_dtype, c.rows}, {c.dtype, c.table_rows * c.columns}};
  for (auto [dtype, elements] : args) {
    plan.args.push_back({.dtype = dtype, .written = plan.args.size() == 2, .elements = elements});
    memories.emplace_back(dtype, elements);
    memories.back().Fill(&random, 0, dtype == c.index_dtype ? static_cast<double>(c.table_rows) : 1);
  }
  std::vector<double> want(c.table_rows * c.columns, 0);
  for (int64_t s = 0; s < c.rows; ++s) {
    for (int64_t j = 0; j < c.columns; ++j)
      want[static_cast<int64_t>(memories[1].Get(s)) * c.columns + j] += memories[0].Get(3 + s * (c.columns + 5) + j);
  }
  TestKernel kernel(GenerateCpp(plan, schedule, cpu), cpu);
  std::vector<Memory> got = memories, again = memories;
  kernel.Run(&got);
  kernel.Run(&again, 5, true);
  EXPECT_TRUE(again[2].SameBytes(got[2]));
  for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[2].Get(i), want[i], 1e-4) << i;
}

TEST(CodegenCppScatter, SumsOfRows) {
  for (const CpuTarget& cpu : Targets()) {
    for (const ScatterSchedule& schedule : {ScatterSchedule{}, ScatterSchedule{.column_block = 16}}) {
      Check({.rows = 50, .columns = 70, .table_rows = 9}, cpu, schedule);
      Check({.rows = 1, .columns = 3, .table_rows = 4}, cpu, schedule);
      Check({.rows = 0, .columns = 40, .table_rows = 4}, cpu, schedule);
      Check({.rows = 33, .columns = 64, .table_rows = 5, .dtype = DType::kF64, .index_dtype = DType::kI32}, cpu, schedule);
    }
  }
}

}  // namespace
}  // namespace athanor::testing
