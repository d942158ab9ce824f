#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace athanor {

// Threads of the program that the library is linked under, as OpenMP's (GOMP_parallel, omp_get_thread_num): two sets of threads, of which one still
// spins when the other begins, would take each other's cores.
struct HostThreads {
  // Runs body(data) on `threads` threads at once, or on fewer, the caller among them; returns when all have returned.
  void (*parallel)(void (*body)(void*), void* data, unsigned threads, unsigned flags) = nullptr;
  int (*number)() = nullptr;                                 // of a thread in there: 0 for the caller, below `threads`
};
// For the pools made from now on by SharedWorkerPool. A process forked from this one goes back to threads of its own.
void UseHostThreads(const HostThreads& host);

// Threads that share the tasks of one loop at a time: fork-join, with the calling thread as worker 0. Made for loops of tens of
// microseconds: workers spin for a moment before they sleep, and a loop is over when its tasks are, whether or not every
// worker woke up for it. So an oversubscribed machine slows the pool down no more than its share, and a process forked
// from this one (which has no workers) still gets its loops done.
class WorkerPool {
 public:
  // Does tasks [begin, end) as worker `worker`, 0 <= worker < threads(). Must not throw.
  using TaskFn = void(void* context, int64_t begin, int64_t end, int worker);

  // `threads` counts the caller: 1 starts no thread, and with a host's none is started. REQUIRES: threads >= 1.
  explicit WorkerPool(int threads, const HostThreads& host = {});
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  int threads() const { return threads_; }
  // Calls `fn` for disjoint ranges that cover [0, tasks), in any order and on any worker; returns when all are done. May be called
  // from several threads (their loops take turns), but not from within a task.
  void ParallelFor(int64_t tasks, TaskFn* fn, void* context);
  // Calls `work`, whose loops a host's threads share; outside of this they have the calling thread only. May be called from several threads, which take
  // turns, but not from within itself. What `work` throws comes through.
  void Together(const std::function<void()>& work);

 private:
  struct Session;
  static void Join(void* session);
  void Work(int worker, uint32_t seen);
  bool Claim(uint32_t loop, uint32_t& unclaimed);
  void RunChunks(uint32_t loop, int worker);

  int threads_;
  HostThreads host_;
  std::mutex session_;                                       // one Together at a time
  std::mutex mutex_;                                         // one loop at a time
  // The loop, published by claims_.
  std::atomic<TaskFn*> fn_{nullptr};
  std::atomic<void*> context_{nullptr};
  std::atomic<int64_t> tasks_{0};
  std::atomic<uint32_t> chunks_{0};
  alignas(64) std::atomic<uint64_t> claims_{0};              // the loop's number << 32 | unclaimed chunks
  alignas(64) std::atomic<uint32_t> loop_{0};                // the loop's number, for sleeping on; odd: nobody waits for loops any more
  alignas(64) std::atomic<uint32_t> done_{0};                // chunks finished
  std::vector<std::thread> workers_;
};

// The pool of this process with `threads` threads, shared by all who hold it.
std::shared_ptr<WorkerPool> SharedWorkerPool(int threads);

// The CPUs this process may run on.
int DefaultThreads();

}  // namespace athanor
