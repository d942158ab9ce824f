#include "runtime/worker_pool.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <numeric>
#include <set>
#include <stdexcept>

namespace athanor {
namespace {

struct Counts {
  std::vector<std::atomic<int>> done;
  std::vector<std::atomic<int>> busy;  // by worker
  std::atomic<bool> clash{false};
  Counts(int64_t tasks, int threads) : done(tasks), busy(threads) {}
};

void Count(void* context, int64_t begin, int64_t end, int worker) {
  auto& counts = *static_cast<Counts*>(context);
  if (counts.busy.at(worker)++ != 0) counts.clash = true;  // a worker's scratch memory belongs to one range at a time
  for (int64_t i = begin; i < end; ++i) counts.done.at(i)++;
  counts.busy[worker]--;
}

TEST(WorkerPoolTest, DoesEveryTaskOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    WorkerPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const int64_t tasks : {0, 1, 2, 3, 7, 8, 16, 17, 63, 64, 65, 1000, 4099}) {
      Counts counts(tasks, threads);
      pool.ParallelFor(tasks, Count, &counts);
      for (int64_t i = 0; i < tasks; ++i) ASSERT_EQ(counts.done[i], 1) << threads << " threads, task " << i << " of " << tasks;
      ASSERT_FALSE(counts.clash);
    }
  }
}

TEST(WorkerPoolTest, ManyShortLoopsInARow) {
  WorkerPool pool(4);
  std::atomic<int64_t> sum{0};
  const auto add = [](void* context, int64_t begin, int64_t end, int) {
    static_cast<std::atomic<int64_t>*>(context)->fetch_add(end - begin, std::memory_order_relaxed);
  };
  int64_t expected = 0;
  for (int loop = 0; loop < 50000; ++loop) {
    pool.ParallelFor(loop % 40, add, &sum);
    expected += loop % 40;
    ASSERT_EQ(sum, expected) << "loop " << loop;
  }
}

TEST(WorkerPoolTest, OneThreadRunsInlineInOneRange) {
  WorkerPool pool(1);
  std::vector<std::pair<int64_t, int64_t>> ranges;
  pool.ParallelFor(
      100,
      [](void* context, int64_t begin, int64_t end, int) { static_cast<decltype(ranges)*>(context)->emplace_back(begin, end); },
      &ranges);
  EXPECT_THAT(ranges, testing::ElementsAre(testing::Pair(0, 100)));
}

TEST(WorkerPoolTest, UsesItsThreadsForLongLoops) {
  WorkerPool pool(3);
  struct Seen {
    std::mutex mutex;
    std::set<int> workers;
  } seen;
  // Each task waits until all workers have come, so the loop can only end when they have.
  pool.ParallelFor(
      3,
      [](void* context, int64_t, int64_t, int worker) {
        auto& s = *static_cast<Seen*>(context);
        for (;; std::this_thread::yield()) {
          const std::lock_guard lock(s.mutex);
          s.workers.insert(worker);
          if (s.workers.size() == 3) return;
        }
      },
      &seen);
  EXPECT_THAT(seen.workers, testing::ElementsAre(0, 1, 2));
}

TEST(WorkerPoolTest, SeveralCallersTakeTurns) {
  WorkerPool pool(2);
  std::vector<std::thread> callers;
  for (int c = 0; c < 3; ++c) {
    callers.emplace_back([&] {
      for (int loop = 0; loop < 200; ++loop) {
        Counts counts(37, 2);
        pool.ParallelFor(37, Count, &counts);
        for (int i = 0; i < 37; ++i) EXPECT_EQ(counts.done[i], 1);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
}

// Threads of a host, as OpenMP has them, but made anew for each call.
namespace host {

thread_local int number = 0;
std::atomic<int> calls{0};

int Number() { return number; }

void Parallel(void (*body)(void*), void* data, unsigned threads, unsigned) {
  ++calls;
  std::vector<std::thread> others;
  for (unsigned t = 1; t < threads; ++t) {
    others.emplace_back([=] {
      number = static_cast<int>(t);
      body(data);
    });
  }
  body(data);
  for (std::thread& other : others) other.join();
}

void OnlyTheCaller(void (*body)(void*), void* data, unsigned, unsigned) { body(data); }

}  // namespace host

TEST(HostThreads, ShareTheLoopsOfOneCall) {
  WorkerPool pool(3, {host::Parallel, host::Number});
  for (int again = 0; again < 50; ++again) {
    pool.Together([&] {
      for (int64_t tasks : {0, 1, 2, 37, 1000}) {
        Counts counts(tasks, 3);
        pool.ParallelFor(tasks, Count, &counts);
        EXPECT_FALSE(counts.clash);
        for (int64_t i = 0; i < tasks; ++i) EXPECT_EQ(counts.done[i], 1);
      }
    });
  }
}

TEST(HostThreads, AllComeAndOutsideOfACallNone) {
  WorkerPool pool(3, {host::Parallel, host::Number});
  struct Seen {
    std::mutex mutex;
    std::set<int> workers;
    size_t wanted;
  } seen{{}, {}, 3};
  const auto wait_for_all = [](void* context, int64_t, int64_t, int worker) {
    auto& s = *static_cast<Seen*>(context);
    for (;; std::this_thread::yield()) {
      const std::lock_guard lock(s.mutex);
      s.workers.insert(worker);
      if (s.workers.size() >= s.wanted) return;
    }
  };
  pool.Together([&] { pool.ParallelFor(3, wait_for_all, &seen); });
  EXPECT_THAT(seen.workers, testing::ElementsAre(0, 1, 2));
  seen.workers.clear(), seen.wanted = 1;
  pool.ParallelFor(100, wait_for_all, &seen);
  EXPECT_THAT(seen.workers, testing::ElementsAre(0));
}

TEST(HostThreads, MayBeFewer) {
  WorkerPool pool(4, {host::OnlyTheCaller, host::Number});
  Counts counts(37, 4);
  pool.Together([&] { pool.ParallelFor(37, Count, &counts); });
  for (int i = 0; i < 37; ++i) EXPECT_EQ(counts.done[i], 1);
}

TEST(HostThreads, HandOnExceptions) {
  WorkerPool pool(2, {host::Parallel, host::Number});
  EXPECT_THROW(pool.Together([] { throw std::runtime_error("no"); }), std::runtime_error);
  Counts counts(37, 2);
  pool.Together([&] { pool.ParallelFor(37, Count, &counts); });
  for (int i = 0; i < 37; ++i) EXPECT_EQ(counts.done[i], 1);
}

TEST(HostThreads, SeveralCallersTakeTurns) {
  WorkerPool pool(2, {host::Parallel, host::Number});
  std::vector<std::thread> callers;
  for (int c = 0; c < 3; ++c) {
    callers.emplace_back([&] {
      for (int call = 0; call < 50; ++call) {
        Counts counts(37, 2);
        pool.Together([&] { pool.ParallelFor(37, Count, &counts); });
        EXPECT_FALSE(counts.clash);
        for (int i = 0; i < 37; ++i) EXPECT_EQ(counts.done[i], 1);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
}

// A forked process has none of the host's threads, and OpenMP would wait for them for good.
TEST(HostThreads, AreNotAskedForInAForkedProcess) {
  UseHostThreads({host::Parallel, host::Number});
  const std::shared_ptr<WorkerPool> shared = SharedWorkerPool(2);
  host::calls = 0;
  shared->Together([] {});
  EXPECT_EQ(host::calls, 1);
  const pid_t child = fork();
  if (child == 0) {
    int right = 0;
    for (const std::shared_ptr<WorkerPool>& pool : {shared, SharedWorkerPool(2)}) {
      Counts counts(37, 2);
      pool->Together([&] { pool->ParallelFor(37, Count, &counts); });
      for (int i = 0; i < 37; ++i) right += counts.done[i] == 1;
    }
    _exit(right == 2 * 37 && host::calls == 1 && SharedWorkerPool(2) != shared ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  UseHostThreads({});
  EXPECT_NE(SharedWorkerPool(2), shared);
}

TEST(WorkerPoolTest, DefaultIsAtLeastOneThread) { EXPECT_GE(DefaultThreads(), 1); }

}  // namespace
}  // namespace athanor
