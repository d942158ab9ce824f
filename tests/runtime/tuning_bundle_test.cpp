#include "runtime/tuning_bundle.h"

#include <gmock/gmock.h>

#include "jit/schedule.h"
#include "ops/error.h"
#include "runtime/schedules.h"
#include "tests/cache/temporary_directory.h"

namespace athanor {
namespace {

using testing::HasSubstr;
using testing::SizeIs;
using testing::StartsWith;

CacheKey Key(const std::string& space = std::string(kScheduleSpace), char digit = '0') {
  CacheKey key("schedule");
  key.Add("space", space)
      .Add("isa", "avx2")
      .Add("cpu", "Some CPU @ 3 GHz")
      .Add("caches", "32768 1048576 33554432")
      .Add("threads", "2");
  key.Add("plan", std::string(32, digit));
  return key;
}

std::span<const std::byte> Bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

std::string ErrorOf(const std::string& text) {
  try {
    ReadTuningBundle(text, "bundle");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

class TuningBundleTest : public testing::Test {
 protected:
  std::unique_ptr<Cache> Open(const std::string& name) {
    return Cache::Open(directory_ / name, [](const std::string& text) { ADD_FAILURE() << text; });
  }
  TemporaryDirectory directory_;
  const std::string schedule_ = ToString(LoopSchedule{.unroll = 4}), earlier_ = ToString(LoopSchedule{.unroll = 2});
  const std::string good_ = WriteTuningBundle({{Key(), schedule_}});
};

TEST_F(TuningBundleTest, TravelsFromCacheToCache) {
  auto from = Open("from"), into = Open("into");
  from->Put(Key(), Bytes(schedule_));
  from->Put(Key(std::string(kScheduleSpace), '1'), Bytes(earlier_));
  from->Put(Key("0"), Bytes(schedule_));  // of an old search space
  from->Put(Key(std::string(kScheduleSpace), '2'), Bytes("no schedule"));
  from->Put(CacheKey("binary").Add("source", "s"), Bytes("machine code"));
  const std::string text = WriteTuningBundle(CollectTuning(*from));
  const std::vector<TuningRecord> records = ReadTuningBundle(text, "bundle");
  ASSERT_THAT(records, SizeIs(2));
  EXPECT_EQ(ImportTuning(records, *into).added, 2);
  EXPECT_EQ(WriteTuningBundle(CollectTuning(*into)), text);
  EXPECT_EQ(ImportTuning(records, *into).kept, 2);
}

TEST_F(TuningBundleTest, OfTwoSchedulesTheFirstInOrderIsKept) {
  auto cache = Open("cache");
  cache->Put(Key(), Bytes(schedule_));
  EXPECT_EQ(ImportTuning({{Key(), earlier_}}, *cache).replaced, 1);
  EXPECT_EQ(ImportTuning({{Key(), schedule_}}, *cache).kept, 1);
  ASSERT_THAT(CollectTuning(*cache), SizeIs(1));
  EXPECT_EQ(CollectTuning(*cache)[0].schedule, earlier_);
}

TEST_F(TuningBundleTest, RefusesWhatIsNoBundle) {
  EXPECT_EQ(ErrorOf(good_), "no error");
  EXPECT_EQ(ErrorOf(WriteTuningBundle({})), "no error");
  EXPECT_THAT(ErrorOf(""), StartsWith("bundle: JSON parse error"));
  EXPECT_THAT(ErrorOf("[]"), HasSubstr("athanor.tuning/1"));
  EXPECT_THAT(ErrorOf(R"({"format": 1, "records": []})"), HasSubstr("athanor.tuning/1"));
  EXPECT_THAT(ErrorOf(R"({"format": "athanor.tuning/1", "records": {}})"), HasSubstr("a list \"records\""));
  EXPECT_THAT(ErrorOf(R"({"format": "athanor.tuning/1", "records": [], "binaries": []})"), HasSubstr("and nothing else"));
  EXPECT_THAT(ErrorOf("ATHANOR\n\1\2\3"), HasSubstr("machine code"));
}

TEST_F(TuningBundleTest, RefusesBadRecords) {
  struct Change {
    std::string from, to, message;
  };
  const std::vector<Change> changes = {
      {"\"avx2\"", "\"sse\"", "bundle: records[0]: \"isa\": avx2 or avx512"},
      {"\"avx2\"", "2", "\"isa\": a string expected"},
      {"\"threads\":\"2\"", "\"threads\":\"02\"", "\"threads\""},
      {"\"threads\":\"2\"", "\"threads\":\"2000\"", "\"threads\""},
      {"32768 1048576 33554432", "32768 1048576", "\"caches\""},
      {"32768 1048576 33554432", "32768 1048576 1 1", "\"caches\""},
      {"32768 1048576 33554432", "32768 1048576 -1", "\"caches\""},
      {"00000000\"", "0000000G\"", "\"plan\""},
      {"Some CPU", "Some\\nCPU", "\"cpu\""},
      {"unroll=4", "unroll=four", "\"schedule\""},
      {"unroll=4", "unroll=4 ", "not written as schedules are"},
      {"unroll=4", "unroll=123456789", "digits"},
      {"\"schedule\"", "\"more\":\"\",\"schedule\"", "8 fields given"},
  };
  for (const auto& [from, to, message] : changes) EXPECT_THAT(ErrorOf(Replaced(good_, from, to)), HasSubstr(message)) << from << " -> " << to;
  EXPECT_THAT(ErrorOf(WriteTuningBundle({{Key(), schedule_}, {Key(), earlier_}})), HasSubstr("records[1]: stands twice"));
}

}  // namespace
}  // namespace athanor
