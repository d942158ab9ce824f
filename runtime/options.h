#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "jit/plan_builder.h"
#include "jit/target.h"

namespace athanor {

enum class TuneMode : uint8_t {
  kOff,     // heuristic schedules, or those the cache knows
  kFirst,   // tune on first use
  kCached,  // only what the cache knows; a missing schedule is an error
};

// How far tuning has come.
struct TuneProgress {
  int done = 0, total = 0;                                   // distinct kernels of this graph that the cache did not know
  std::string kernel, schedule;                              // the last one, and what was chosen for it
  double heuristic_ms = 0, best_ms = 0;
  int measured = 0, quarantined = 0;                         // candidates
};

// Every switch of the library. Lower folders receive plain values; the environment is read here and nowhere else.
struct Options {
  std::string cache_directory;                               // empty: nothing is cached
  TuneMode tune = TuneMode::kOff;
  double tune_budget_seconds = 60;
  int threads = 0;                                           // 0: all cores
  std::string log_level = "warn";                            // trace, debug, info, warn, error, off
  std::string dump_directory;                                // generated sources are written there when not empty
  bool no_jit = false;                                       // a kernel that is not cached is an error
  std::string nvrtc_library;                                 // path of libnvrtc; empty: the usual names
  std::optional<Isa> isa;                                    // generate for this instruction set instead of the best one
  std::function<bool(const TuneProgress&)> tune_progress;    // after each tuned kernel; returning false stops tuning. Not from the environment
  Fusing fusing = Fusing::kAll;                              // not from the environment
  bool prefault = true;                                      // bring in the pages of temporaries while kernels are loaded. Not from the environment
  bool sources = false;                                      // generated sources are wanted in the report. Not from the environment
  bool perf_map = false;                                     // list kernels in /tmp/perf-PID.map

  // From the variables named ATHANOR_*: CACHE_DIR, TUNE, TUNE_BUDGET, THREADS, LOG, DUMP, NO_JIT, NVRTC, ISA, PERF_MAP. Throws
  // Error that names the variable, its value and what was expected; an unknown ATHANOR_ variable is passed to `warn`.
  static Options FromEnvironment(const std::function<void(const std::string&)>& warn);
  // The same from given (name, value) pairs.
  static Options FromVariables(const std::vector<std::pair<std::string, std::string>>& variables,
                               const std::function<void(const std::string&)>& warn);
};

// The variables of the process's environment.
std::vector<std::pair<std::string, std::string>> EnvironmentVariables();

// $XDG_CACHE_HOME/athanor, else ~/.cache/athanor; empty when neither is known.
std::string DefaultCacheDirectory();

}  // namespace athanor
