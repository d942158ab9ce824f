#pragma once

#include <string>
#include <vector>

#include "cache/cache.h"
#include "jit/plan.h"
#include "jit/schedule.h"
#include "jit/target.h"
#include "runtime/options.h"

namespace athanor {

// The key under which the best schedule of a plan is remembered: its structure, the target and the number of threads it was tuned for.
CacheKey ScheduleKey(const KernelPlan& plan, const CpuTarget& cpu, int threads);

// A schedule for each kernel: the tuned one where the cache knows one, else the heuristic one. Under TuneMode::kCached an unknown
// one is an Error.
std::vector<Schedule> ChooseSchedules(const Program& program, const CpuTarget& cpu, int threads, TuneMode mode, Cache& cache);

}  // namespace athanor
