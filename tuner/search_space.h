#pragma once

#include <vector>

#include "jit/plan.h"
#include "jit/schedule.h"
#include "jit/target.h"

namespace athanor {

// Valid schedules of a plan worth measuring: the heuristic one first, then variations of it, nearest first, in an order that
// depends on the plan and the target alone.
std::vector<Schedule> SearchSpace(const KernelPlan& plan, const CpuTarget& cpu);

}  // namespace athanor
