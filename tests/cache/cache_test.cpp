#include "cache/cache.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <thread>

#include "cache/background_writer.h"
#include "tests/cache/temporary_directory.h"

namespace athanor {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::vector<std::byte> Bytes(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

std::string ReadFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void WriteFile(const fs::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc).write(text.data(), static_cast<std::streamsize>(text.size()));
}

class CacheTest : public testing::Test {
 protected:
  std::unique_ptr<Cache> Open() {
    return Cache::Open(directory_ / "cache", [this](const std::string& text) { warnings_.push_back(text); });
  }
  std::string OpenFault() {
    try {
      Open();
    } catch (const CacheError& error) {
      return error.what();
    }
    return "no error";
  }
  std::string PathOf(const CacheKey& key) { return directory_ / ("cache/" + key.kind() + "-" + key.digest() + ".v1"); }
  std::string AsideOf(const CacheKey& key) { return directory_ / ("cache/" + key.kind() + "-" + key.digest() + ".bad"); }

  TemporaryDirectory directory_;
  std::vector<std::string> warnings_;
  const CacheKey key_ = CacheKey("binary").Add("source", "s1").Add("isa", "avx2 fma");
};

TEST_F(CacheTest, GetReturnsWhatPutStored) {
  auto cache = Open();
  EXPECT_EQ(cache->Get(key_), std::nullopt);
  EXPECT_TRUE(cache->Put(key_, Bytes("payload")));
  EXPECT_EQ(cache->Get(key_), Bytes("payload"));
  EXPECT_EQ(Open()->Get(key_), Bytes("payload"));
  EXPECT_EQ(cache->Get(CacheKey("binary").Add("source", "s2").Add("isa", "avx2 fma")), std::nullopt);
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(CacheTest, PutReplacesAndKeepsEmptyAndLargePayloads) {
  auto cache = Open();
  EXPECT_TRUE(cache->Put(key_, {}));
  EXPECT_EQ(cache->Get(key_), Bytes(""));
  const std::string large(5'000'000, 'x');
  EXPECT_TRUE(cache->Put(key_, Bytes(large)));
  EXPECT_EQ(cache->Get(key_), Bytes(large));
}

TEST_F(CacheTest, DirectoryAndEntriesArePrivate) {
  Open()->Put(key_, Bytes("payload"));
  struct stat status;
  ASSERT_EQ(stat((directory_ / "cache").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700u);
  ASSERT_EQ(stat(PathOf(key_).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
}

TEST_F(CacheTest, CreatesMissingParents) {
  auto cache = Cache::Open(directory_ / "a/b/c", [](const std::string& text) { FAIL() << text; });
  EXPECT_TRUE(cache->Put(key_, Bytes("payload")));
  EXPECT_TRUE(fs::is_directory(directory_ / "a/b/c"));
}

TEST_F(CacheTest, EntryBytesArePinned) {
  Open()->Put(CacheKey("k"), Bytes("P"));
  const std::string expected("ATHANOR\n\1\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0kind 1\nk\nP", 42);
  const std::string found = ReadFile(PathOf(CacheKey("k")));
  ASSERT_EQ(found.size(), expected.size() + 16);
  EXPECT_EQ(found.substr(0, expected.size()), expected);
}

TEST_F(CacheTest, TruncationAtEveryLengthIsAQuarantinedMiss) {
  Open()->Put(key_, Bytes("payload"));
  const std::string whole = ReadFile(PathOf(key_));
  for (size_t size = 0; size < whole.size(); ++size) {
    WriteFile(PathOf(key_), whole.substr(0, size));
    auto cache = Open();
    ASSERT_EQ(cache->Get(key_), std::nullopt) << size;
    ASSERT_FALSE(fs::exists(PathOf(key_))) << size;
    ASSERT_EQ(ReadFile(AsideOf(key_)), whole.substr(0, size));
    ASSERT_THAT(warnings_, ElementsAre(HasSubstr("treated as a miss")));  // one in a process
    ASSERT_TRUE(cache->Put(key_, Bytes("payload")));
    ASSERT_EQ(cache->Get(key_), Bytes("payload"));
  }
}

TEST_F(CacheTest, EveryFlippedBitIsAQuarantinedMiss) {
  Open()->Put(key_, Bytes("payload"));
  const std::string whole = ReadFile(PathOf(key_));
  auto cache = Open();
  for (size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    WriteFile(PathOf(key_), flipped);
    ASSERT_EQ(cache->Get(key_), std::nullopt) << bit;
    ASSERT_FALSE(fs::exists(PathOf(key_))) << bit;
  }
  EXPECT_THAT(warnings_, SizeIs(1));                         // one for all of them
}

TEST_F(CacheTest, TrailingBytesAndForeignFilesAreMisses) {
  auto cache = Open();
  cache->Put(key_, Bytes("payload"));
  const std::string whole = ReadFile(PathOf(key_));
  const CacheKey other = CacheKey("binary").Add("source", "other");
  for (const std::string& content : {whole + "x", std::string("hello"), std::string(4096, '\0'), whole + whole}) {
    WriteFile(PathOf(key_), content);
    EXPECT_EQ(cache->Get(key_), std::nullopt);
  }
  WriteFile(PathOf(other), whole);                           // sound, but under another key's name
  chmod(PathOf(other).c_str(), 0600);
  EXPECT_EQ(cache->Get(other), std::nullopt);
  EXPECT_FALSE(fs::exists(PathOf(other)));
}

TEST_F(CacheTest, ThingsThatAreNoPrivateFilesAreMisses) {
  auto cache = Open();
  cache->Put(key_, Bytes("payload"));
  fs::rename(PathOf(key_), directory_ / "elsewhere");
  fs::create_symlink(directory_ / "elsewhere", PathOf(key_));
  EXPECT_EQ(cache->Get(key_), std::nullopt);
  EXPECT_TRUE(fs::is_symlink(AsideOf(key_)));

  ASSERT_EQ(mkfifo(PathOf(key_).c_str(), 0600), 0);
  EXPECT_EQ(cache->Get(key_), std::nullopt);                 // and does not hang
  fs::create_directory(PathOf(CacheKey("binary")));
  EXPECT_EQ(cache->Get(CacheKey("binary")), std::nullopt);

  ASSERT_TRUE(cache->Put(key_, Bytes("payload")));
  chmod(PathOf(key_).c_str(), 0666);
  EXPECT_EQ(cache->Get(key_), std::nullopt);
  ASSERT_TRUE(cache->Put(key_, Bytes("payload")));
  EXPECT_EQ(cache->Get(key_), Bytes("payload"));
}

TEST_F(CacheTest, RefusesADirectoryOthersCanWrite) {
  Open();
  for (const int mode : {0770, 0702, 0777, 01777}) {
    chmod((directory_ / "cache").c_str(), mode);
    EXPECT_THAT(OpenFault(), AllOf(HasSubstr("writable by group or others"), HasSubstr(directory_ / "cache")));
  }
  chmod((directory_ / "cache").c_str(), 0755);
  EXPECT_EQ(OpenFault(), "no error");
}

TEST_F(CacheTest, RefusesADirectoryOfAnotherUser) {
  if (geteuid() != 0) GTEST_SKIP() << "giving a directory away takes root";
  Open();
  ASSERT_EQ(chown((directory_ / "cache").c_str(), 65534, 65534), 0);
  EXPECT_THAT(OpenFault(), HasSubstr("owned by user 65534"));
}

TEST_F(CacheTest, RefusesASymbolicLinkAndAFile) {
  fs::create_directory(directory_ / "real");
  fs::create_directory_symlink(directory_ / "real", directory_ / "cache");
  EXPECT_THAT(OpenFault(), HasSubstr("a symbolic link"));
  fs::remove(directory_ / "cache");
  WriteFile(directory_ / "cache", "file");
  EXPECT_THAT(OpenFault(), HasSubstr("not a directory"));
}

TEST_F(CacheTest, AnEmptyDirectoryNameHoldsNothing) {
  auto cache = Cache::Open("", [](const std::string& text) { FAIL() << text; });
  EXPECT_FALSE(cache->Put(key_, Bytes("payload")));
  EXPECT_EQ(cache->Get(key_), std::nullopt);
  EXPECT_EQ(cache->Clear(), 0);
}

TEST_F(CacheTest, ADirectoryThatCannotBeCreatedMeansUncached) {
  auto cache = Cache::Open("/proc/athanor/cache", [this](const std::string& text) { warnings_.push_back(text); });
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("running uncached")));
  EXPECT_FALSE(cache->Put(key_, Bytes("payload")));
  EXPECT_FALSE(cache->PutAll(std::vector<Cache::NewEntry>{{key_, Bytes("1")}, {key_, Bytes("2")}}));
  EXPECT_EQ(cache->Get(key_), std::nullopt);
  EXPECT_THAT(warnings_, SizeIs(1));
}

TEST_F(CacheTest, ExplainsAMissByTheNearestEntry) {
  auto cache = Open();
  const auto explain = [&] { return ExplainMiss(key_, cache->Keys("binary")); };
  EXPECT_EQ(explain(), "no entry of kind binary");
  cache->Put(CacheKey("binary").Add("source", "s2").Add("isa", "avx512f"), Bytes("1"));
  const CacheKey near = CacheKey("binary").Add("source", "s1").Add("isa", "avx512f");
  cache->Put(near, Bytes("2"));
  cache->Put(CacheKey("schedule").Add("source", "s1").Add("isa", "avx2 fma"), Bytes("3"));
  EXPECT_EQ(explain(), fmt::format("the nearest entry is binary-{}; isa is 'avx512f' there, 'avx2 fma' here", near.digest()));
  cache->Put(key_, Bytes("4"));
  EXPECT_EQ(explain(), "the entry is there");
}

TEST_F(CacheTest, KeysAreThoseOfUsableEntriesOfAKind) {
  auto cache = Open();
  cache->Put(key_, Bytes("1"));
  cache->Put(CacheKey("schedule").Add("source", "s1"), Bytes("2"));
  EXPECT_THAT(cache->Keys("binary"), ElementsAre(key_));
  EXPECT_THAT(Cache::Open("", nullptr)->Keys("binary"), IsEmpty());
}

TEST_F(CacheTest, PutsSeveralInOrder) {
  auto cache = Open();
  const CacheKey other = CacheKey("binary").Add("source", "other");
  const std::vector<Cache::NewEntry> entries = {{key_, Bytes("1")}, {other, Bytes("2")}, {key_, Bytes("3")}};
  EXPECT_TRUE(cache->PutAll(entries));
  EXPECT_TRUE(cache->PutAll({}));
  EXPECT_EQ(cache->Get(key_), Bytes("3"));
  EXPECT_EQ(cache->Get(other), Bytes("2"));
  EXPECT_EQ(std::distance(fs::directory_iterator(cache->directory()), {}), 2);
}

TEST_F(CacheTest, PutsSeveralWithFewFilesToOpen) {
  auto cache = Open();
  std::vector<Cache::NewEntry> entries;
  for (int i = 0; i < 12; ++i) entries.push_back({CacheKey("n").Add("number", fmt::format("{}", i)), Bytes(fmt::format("{}", i))});
  const int next = dup(0);
  close(next);
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit few{static_cast<rlim_t>(next) + 5, before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &few);
  EXPECT_TRUE(cache->PutAll(entries));
  setrlimit(RLIMIT_NOFILE, &before);
  for (const Cache::NewEntry& entry : entries) EXPECT_EQ(cache->Get(entry.key), entry.payload);
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(CacheTest, WritesInTheBackgroundAreDoneWhenTheWriterIsGone) {
  auto cache = Open();
  {
    BackgroundWriter writer(cache.get());
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 8; ++i) writer.Put(CacheKey("n").Add("number", fmt::format("{}", 8 * t + i)), Bytes(fmt::format("{}", 8 * t + i)));
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  for (int i = 0; i < 32; ++i) EXPECT_EQ(cache->Get(CacheKey("n").Add("number", fmt::format("{}", i))), Bytes(fmt::format("{}", i)));
  BackgroundWriter idle(cache.get());
}

TEST_F(CacheTest, AFailureInTheBackgroundReachesWhoWaits) {
  const auto cache = Cache::Open(directory_ / "gone", [](const std::string& text) { throw std::runtime_error(text); });
  fs::remove(directory_ / "gone");
  BackgroundWriter writer(cache.get());
  writer.Put(key_, Bytes("1"));
  EXPECT_THROW(writer.Finish(), std::runtime_error);
}

TEST_F(CacheTest, AWriterOfACacheThatHoldsNothingEnds) {
  const auto cache = Cache::Open("", nullptr);
  BackgroundWriter writer(cache.get());
  writer.Put(key_, Bytes("1"));
}

TEST_F(CacheTest, ForEachShowsSoundAndUnsoundEntries) {
  auto cache = Open();
  const CacheKey bad("a");
  cache->Put(key_, Bytes("payload"));
  cache->Put(bad, Bytes("x"));
  WriteFile(PathOf(bad), "garbage");
  WriteFile(directory_ / "cache/README", "not ours");
  std::vector<Cache::Info> seen;
  cache->ForEach([&](const Cache::Info& info) { seen.push_back(info); });
  ASSERT_THAT(seen, SizeIs(2));
  EXPECT_FALSE(seen[0].entry.has_value());
  EXPECT_THAT(seen[0].fault, HasSubstr("truncated"));
  ASSERT_TRUE(seen[1].entry.has_value());
  EXPECT_EQ(seen[1].entry->key, key_);
  EXPECT_EQ(seen[1].entry->payload, Bytes("payload"));
  cache->Quarantine(seen[0].name);
  EXPECT_TRUE(fs::exists(AsideOf(bad)));
}

TEST_F(CacheTest, ClearRemovesOursAndNothingElse) {
  auto cache = Open();
  cache->Put(key_, Bytes("payload"));
  cache->Put(CacheKey("a"), Bytes("x"));
  WriteFile(AsideOf(key_), "garbage");
  WriteFile(directory_ / "cache/tmp-0123", "leftover");
  WriteFile(directory_ / "cache/README", "not ours");
  EXPECT_EQ(cache->Clear(), 4);
  EXPECT_TRUE(fs::exists(directory_ / "cache/README"));
  EXPECT_EQ(cache->Get(key_), std::nullopt);
}

// When an entry was last used, in seconds before now.
void SetAge(const std::string& path, int64_t seconds) {
  const timespec times[] = {{0, UTIME_OMIT}, {time(nullptr) - seconds, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
}

TEST_F(CacheTest, EvictRemovesWhatWasNotUsedForTheLongestTime) {
  auto cache = Open();
  std::vector<CacheKey> keys;
  for (const char* name : {"oldest", "older", "old", "new"}) keys.push_back(CacheKey("k").Add("name", std::string(name) + std::string(10 - strlen(name), ' ')));
  for (const CacheKey& key : keys) cache->Put(key, Bytes("payload"));
  const auto size = static_cast<int64_t>(fs::file_size(PathOf(keys[0])));
  for (int i = 0; i < 3; ++i) SetAge(PathOf(keys[i]), 30000 - 5000 * i);
  WriteFile(directory_ / "cache/README", "not ours");
  EXPECT_EQ(cache->Evict(4 * size).removed, 0);
  EXPECT_TRUE(cache->Get(keys[0]));                          // now it is the newest
  Cache::Eviction evicted = cache->Evict(3 * size);
  EXPECT_EQ(evicted.removed, 1);
  EXPECT_EQ(evicted.removed_bytes, size);
  EXPECT_EQ(evicted.kept, 3);
  EXPECT_FALSE(fs::exists(PathOf(keys[1])));
  // Those that were used within the hour stay, whatever the cap.
  evicted = cache->Evict(0);
  EXPECT_EQ(evicted.removed, 1);
  EXPECT_EQ(evicted.kept_bytes, 2 * size);
  EXPECT_EQ(evicted.in_use_bytes, 2 * size);
  EXPECT_FALSE(fs::exists(PathOf(keys[2])));
  EXPECT_TRUE(cache->Get(keys[0]) && cache->Get(keys[3]));
  EXPECT_TRUE(fs::exists(directory_ / "cache/README"));
}

TEST_F(CacheTest, EvictRemovesQuarantinedFilesFirst) {
  auto cache = Open();
  cache->Put(key_, Bytes("payload"));
  SetAge(PathOf(key_), 30000);
  WriteFile(AsideOf(key_), "garbage");
  EXPECT_EQ(cache->Evict(static_cast<int64_t>(fs::file_size(PathOf(key_)))).removed, 1);
  EXPECT_FALSE(fs::exists(AsideOf(key_)));
  EXPECT_TRUE(fs::exists(PathOf(key_)));
}

TEST_F(CacheTest, ReadingMarksAnEntryAsUsedButSeldomWrites) {
  auto cache = Open();
  cache->Put(key_, Bytes("payload"));
  const auto used = [&] { return cache->Find(key_.kind() + "-" + key_.digest() + ".v1")->used; };
  SetAge(PathOf(key_), 300);
  const int64_t recently = used();
  EXPECT_TRUE(cache->Get(key_));
  EXPECT_EQ(used(), recently);
  SetAge(PathOf(key_), 3000);
  EXPECT_TRUE(cache->Get(key_));
  EXPECT_GE(used(), recently);
  cache->ForEach([](const Cache::Info&) {});                 // looking is no use
  SetAge(PathOf(key_), 3000);
  cache->ForEach([](const Cache::Info&) {});
  EXPECT_LT(used(), recently);
}

TEST_F(CacheTest, OneWarningInAProcessForADirectory) {
  for (int i = 0; i < 3; ++i) Cache::Open("/proc/athanor/other", [this](const std::string& text) { warnings_.push_back(text); });
  EXPECT_THAT(warnings_, SizeIs(1));
}

TEST_F(CacheTest, OpenRemovesOldLeftoversOfKilledWriters) {
  Open();
  WriteFile(directory_ / "cache/tmp-old", "leftover");
  WriteFile(directory_ / "cache/tmp-new", "being written");
  fs::last_write_time(directory_ / "cache/tmp-old", fs::file_time_type::clock::now() - std::chrono::hours(2));
  Open();
  EXPECT_FALSE(fs::exists(directory_ / "cache/tmp-old"));
  EXPECT_TRUE(fs::exists(directory_ / "cache/tmp-new"));
}

}  // namespace
}  // namespace athanor
