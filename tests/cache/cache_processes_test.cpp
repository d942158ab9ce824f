// What a cache promises when processes die, race, or run out of disk.
#include <fcntl.h>
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <random>
#include <thread>

#include "cache/cache.h"
#include "tests/cache/temporary_directory.h"

namespace athanor {
namespace {

void Ignore(const std::string&) {}

CacheKey KeyOf(int i) {
  return CacheKey("binary").Add("source", std::to_string(i));
}

// Depends on the key, so that a payload under the wrong key shows.
std::vector<std::byte> PayloadOf(int i) {
  return std::vector<std::byte>(1000 + 37 * (i % 200), static_cast<std::byte>(i));
}

// Runs `body` in a child process; its result is the child's exit status. gtest assertions don't work in there.
template <typename Body>
pid_t Spawn(Body body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  return child;
}

int Wait(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::vector<std::string> Faults(const Cache& cache) {
  std::vector<std::string> faults;
  cache.ForEach([&](const Cache::Info& info) {
    if (!info.entry) faults.push_back(info.name + ": " + info.fault);
  });
  return faults;
}

TEST(CacheProcessesTest, KillingAWriterLosesNothingAndCorruptsNothing) {
  const TemporaryDirectory directory;
  std::mt19937 random(7);
  int reported = 0;
  for (int round = 0; round < 60; ++round) {
    int pipe_ends[2];
    ASSERT_EQ(pipe(pipe_ends), 0);
    const pid_t child = Spawn([&] {
      auto cache = Cache::Open(directory / "cache", Ignore);
      for (int i = reported;; ++i) {
        if (!cache->Put(KeyOf(i), PayloadOf(i))) return 1;
        if (write(pipe_ends[1], &i, sizeof i) != sizeof i) return 2;
      }
    });
    close(pipe_ends[1]);
    // Every other writer is killed wherever it is, the others once they have written: however slow the machine, some entries are there.
    if (int i; round % 2 == 0 && read(pipe_ends[0], &i, sizeof i) == sizeof i) reported = i + 1;
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 8000));
    kill(child, SIGKILL);
    EXPECT_EQ(Wait(child), 128 + SIGKILL);
    for (int i; read(pipe_ends[0], &i, sizeof i) == sizeof i;) reported = i + 1;
    close(pipe_ends[0]);
  }
  EXPECT_GE(reported, 30);
  auto cache = Cache::Open(directory / "cache", [](const std::string& text) { ADD_FAILURE() << text; });
  for (int i = 0; i < reported; ++i) ASSERT_EQ(cache->Get(KeyOf(i)), PayloadOf(i)) << i;
  EXPECT_THAT(Faults(*cache), testing::IsEmpty());
}

TEST(CacheProcessesTest, ConcurrentWritersAndReadersSeeOnlyWholeEntries) {
  const TemporaryDirectory directory;
  constexpr int kKeys = 8;
  std::vector<pid_t> children;
  for (int process = 0; process < 6; ++process) {
    children.push_back(Spawn([&] {
      int warnings = 0, hits = 0;
      auto cache = Cache::Open(directory / "cache", [&](const std::string&) { ++warnings; });
      for (int i = 0; i < 300; ++i) {
        const int key = (i * 5 + process) % kKeys;
        if (process < 3 && !cache->Put(KeyOf(key), PayloadOf(key))) return 1;
        const auto found = cache->Get(KeyOf(key));
        if (found && *found != PayloadOf(key)) return 2;
        if (process < 3 && !found) return 3;                 // what this process wrote may be replaced, never lost
        hits += found.has_value();
      }
      return warnings != 0 ? 4 : 0;
    }));
  }
  for (const pid_t child : children) EXPECT_EQ(Wait(child), 0);
  auto cache = Cache::Open(directory / "cache", Ignore);
  for (int key = 0; key < kKeys; ++key) EXPECT_EQ(cache->Get(KeyOf(key)), PayloadOf(key));
}

TEST(CacheProcessesTest, ManyThreadsShareOneCache) {
  const TemporaryDirectory directory;
  auto cache = Cache::Open(directory / "cache", [](const std::string& text) { ADD_FAILURE() << text; });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        EXPECT_TRUE(cache->Put(KeyOf(i % 5), PayloadOf(i % 5)));
        EXPECT_EQ(cache->Get(KeyOf(i % 5)), PayloadOf(i % 5));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Fills the disk under `cache` and checks what must hold then. Returns 0, or the number of the broken promise.
int CheckFullDisk(const std::string& path) {
  int warnings = 0;
  auto cache = Cache::Open(path, [&](const std::string& text) { warnings += text.find("running uncached") != std::string::npos; });
  if (!cache->Put(KeyOf(1), PayloadOf(1))) return 1;
  if (cache->Put(KeyOf(2), std::vector<std::byte>(4 << 20))) return 2;
  if (cache->Get(KeyOf(2))) return 3;
  if (cache->Get(KeyOf(1)) != PayloadOf(1)) return 4;
  if (cache->Put(KeyOf(3), PayloadOf(3)) || warnings != 1) return 5;
  for (const auto& file : std::filesystem::directory_iterator(path)) {
    if (file.path().filename().string().starts_with("tmp-")) return 6;
  }
  return 0;
}

TEST(CacheProcessesTest, AFullDiskMeansUncached) {
  const TemporaryDirectory directory;
  if (mount("athanor-test", directory.path().c_str(), "tmpfs", 0, "size=1m,mode=0700") != 0) {
    GTEST_SKIP() << "mounting a small disk takes root";
  }
  EXPECT_EQ(CheckFullDisk(directory / "cache"), 0);
  EXPECT_EQ(umount2(directory.path().c_str(), MNT_DETACH), 0);
}

TEST(CacheProcessesTest, AFileSizeLimitMeansUncached) {
  const TemporaryDirectory directory;
  EXPECT_EQ(Wait(Spawn([&] {
              signal(SIGXFSZ, SIG_IGN);
              const rlimit limit{1 << 20, 1 << 20};
              if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 100;
              return CheckFullDisk(directory / "cache");
            })),
            0);
}

TEST(CacheProcessesTest, AnUnwritableDirectoryIsReadAndOtherwiseUncached) {
  const TemporaryDirectory directory;
  const std::string path = directory / "cache";
  const bool root = geteuid() == 0;
  EXPECT_EQ(Wait(Spawn([&] {
              // Root may write anywhere: give it up.
              if (root && (chown(directory.path().c_str(), 65534, 65534) != 0 || setgid(65534) != 0 || setuid(65534) != 0)) return 100;
              int warnings = 0;
              Cache::Open(path, Ignore)->Put(KeyOf(1), PayloadOf(1));
              if (chmod(path.c_str(), 0500) != 0) return 101;
              auto cache = Cache::Open(path, [&](const std::string&) { ++warnings; });
              if (cache->Get(KeyOf(1)) != PayloadOf(1) || warnings != 0) return 1;
              if (cache->Put(KeyOf(2), PayloadOf(2)) || cache->Put(KeyOf(3), PayloadOf(3)) || warnings != 1) return 2;
              try {
                cache->Clear();
                return 3;
              } catch (const CacheError&) {
              }
              chmod(path.c_str(), 0700);
              return 0;
            })),
            0);
}

}  // namespace
}  // namespace athanor
