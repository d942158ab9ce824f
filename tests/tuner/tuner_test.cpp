#include "tuner/tuner.h"

#include <gtest/gtest.h>

#include <chrono>
#include <stdexcept>

#include "jit/plan_builder.h"
#include "ops/decompose.h"
#include "ops/graph.h"
#include "tuner/search_space.h"

namespace athanor {
namespace {

KernelPlan Product(int64_t m, int64_t n, int64_t k) {
  Graph graph("product");
  const ValueId a = graph.AddInput("a", {DType::kF32, {m, k}}), b = graph.AddInput("b", {DType::kF32, {k, n}});
  graph.AddOutput("c", graph.Add1("matmul", {a, b}));
  return BuildProgram(Decompose(graph)).kernels.at(0);
}

TEST(SearchSpace, HoldsValidDistinctSchedulesTheHeuristicFirst) {
  for (const CpuTarget& cpu : {DetectCpu(), Restrict(DetectCpu(), Isa::kAvx2)}) {
    const KernelPlan plan = Product(100, 70, 90);
    const std::vector<Schedule> space = SearchSpace(plan, cpu);
    EXPECT_EQ(space.at(0), DefaultSchedule(plan, cpu));
    EXPECT_GT(space.size(), 5u);
    for (size_t i = 0; i < space.size(); ++i) {
      EXPECT_EQ(Validate(space[i], plan, cpu), "") << ToString(space[i]);
      for (size_t j = 0; j < i; ++j) EXPECT_NE(space[i], space[j]);
    }
    EXPECT_EQ(space, SearchSpace(plan, cpu));
  }
}

TEST(Tuner, EveryCandidateGivesTheIncumbentsResult) {
  for (const CpuTarget& cpu : {DetectCpu(), Restrict(DetectCpu(), Isa::kAvx2)}) {
    const KernelPlan plan = Product(65, 70, 130);
    const TuneResult result = Tune(plan, SearchSpace(plan, cpu), cpu, *MakeClangCompiler(cpu), 4, GenerateCpp);
    EXPECT_TRUE(result.quarantined.empty()) << result.quarantined.front();
    EXPECT_GT(result.measured, 3);
  }
}

// One schedule is far worse than the other: the choice does not depend on noise.
TEST(Tuner, TwoRunsChooseTheSame) {
  const CpuTarget cpu = DetectCpu();
  const KernelPlan plan = Product(256, 256, 256);
  ContractSchedule slow = std::get<ContractSchedule>(DefaultSchedule(plan, cpu));
  const ContractSchedule fast = slow;
  slow.mr = 1, slow.nv = 1, slow.nc = 4 * cpu.vector_bytes() / 4;
  const auto compiler = MakeClangCompiler(cpu);
  for (int run = 0; run < 2; ++run) {
    EXPECT_EQ(Tune(plan, {slow, fast}, cpu, *compiler, 5, GenerateCpp).best, Schedule(fast));
    EXPECT_EQ(Tune(plan, {fast, slow}, cpu, *compiler, 5, GenerateCpp).best, Schedule(fast));
  }
}

TEST(Tuner, QuarantinesWrongAndBrokenCandidates) {
  const CpuTarget cpu = DetectCpu();
  const KernelPlan plan = Product(64, 64, 64), other = Product(64, 64, 64);
  const std::vector<Schedule> space = SearchSpace(plan, cpu);
  ASSERT_GE(space.size(), 4u);
  const Generator sabotage = [&](const KernelPlan& p, const Schedule& schedule, const CpuTarget& target) {
    KernelSource source = GenerateCpp(p, schedule, target);
    if (schedule == space[1]) source.text += "nowhere();\n";
    if (schedule == space[2]) source.phases.back().tasks = 0;
    if (schedule == space[3]) {                              // a NaN behind the last task of the first row, right values elsewhere
      source.text.insert(source.text.rfind("}\n"), "  if (begin == 0) *(float*)args[0] = __builtin_nanf(\"\");\n");
    }
    return source;
  };
  const TuneResult result = Tune(plan, {space[0], space[1], space[2], space[3]}, cpu, *MakeClangCompiler(cpu), 5, sabotage);
  EXPECT_EQ(result.quarantined.size(), 3u);
  EXPECT_EQ(result.best, space[0]);
}

// At the start of what the last phase calls.
void InsertStatement(KernelSource* source, const std::string& statement) {
  const size_t at = source->text.find('{', source->text.rfind(source->phases.back().symbol + "(char* const* args"));
  ASSERT_NE(at, std::string::npos);
  source->text.insert(at + 1, statement);
}

TEST(Tuner, SurvivesCandidatesThatCrashHangOrThrow) {
  const CpuTarget cpu = DetectCpu();
  const KernelPlan plan = Product(64, 64, 64);
  const std::vector<Schedule> space = SearchSpace(plan, cpu);
  ASSERT_GE(space.size(), 7u);
  const Generator sabotage = [&](const KernelPlan& p, const Schedule& schedule, const CpuTarget& target) {
    KernelSource source = GenerateCpp(p, schedule, target);
    if (schedule == space[1]) InsertStatement(&source, " *reinterpret_cast<volatile int*>(8) = 1; ");
    if (schedule == space[2]) InsertStatement(&source, " for (volatile int forever = 1; forever;) {} ");
    if (schedule == space[3]) InsertStatement(&source, " __builtin_trap(); ");
    if (schedule == space[4]) throw std::runtime_error("no idea");
    if (schedule == space[5]) throw 5;
    return source;
  };
  const TuneResult result = Tune(plan, {space.begin(), space.begin() + 7}, cpu, *MakeClangCompiler(cpu), 60, sabotage);
  ASSERT_EQ(result.quarantined.size(), 5u);
  const char* why[] = {": crashed: Segmentation fault", ": hung: ", ": crashed: Illegal instruction", ": no idea", ": threw something"};
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(result.quarantined[i].starts_with(ToString(space[i + 1]) + why[i])) << result.quarantined[i];
  }
  EXPECT_EQ(result.measured, 2);
  EXPECT_TRUE(result.best == space[0] || result.best == space[6]);
}

TEST(Tuner, AHeuristicScheduleThatCrashesIsReportedAndNothingIsTuned) {
  const CpuTarget cpu = DetectCpu();
  const KernelPlan plan = Product(64, 64, 64);
  const Generator sabotage = [&](const KernelPlan& p, const Schedule& schedule, const CpuTarget& target) {
    KernelSource source = GenerateCpp(p, schedule, target);
    InsertStatement(&source, " __builtin_trap(); ");
    return source;
  };
  const TuneResult result = Tune(plan, SearchSpace(plan, cpu), cpu, *MakeClangCompiler(cpu), 5, sabotage);
  EXPECT_EQ(result.measured, 0);
  EXPECT_EQ(result.quarantined.size(), 1u);
  EXPECT_EQ(result.best, DefaultSchedule(plan, cpu));
}

// A candidate that does nothing leaves zeros, which are wrong in every dtype.
TEST(Tuner, ChecksResultsOfEveryDType) {
  const CpuTarget cpu = DetectCpu();
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16, DType::kF64, DType::kI32, DType::kU8}) {
    Graph graph("sum");
    const ValueId a = graph.AddInput("a", {dtype, {333}}), b = graph.AddInput("b", {DType::kF32, {333}});
    const Attrs to = {{"dtype", std::string(Name(dtype))}};
    graph.AddOutput("c", graph.Add1("add", {a, graph.Add1("cast", {graph.Add1("exp", {b})}, to)}));
    const KernelPlan plan = BuildProgram(Decompose(graph)).kernels.at(0);
    const std::vector<Schedule> space = SearchSpace(plan, cpu);
    ASSERT_GE(space.size(), 2u);
    const Generator idle = [&](const KernelPlan& p, const Schedule& schedule, const CpuTarget& target) {
      KernelSource source = GenerateCpp(p, schedule, target);
      if (schedule == space[1]) source.phases.back().tasks = 0;
      return source;
    };
    const TuneResult result = Tune(plan, space, cpu, *MakeClangCompiler(cpu), 20, idle);
    ASSERT_EQ(result.quarantined.size(), 1u) << Name(dtype);
    EXPECT_TRUE(result.quarantined[0].starts_with(ToString(space[1]) + ": wrong: ")) << result.quarantined[0];
  }
}

TEST(Tuner, TimesWithTheGivenWorkers) {
  const CpuTarget cpu = DetectCpu();
  const KernelPlan plan = Product(128, 128, 64);
  int loops = 0;
  TuneWorkers workers{3, [&](int64_t tasks, TuneWorkers::TaskFn* run, void* context) {
    ++loops;
    for (int64_t task = 0; task < tasks; ++task) run(context, task, task + 1, static_cast<int>(task % 3));
  }};
  const TuneResult result = Tune(plan, SearchSpace(plan, cpu), cpu, *MakeClangCompiler(cpu), 1, GenerateCpp, workers);
  EXPECT_TRUE(result.quarantined.empty());
  EXPECT_GE(loops, 4 * (result.measured - 1));
}

TEST(Tuner, KeepsToItsBudget) {
  const CpuTarget cpu = DetectCpu();
  const KernelPlan plan = Product(64, 64, 64);
  const TuneResult result = Tune(plan, SearchSpace(plan, cpu), cpu, *MakeClangCompiler(cpu), 0, GenerateCpp);
  EXPECT_EQ(result.measured, 1);
  EXPECT_EQ(result.best, DefaultSchedule(plan, cpu));
}

}  // namespace
}  // namespace athanor
