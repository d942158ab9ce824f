#pragma once

#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cache/background_writer.h"
#include "cache/cache.h"
#include "jit/compiler.h"
#include "jit/kernel_source.h"
#include "jit/module.h"
#include "jit/plan.h"
#include "jit/schedule.h"
#include "jit/target.h"

namespace athanor {

// A kernel as its generator describes it, but for the code: that the cache has under the digest of `source`.
struct KernelRef {
  std::string name, source, schedule;                        // a digest; as text
  std::vector<KernelSource::Phase> phases;
  std::vector<int64_t> temporary_bytes;
  int64_t scratch_bytes = 0;
};

// A kernel ready to run.
struct LoadedKernel {
  struct Phase {
    KernelFn* run = nullptr;
    int64_t tasks = 0;
  };
  KernelRef ref;
  std::unique_ptr<Module> module;
  std::vector<Phase> phases;
  std::string source;                                        // empty where it was not generated
  bool cached = false;                                       // the binary came from the cache
  std::string miss;                                          // why it did not
  double compile_ms = 0;
};

struct ScheduledPlan {
  const KernelPlan* plan = nullptr;
  Schedule schedule;
};

// Turns plans with schedules into code: from the cache, or through the compiler. Equal kernels are compiled once; different
// ones on `threads` threads at once. Thread-safe.
class KernelLoader {
 public:
  // `no_jit`: a kernel that the cache does not hold is an Error that says which and why. `dump_directory`: generated sources are
  // written there unless empty.
  KernelLoader(CpuTarget cpu, Cache* cache, bool no_jit, std::string dump_directory);
  ~KernelLoader();

  std::vector<std::shared_ptr<const LoadedKernel>> Load(const std::vector<ScheduledPlan>& plans, int threads);
  // The same for kernels that were compiled before; nothing where the cache does not hold all of them.
  std::optional<std::vector<std::shared_ptr<const LoadedKernel>>> LoadCached(const std::vector<KernelRef>& refs, int threads);
  const CpuTarget& cpu() const { return cpu_; }
  Compiler& compiler();                                      // loaded at the first call
  // Starts to load the compiler on a thread of its own, unless it is never asked.
  void ExpectMisses();

 private:
  // A kernel with its source, without code where the cache does not hold it.
  std::shared_ptr<LoadedKernel> Find(const ScheduledPlan& plan);
  void Compile(std::span<const std::shared_ptr<LoadedKernel>> kernels, BackgroundWriter* writer);
  CacheKey KeyOf(const KernelRef& ref) const;
  const std::vector<CacheKey>& PresentKeys();                // of binaries, as they were at the first miss
  std::optional<Image> CachedImage(const CacheKey& key);

  CpuTarget cpu_;
  Cache* cache_;
  bool no_jit_;
  std::string dump_directory_;
  std::mutex mutex_;
  std::future<std::unique_ptr<Compiler>> expected_;
  std::unique_ptr<Compiler> compiler_;                       // made at the first miss, as are
  std::optional<std::vector<CacheKey>> present_;
};

// What identifies generated code: the text without its leading comments, which name graph nodes.
std::string_view WithoutHeader(std::string_view source);

}  // namespace athanor
