#include "runtime/worker_pool.h"

#include <pthread.h>

#include <algorithm>
#include <exception>
#include <map>
#include <utility>

#include "ops/error.h"

namespace athanor {
namespace {

// About a hundred microseconds: longer than the gap between two launches, shorter than a time slice.
constexpr int kSpins = 4000;
constexpr int64_t kChunksPerWorker = 8;                      // evens out what other processes take of a core

// Spins, then sleeps, until `value` is no longer `old`.
void WaitWhileEqual(const std::atomic<uint32_t>& value, uint32_t old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    __builtin_ia32_pause();
  }
  value.wait(old, std::memory_order_acquire);
}

std::mutex host_mutex;
HostThreads host_threads;
std::atomic<bool> forked{false};                             // from a process that used a host's threads, which are not here

}  // namespace

void UseHostThreads(const HostThreads& host) {
  static std::once_flag once;
  std::call_once(once, [] {
    pthread_atfork([] { host_mutex.lock(); }, [] { host_mutex.unlock(); }, [] {
      forked = host_threads.parallel != nullptr || forked;
      host_threads = {};
      host_mutex.unlock();
    });
  });
  const std::lock_guard lock(host_mutex);
  if (!forked) host_threads = host;
}

int DefaultThreads() {
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

std::shared_ptr<WorkerPool> SharedWorkerPool(int threads) {
  static std::mutex mutex;
  static std::map<std::pair<int, decltype(HostThreads::parallel)>, std::weak_ptr<WorkerPool>> pools;
  const std::scoped_lock lock(mutex, host_mutex);
  std::weak_ptr<WorkerPool>& shared = pools[{threads, host_threads.parallel}];
  std::shared_ptr<WorkerPool> pool = shared.lock();
  if (!pool) shared = pool = std::make_shared<WorkerPool>(threads, host_threads);
  return pool;
}

WorkerPool::WorkerPool(int threads, const HostThreads& host) : threads_(threads), host_(host) {
  ATHANOR_CHECK(threads >= 1);
  if (host_.parallel != nullptr) return;
  for (int worker = 1; worker < threads; ++worker) workers_.emplace_back([this, worker] { Work(worker, 0); });
}

WorkerPool::~WorkerPool() {
  loop_.fetch_or(1, std::memory_order_release);
  loop_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

// A claim succeeds only while the loop has unclaimed chunks, hence is not over, hence what the claimant then reads of it is valid.
bool WorkerPool::Claim(uint32_t loop, uint32_t& unclaimed) {
  uint64_t claims = claims_.load(std::memory_order_acquire);
  do {
    unclaimed = static_cast<uint32_t>(claims);
    if (claims >> 32 != loop || unclaimed == 0) return false;
  } while (!claims_.compare_exchange_weak(claims, claims - 1, std::memory_order_acq_rel, std::memory_order_acquire));
  return true;
}

void WorkerPool::RunChunks(uint32_t loop, int worker) {
  for (uint32_t unclaimed; Claim(loop, unclaimed);) {
    const int64_t tasks = tasks_.load(std::memory_order_relaxed);
    const uint32_t chunks = chunks_.load(std::memory_order_relaxed), chunk = chunks - unclaimed;
    const int64_t base = tasks / chunks, rest = tasks % chunks;  // the first `rest` chunks have one task more
    const int64_t begin = chunk * base + std::min<int64_t>(chunk, rest);
    const int64_t end = begin + base + (chunk < rest ? 1 : 0);
    fn_.load(std::memory_order_relaxed)(context_.load(std::memory_order_relaxed), begin, end, worker);
    if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 == chunks) done_.notify_one();
  }
}

struct WorkerPool::Session {
  WorkerPool& pool;
  const std::function<void()>& work;
  uint32_t begin;                                            // number of the loop before its first
  std::exception_ptr failure = nullptr;
};

void WorkerPool::Join(void* data) {
  Session& session = *static_cast<Session*>(data);
  WorkerPool& pool = session.pool;
  if (const int number = pool.host_.number(); number != 0) return pool.Work(number, session.begin);
  try {
    session.work();
  } catch (...) {
    session.failure = std::current_exception();
  }
  const std::lock_guard lock(pool.mutex_);
  pool.loop_.fetch_or(1, std::memory_order_release);
  pool.loop_.notify_all();
}

void WorkerPool::Together(const std::function<void()>& work) {
  if (host_.parallel == nullptr || threads_ == 1 || forked) return work();
  const std::lock_guard lock(session_);
  Session session{*this, work, 0};
  {
    const std::lock_guard loop_lock(mutex_);
    session.begin = (loop_.load(std::memory_order_relaxed) | 1) + 1;
    loop_.store(session.begin, std::memory_order_release);
  }
  host_.parallel(Join, &session, static_cast<unsigned>(threads_), 0);
  if (session.failure) std::rethrow_exception(session.failure);
}

void WorkerPool::Work(int worker, uint32_t seen) {
  while (true) {
    WaitWhileEqual(loop_, seen);
    seen = loop_.load(std::memory_order_acquire);
    if (seen & 1) return;
    RunChunks(seen, worker);
  }
}

void WorkerPool::ParallelFor(int64_t tasks, TaskFn* fn, void* context) {
  if (tasks <= 0) return;
  if (tasks == 1 || threads_ == 1) return fn(context, 0, tasks, 0);
  const std::lock_guard lock(mutex_);
  const auto chunks = static_cast<uint32_t>(std::min(tasks, threads() * kChunksPerWorker));
  const uint32_t loop = loop_.load(std::memory_order_relaxed) + 2;
  fn_.store(fn, std::memory_order_relaxed);
  context_.store(context, std::memory_order_relaxed);
  tasks_.store(tasks, std::memory_order_relaxed);
  chunks_.store(chunks, std::memory_order_relaxed);
  done_.store(0, std::memory_order_relaxed);
  claims_.store(static_cast<uint64_t>(loop) << 32 | chunks, std::memory_order_release);
  loop_.store(loop, std::memory_order_release);
  loop_.notify_all();

  RunChunks(loop, 0);
  for (uint32_t done = done_.load(std::memory_order_acquire); done != chunks; done = done_.load(std::memory_order_acquire)) {
    WaitWhileEqual(done_, done);
  }
}

}  // namespace athanor
