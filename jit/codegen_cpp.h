#pragma once

#include <optional>
#include <string>

#include "jit/kernel_source.h"
#include "jit/plan.h"
#include "jit/schedule.h"
#include "jit/target.h"

namespace athanor {

// What GenerateCpp, Validate and DefaultSchedule dispatch to: for each skeleton, in jit/codegen_cpp_<skeleton>.cpp, the generator
// of its source, the rule for its schedules and the first guess. Generators may rely on the schedule being valid.

KernelSource GenerateCppPointwise(const KernelPlan& plan, const LoopSchedule& schedule, const CpuTarget& cpu);
KernelSource GenerateCppReduce(const KernelPlan& plan, const LoopSchedule& schedule, const CpuTarget& cpu);
KernelSource GenerateCppLoopNest(const KernelPlan& plan, const LoopSchedule& schedule, const CpuTarget& cpu);
KernelSource GenerateCppScatter(const KernelPlan& plan, const ScatterSchedule& schedule, const CpuTarget& cpu);
KernelSource GenerateCppContract(const KernelPlan& plan, const ContractSchedule& schedule, const CpuTarget& cpu);
KernelSource GenerateCppWinograd(const KernelPlan& plan, const WinogradSchedule& schedule, const CpuTarget& cpu);
KernelSource GenerateCppWinogradGradient(const KernelPlan& plan, const WinogradSchedule& schedule, const CpuTarget& cpu);
KernelSource GenerateCppAttention(const KernelPlan& plan, const AttentionSchedule& schedule, const CpuTarget& cpu);

std::string ValidateLoop(const LoopSchedule& schedule, const KernelPlan& plan, const CpuTarget& cpu);
std::string ValidateScatter(const ScatterSchedule& schedule, const KernelPlan& plan, const CpuTarget& cpu);
std::string ValidateContract(const ContractSchedule& schedule, const KernelPlan& plan, const CpuTarget& cpu);
std::string ValidateWinograd(const WinogradSchedule& schedule, const KernelPlan& plan, const CpuTarget& cpu);
std::string ValidateAttention(const AttentionSchedule& schedule, const KernelPlan& plan, const CpuTarget& cpu);

// Whether squares are transposed in registers, so that stores go to many rows at once.
bool PointwiseTransposes(const LoopPlan& plan, const std::vector<KernelArg>& args, const CpuTarget& cpu);
LoopSchedule DefaultPointwise(const KernelPlan& plan, const CpuTarget& cpu);
LoopSchedule DefaultReduce(const KernelPlan& plan, const CpuTarget& cpu);
LoopSchedule DefaultLoopNest(const KernelPlan& plan, const CpuTarget& cpu);
ScatterSchedule DefaultScatter(const KernelPlan& plan, const CpuTarget& cpu);
ContractSchedule DefaultContract(const KernelPlan& plan, const CpuTarget& cpu);
// Nothing where the contraction is no convolution that minimal filtering makes faster.
std::optional<WinogradSchedule> DefaultWinograd(const KernelPlan& plan, const CpuTarget& cpu);
AttentionSchedule DefaultAttention(const KernelPlan& plan, const CpuTarget& cpu);

// The comment at the head of a generated source: skeleton, graph nodes, schedule.
std::string SourceHeader(const KernelPlan& plan, const Schedule& schedule);

}  // namespace athanor
