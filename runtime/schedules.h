#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/cache.h"
#include "jit/compiler.h"
#include "jit/plan.h"
#include "jit/schedule.h"
#include "jit/target.h"
#include "runtime/options.h"

namespace athanor {

// The field "space" of that key: changes whenever old schedules stop being comparable (new fields, other meanings).
inline constexpr std::string_view kScheduleSpace = "9";
// The key under which the best schedule of a plan is remembered: its structure, the target and the number of threads it was tuned for.
CacheKey ScheduleKey(const KernelPlan& plan, const CpuTarget& cpu, int threads);
CacheKey ScheduleKey(std::string_view structure_digest, const CpuTarget& cpu, int threads);

// The text under that key, whether it can be used or not; empty: none.
std::string RememberedSchedule(std::string_view structure_digest, const CpuTarget& cpu, int threads, Cache& cache);

struct ScheduleChoice {
  const CpuTarget& cpu;
  int threads = 1;
  TuneMode mode = TuneMode::kOff;
  double budget_seconds = 0;                                 // TuneMode::kFirst: of all kernels together
  std::function<Compiler&()> compiler;                       // asked for only where something is tuned
  // TuneMode::kFirst, after each kernel; false stops the tuning, and the rest keeps the heuristics.
  std::function<bool(const TuneProgress&)> progress = nullptr;
};

// A schedule for each kernel: the tuned one where the cache knows one, else under TuneMode::kFirst a newly tuned one, which the cache
// then remembers, else the heuristic one. Under TuneMode::kCached an unknown one is an Error.
std::vector<Schedule> ChooseSchedules(const Program& program, const ScheduleChoice& choice, Cache& cache);

}  // namespace athanor
