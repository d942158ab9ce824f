#pragma once

#include <vector>

#include "jit/plan.h"
#include "jit/schedule.h"
#include "jit/target.h"

namespace athanor {

// Valid schedules of a contraction worth measuring, the default first, in an order that depends on the plan and the target alone.
std::vector<ContractSchedule> ContractSpace(const KernelPlan& plan, const CpuTarget& cpu);
// The same by minimal filtering; none where that can't carry out the plan.
std::vector<WinogradSchedule> WinogradSpace(const KernelPlan& plan, const CpuTarget& cpu);

}  // namespace athanor
