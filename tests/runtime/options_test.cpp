#include "runtime/options.h"

#include <gmock/gmock.h>

#include "ops/error.h"

namespace athanor {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

Options Read(const std::vector<std::pair<std::string, std::string>>& variables) {
  return Options::FromVariables(variables, [](const std::string& warning) { ADD_FAILURE() << warning; });
}

TEST(Options, EveryVariable) {
  const Options o = Read({{"ATHANOR_CACHE_DIR", "/c"}, {"ATHANOR_TUNE", "first"}, {"ATHANOR_TUNE_BUDGET", "2.5"}, {"ATHANOR_THREADS", "3"},
                          {"ATHANOR_LOG", "debug"}, {"ATHANOR_DUMP", "/d"}, {"ATHANOR_NO_JIT", "1"}, {"ATHANOR_NVRTC", "/n.so"},
                          {"ATHANOR_ISA", "avx2"}, {"ATHANOR_PERF_MAP", "1"}, {"PATH", "/bin"}});
  EXPECT_EQ(o.cache_directory, "/c");
  EXPECT_EQ(o.tune, TuneMode::kFirst);
  EXPECT_EQ(o.tune_budget_seconds, 2.5);
  EXPECT_EQ(o.threads, 3);
  EXPECT_EQ(o.log_level, "debug");
  EXPECT_EQ(o.dump_directory, "/d");
  EXPECT_TRUE(o.no_jit);
  EXPECT_EQ(o.nvrtc_library, "/n.so");
  EXPECT_EQ(o.isa, Isa::kAvx2);
  EXPECT_TRUE(o.perf_map);
  EXPECT_EQ(Read({{"ATHANOR_TUNE", "off"}}).tune, TuneMode::kOff);
  EXPECT_EQ(Read({{"ATHANOR_TUNE", "cached"}}).tune, TuneMode::kCached);
  EXPECT_EQ(Read({{"ATHANOR_ISA", "avx512"}}).isa, Isa::kAvx512);
}

TEST(Options, Defaults) {
  const Options o = Read({});
  EXPECT_EQ(o.tune, TuneMode::kOff);
  EXPECT_EQ(o.threads, 0);
  EXPECT_EQ(o.isa, std::nullopt);
  EXPECT_FALSE(o.no_jit);
}

TEST(Options, BadValuesNameVariableValueAndWhatWasExpected) {
  const auto refused = [](const std::string& name, const std::string& value, const std::string& expected) {
    const std::string message = "environment variable " + name + ": '" + value + "' given, " + expected + " expected";
    EXPECT_THAT([&] { Read({{name, value}}); }, ThrowsMessage<Error>(message));
  };
  for (const char* value : {"", "0", "-1", "1025", "2x", " 2", "99999999999999999999"}) {
    refused("ATHANOR_THREADS", value, "a number of threads from 1 to 1024");
  }
  for (const char* value : {"", "-1", "nan", "inf", "1e7", "5s"}) refused("ATHANOR_TUNE_BUDGET", value, "seconds from 0 to 1000000");
  refused("ATHANOR_TUNE", "on", "one of cached, first, off");
  refused("ATHANOR_LOG", "loud", "one of debug, error, info, off, trace, warn");
  refused("ATHANOR_NO_JIT", "yes", "one of 0, 1");
  refused("ATHANOR_PERF_MAP", "", "one of 0, 1");
  refused("ATHANOR_ISA", "sse", "one of avx2, avx512");
}

TEST(Options, UnknownVariablesAreWarnedOf) {
  std::vector<std::string> warnings;
  Options::FromVariables({{"ATHANOR_THREAD", "2"}, {"OTHER", "x"}}, [&](const std::string& warning) { warnings.push_back(warning); });
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("ATHANOR_THREAD is not known")));
}

}  // namespace
}  // namespace athanor
