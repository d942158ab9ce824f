#include "runtime/launch_plan.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "cache/cache.h"
#include "ops/error.h"
#include "ops/fragment.h"
#include "ops/gradient.h"
#include "runtime/build_id.h"
#include "runtime/schedules.h"
#include "runtime/worker_pool.h"
#include "tests/cache/temporary_directory.h"
#include "tests/runtime/comparison.h"

namespace athanor {
namespace {

constexpr std::string_view kNetwork = R"({"format": "athanor.fragment/1", "name": "network",
  "inputs": [{"name": "x", "dtype": "f32", "shape": [40, 24], "grad": true}, {"name": "w", "dtype": "f32", "shape": [24, 24], "grad": true},
             {"name": "rows", "dtype": "i64", "shape": [5]}],
  "nodes": [{"op": "linear", "inputs": ["x", "w"], "outputs": ["a"]}, {"op": "gelu", "inputs": ["a"], "outputs": ["b"]},
            {"op": "linear", "inputs": ["b", "w"], "outputs": ["c"]}, {"op": "softmax", "inputs": ["c"], "attrs": {"dim": 1}, "outputs": ["y"]},
            {"op": "embedding", "inputs": ["rows", "y"], "outputs": ["z"]}],
  "outputs": ["y", "z"]})";

class LaunchPlanTest : public testing::Test {
 protected:
  LaunchPlanTest() { options_.cache_directory = directory_ / "cache"; }

  std::unique_ptr<Executable> Compile() { return Executable::Compile(graph_, options_, in_place_); }
  std::unique_ptr<Cache> Open() { return Cache::Open(options_.cache_directory, nullptr); }
  CacheKey Key() const { return LaunchPlanKey(graph_, in_place_, options_.fusing, DetectCpu(), options_.threads); }
  LaunchPlan Kept() {
    const auto bytes = Open()->Get(Key());
    if (!bytes) ADD_FAILURE() << "no launch plan is kept";
    return ReadLaunchPlan({reinterpret_cast<const char*>(bytes->data()), bytes->size()}, graph_.inputs().size(), graph_.outputs().size());
  }
  void Put(const CacheKey& key, const std::string& text) { ASSERT_TRUE(Open()->Put(key, std::as_bytes(std::span(text)))); }
  void RemoveBinaries() {
    for (const auto& file : std::filesystem::directory_iterator(options_.cache_directory)) {
      if (file.path().filename().string().starts_with("binary-")) std::filesystem::remove(file.path());
    }
  }

  TemporaryDirectory directory_;
  Graph graph_ = Gradient(ReadFragment(kNetwork, "network"));
  std::vector<InPlace> in_place_;
  Options options_{.threads = 2};
};

TEST_F(LaunchPlanTest, CodeHasABuildId) { EXPECT_GE(BuildId().size(), 16u); }

TEST_F(LaunchPlanTest, ASecondExecutableIsNotFused) {
  const auto first = Compile(), second = Compile();
  EXPECT_FALSE(first->report().kept_plan);
  ASSERT_TRUE(second->report().kept_plan);
  const Report &a = first->report(), &b = second->report();
  EXPECT_EQ(a.arena_bytes, b.arena_bytes);
  EXPECT_EQ(a.distinct_kernels, b.distinct_kernels);
  ASSERT_EQ(a.kernels.size(), b.kernels.size());
  for (size_t i = 0; i < a.kernels.size(); ++i) {
    EXPECT_EQ(a.kernels[i].nodes, b.kernels[i].nodes);
    EXPECT_EQ(a.kernels[i].skeleton, b.kernels[i].skeleton);
    EXPECT_EQ(a.kernels[i].schedule, b.kernels[i].schedule);
    EXPECT_EQ(a.kernels[i].flops, b.kernels[i].flops);
    EXPECT_EQ(a.kernels[i].bytes, b.kernels[i].bytes);
    EXPECT_EQ(a.kernels[i].origin, b.kernels[i].origin);
    EXPECT_EQ(a.kernels[i].launches, b.kernels[i].launches);
    EXPECT_TRUE(b.kernels[i].cached);
  }
  const std::vector<HostTensor> inputs = RandomInputs(graph_, 1);
  const auto expected = RunExecutable(*first, graph_, inputs), actual = RunExecutable(*second, graph_, inputs);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(0, std::memcmp(expected[i].data(), actual[i].data(), expected[i].elements() * SizeOf(expected[i].desc().dtype)));
  }
  ExpectEqualsReference(graph_, options_, 2);
}

TEST_F(LaunchPlanTest, WhatChangesResultsOrReportsChangesTheKey) {
  const CpuTarget cpu = DetectCpu();
  CpuTarget other = cpu;                                     // one without the last feature
  other.features.pop_back();
  std::vector<CacheKey> keys = {Key(), LaunchPlanKey(graph_, {}, Fusing::kNothing, cpu, 2), LaunchPlanKey(graph_, {}, Fusing::kAll, cpu, 1),
                                LaunchPlanKey(graph_, {{"a", "b"}}, Fusing::kAll, cpu, 2), LaunchPlanKey(graph_, {}, Fusing::kAll, other, 2)};
  const std::vector<std::pair<std::string, std::string>> edits = {
      {"\"network\"", "\"other\""}, {"[40, 24]", "[41, 24]"}, {"\"gelu\"", "\"relu\""}, {"[\"b\", \"w\"]", "[\"a\", \"w\"]"},
      {"\"outputs\": [\"y\", \"z\"]", "\"outputs\": [\"z\", \"y\"]"}, {"\"shape\": [24, 24], \"grad\": true", "\"shape\": [24, 24]"},
      {"\"dim\": 1", "\"dim\": 0"}, {"[40, 24],", "[40, 24], \"strides\": [32, 1],"}};
  for (const auto& [from, to] : edits) {
    std::string text(kNetwork);
    ASSERT_NE(text.find(from), std::string::npos) << from;
    text.replace(text.find(from), from.size(), to);
    keys.push_back(LaunchPlanKey(Gradient(ReadFragment(text, "edited")), {}, Fusing::kAll, cpu, 2));
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    for (size_t j = 0; j < i; ++j) EXPECT_NE(keys[i].text(), keys[j].text()) << i << " and " << j;
  }
  EXPECT_EQ(Key().text(), LaunchPlanKey(Gradient(ReadFragment(kNetwork, "again")), {}, Fusing::kAll, cpu, 2).text());
}

TEST_F(LaunchPlanTest, ANewlyTunedScheduleIsUsed) {
  Compile();
  const LaunchPlan::Kernel kernel = Kept().kernels.at(0);
  EXPECT_EQ(kernel.remembered, "");
  Put(ScheduleKey(kernel.structure, DetectCpu(), options_.threads), kernel.ref.schedule);
  EXPECT_FALSE(Compile()->report().kept_plan);
  EXPECT_EQ(Kept().kernels.at(0).remembered, kernel.ref.schedule);
  EXPECT_TRUE(Compile()->report().kept_plan);

  options_.tune = TuneMode::kCached;                         // the others are not known
  EXPECT_THROW(Compile(), Error);
  options_.tune = TuneMode::kFirst;
  options_.tune_budget_seconds = 0.2;
  EXPECT_FALSE(Compile()->report().kept_plan);
  options_.tune = TuneMode::kCached;
  EXPECT_TRUE(Compile()->report().kept_plan);
}

TEST_F(LaunchPlanTest, NothingIsKeptWithAScheduleThatCanNotBeUsed) {
  Compile();
  const LaunchPlan::Kernel kernel = Kept().kernels.at(0);
  Put(ScheduleKey(kernel.structure, DetectCpu(), options_.threads), "no schedule");
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(Compile()->report().kept_plan);
  EXPECT_EQ(Kept().kernels.at(0).remembered, "");            // still the first one
}

TEST_F(LaunchPlanTest, BinariesThatAreGoneAreCompiledAgain) {
  Compile();
  RemoveBinaries();
  options_.no_jit = true;
  EXPECT_THROW(Compile(), Error);
  options_.no_jit = false;
  const auto again = Compile();
  EXPECT_FALSE(again->report().kept_plan);
  EXPECT_FALSE(again->report().kernels[0].cached);
  EXPECT_TRUE(Compile()->report().kept_plan);
}

TEST_F(LaunchPlanTest, ADamagedPlanIsMadeAnew) {
  Compile();
  LaunchPlan plan = Kept();
  plan.launches[0].args[0] = {LaunchPlan::Place::kInput, 99, 0};
  for (const std::string& text : {std::string(), std::string("{}"), WriteLaunchPlan(plan)}) {
    Put(Key(), text);
    EXPECT_FALSE(Compile()->report().kept_plan) << text;
    EXPECT_TRUE(Compile()->report().kept_plan) << text;
  }
}

TEST_F(LaunchPlanTest, SourcesAreGeneratedWhereTheyAreWanted) {
  Compile();
  EXPECT_EQ(Compile()->report().kernels[0].source, "");
  options_.sources = true;
  const auto executable = Compile();
  EXPECT_FALSE(executable->report().kept_plan);
  EXPECT_TRUE(executable->report().kernels[0].source.starts_with("// "));
}

TEST_F(LaunchPlanTest, OutputsInPlace) {
  graph_ = ReadFragment(R"({"format": "athanor.fragment/1", "name": "step", "inputs": [{"name": "p", "dtype": "f32", "shape": [9]}, {"name": "g", "dtype": "f32",
    "shape": [9]}], "nodes": [{"op": "sub", "inputs": ["p", "g"], "outputs": ["q"]}], "outputs": ["q"]})", "step");
  in_place_ = {{"q", "p"}};
  Compile();
  const auto executable = Compile();
  ASSERT_TRUE(executable->report().kept_plan);
  std::vector<float> p(9, 5), g(9, 2);
  const void* inputs[] = {p.data(), g.data()};
  void* outputs[] = {p.data()};
  executable->Run(inputs, outputs);
  EXPECT_EQ(p, std::vector<float>(9, 3));
}

TEST(LaunchPlanText, RefusesWhatWasNotWritten) {
  LaunchPlan plan;
  plan.arena_bytes = 128;
  plan.kernels.push_back({{"loop_1", "00", "loop", {{"f", 3}}, {64}, 32}, "11", ""});
  plan.launches.push_back({0, {{LaunchPlan::Place::kInput, 1, 8}, {LaunchPlan::Place::kArena, 0, 64}}, {"relu"}, "pointwise", 1, 2, {4, true}});
  const std::string text = WriteLaunchPlan(plan);
  EXPECT_EQ(WriteLaunchPlan(ReadLaunchPlan(text, 2, 0)), text);
  EXPECT_THROW(ReadLaunchPlan(text, 1, 0), Error);           // there is no input 1
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"launches/1", "launches/2"}, {"\"arena\":128", "\"arena\":63"}, {"\"arena\":128", "\"arena\":-1"}, {"\"kernel\":0", "\"kernel\":1"}, {"[1,1,8]", "[7,1,8]"},
           {"\"arena\":128", "\"arena\":77777777777777777777128"}, {"\"arena\":128", "\"arena\":1.5e2"}, {"\"kernel\":0", "\"kernel\":4294967296"}, {"[64]", "[true]"},
           {"[1,1,8]", "[1,1,-8]"}, {"[1,1,8]", "[1,1]"}, {"[[\"f\",3]]", "[]"}, {"\"scratch\":32", "\"scratch\":\"32\""}, {"\"nodes\"", "\"node\""}}) {
    std::string wrong = text;
    ASSERT_NE(wrong.find(from), std::string::npos) << from << " in " << text;
    wrong.replace(wrong.find(from), from.size(), to);
    EXPECT_THROW(ReadLaunchPlan(wrong, 2, 0), Error) << wrong;
  }
}

}  // namespace
}  // namespace athanor
