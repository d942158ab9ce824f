#pragma once

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
  double heuristic_ms = 0, best_ms = 0;                      // one thread, on data of its own
  double band = 0;                                           // candidates within this share of the fastest count as equal
  int measured = 0;                                          // candidates
  std::vector<std::string> quarantined;                      // schedules whose results were wrong, or that failed, and why
};

// Measures the schedules of `space` (the first is the incumbent) within `seconds`, and picks one. Every candidate's outputs are
// compared with the incumbent's. Timings alternate with the incumbent's, so that drift of the machine hits both; of the candidates
// within the noise band of the fastest, the first in `space` wins, so that runs and ranks agree. `generate` is GenerateCpp but for tests.
using Generator = std::function<KernelSource(const KernelPlan&, const Schedule&, const CpuTarget&)>;
TuneResult Tune(const KernelPlan& plan, const std::vector<Schedule>& space, const CpuTarget& cpu, Compiler& compiler, double seconds,
                const Generator& generate);

}  // namespace athanor
