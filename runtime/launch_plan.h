#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cache/key.h"
#include "jit/plan_builder.h"
#include "jit/target.h"
#include "ops/graph.h"
#include "runtime/kernel_loader.h"

namespace athanor {

// What is left of a graph once it is fused, scheduled and compiled: launches of kernels whose code the cache holds, their arguments in place. The
// cache keeps it, so that a later process neither fuses nor generates code.
struct LaunchPlan {
  struct Kernel {
    KernelRef ref;
    std::string structure;                                   // the digest of its plan's, by which the cache remembers schedules
    std::string remembered;                                  // what it remembered; empty: nothing. Where that has changed, this is out of date
  };
  enum class Place : uint8_t { kArena, kInput, kOutput };
  struct Arg {
    Place place = Place::kArena;
    int position = 0;                                        // among the graph's inputs or outputs
    int64_t offset = 0;                                      // bytes
  };
  struct Launch {
    int kernel = 0;
    std::vector<Arg> args;                                   // the plan's args, then the kernel's temporaries
    std::vector<std::string> nodes;                          // from here on for reports, as KernelPlan has it
    std::string skeleton;
    double flops = 0, bytes = 0;
    Origin origin;
  };
  std::vector<Kernel> kernels;
  std::vector<Launch> launches;
  int64_t arena_bytes = 0;
};

// All that a launch plan depends on but the remembered schedules: the graph to the last name, the machine, the library's own code (BuildId).
CacheKey LaunchPlanKey(const Graph& graph, const std::vector<InPlace>& in_place, Fusing fusing, const CpuTarget& cpu, int threads);

std::string WriteLaunchPlan(const LaunchPlan& plan);         // JSON
// Throws Error on what WriteLaunchPlan did not write, and where an argument lies outside of the arena, or is none of the graph's `inputs` and `outputs`.
LaunchPlan ReadLaunchPlan(std::string_view text, size_t inputs, size_t outputs);

}  // namespace athanor
