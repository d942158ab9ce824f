#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "jit/plan_builder.h"
#include "ops/graph.h"
#include "runtime/options.h"

namespace athanor {

// What is known of one kernel of an Executable.
struct KernelReport {
  std::vector<std::string> nodes;                            // the graph nodes it computes
  std::string skeleton, schedule;
  std::string source;                                        // with Options::sources
  double flops = 0, bytes = 0;
  Origin origin;                                             // of its heaviest node: a node of the graph that was compiled
  bool cached = false;                                       // its binary came from the cache
  std::string miss;                                          // why not
  double compile_ms = 0;
  int launches = 1;                                          // how many launches of the executable share this code, counted at the first
  double ms = 0;                                             // of the last profiled run
};

struct Report {
  std::vector<KernelReport> kernels;                         // in execution order
  int distinct_kernels = 0;
  int64_t arena_bytes = 0;
  int threads = 1;
  double fuse_ms = 0, load_ms = 0;                           // from the graph to plans, from these to launches
  bool kept_plan = false;                                    // the cache knew the launches of the whole graph: nothing was fused
  bool cache_kept = false;                                   // the cache took all that was new
};

// A graph compiled for this machine: ordered kernel launches over one arena. Inputs and outputs belong to the caller. Results are
// the same bits from run to run and for any number of threads.
class Executable {
 public:
  // `graph` may hold any ops; `in_place` names outputs that live in the memory of an input, each of an input of its own; where the
  // input is still needed they are computed elsewhere and copied at the end. Throws Error where something is not supported, or not cached under
  // Options::no_jit.
  static std::unique_ptr<Executable> Compile(const Graph& graph, const Options& options, const std::vector<InPlace>& in_place = {});
  ~Executable();
  Executable(const Executable&) = delete;
  Executable& operator=(const Executable&) = delete;

  // `inputs` in the order of graph.inputs(), each with the strides of its desc; `outputs` in the order of graph.outputs(),
  // contiguous. An in-place output's pointer must equal its input's. Indices (embedding, cross entropy) are checked first: an
  // Error names the input. One run at a time for each Executable.
  void Run(std::span<const void* const> inputs, std::span<void* const> outputs);
  // The same, timing each launch into report().kernels[i].ms.
  void RunProfiled(std::span<const void* const> inputs, std::span<void* const> outputs);

  const Report& report() const;

 private:
  struct Impl;
  explicit Executable(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace athanor
