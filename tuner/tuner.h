#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "jit/compiler.h"
#include "jit/plan.h"
#include "jit/schedule.h"
#include "jit/target.h"

namespace athanor {

struct TuneResult {
  Schedule best;
  double heuristic_ms = 0, best_ms = 0;                      // with the given workers, on data of its own
  double band = 0;                                           // candidates within this share of the fastest count as equal
  int measured = 0;                                          // candidates; 0: the heuristic one failed its trial, nothing was tuned
  std::vector<std::string> quarantined;                      // schedules that were wrong, crashed, hung or threw, and how
};

// Who runs the tasks of a candidate while it is timed. `parallel_for` calls `run` for disjoint ranges that cover [0, tasks), each with
// the number of its worker, below `threads`, and returns when all are done.
struct TuneWorkers {
  using TaskFn = void(void* context, int64_t begin, int64_t end, int worker);
  int threads = 1;
  std::function<void(int64_t tasks, TaskFn* run, void* context)> parallel_for = [](int64_t tasks, TaskFn* run, void* context) { run(context, 0, tasks, 0); };
};

// Measures the schedules of `space` (the first is the incumbent) within `seconds`, and picks one. Each runs first in a process of its
// own, where it can crash or hang without harm, and its outputs there are compared with the incumbent's. Timings alternate with the
// incumbent's, so that drift of the machine hits both; of the candidates within the noise band of the fastest, the first in `space`
// wins, so that runs and ranks agree. `generate` is GenerateCpp but for tests.
using Generator = std::function<KernelSource(const KernelPlan&, const Schedule&, const CpuTarget&)>;
TuneResult Tune(const KernelPlan& plan, const std::vector<Schedule>& space, const CpuTarget& cpu, Compiler& compiler, double seconds,
                const Generator& generate, const TuneWorkers& workers = {});

}  // namespace athanor
