#include "jit/codegen_cpp.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "jit/source_writer.h"
#include "ops/error.h"

namespace athanor {
namespace {

KernelSource Generate(const KernelPlan& plan, const LoopSchedule& schedule, const CpuTarget& cpu) {
  switch (plan.skeleton) {
    case Skeleton::kPointwise:
      return GenerateCppPointwise(plan, schedule, cpu);
    case Skeleton::kReduce:
      return GenerateCppReduce(plan, schedule, cpu);
    default:
      return GenerateCppLoopNest(plan, schedule, cpu);
  }
}

KernelSource Generate(const KernelPlan& plan, const ContractSchedule& schedule, const CpuTarget& cpu) {
  return GenerateCppContract(plan, schedule, cpu);
}

KernelSource Generate(const KernelPlan& plan, const WinogradSchedule& schedule, const CpuTarget& cpu) {
  return GenerateCppWinograd(plan, schedule, cpu);
}

KernelSource Generate(const KernelPlan& plan, const AttentionSchedule& schedule, const CpuTarget& cpu) {
  return GenerateCppAttention(plan, schedule, cpu);
}

KernelSource Generate(const KernelPlan& plan, const ScatterSchedule& schedule, const CpuTarget& cpu) {
  return GenerateCppScatter(plan, schedule, cpu);
}

}  // namespace

std::string SourceHeader(const KernelPlan& plan, const Schedule& schedule) {
  SourceWriter out;
  out.Comment(fmt::format("{}: {}", Name(plan.skeleton), fmt::join(plan.nodes, ", ")));
  out.Comment(fmt::format("schedule: {}", ToString(schedule)));
  return out.text();
}

KernelSource GenerateCpp(const KernelPlan& plan, const Schedule& schedule, const CpuTarget& cpu) {
  if (const std::string reason = Validate(schedule, plan, cpu); !reason.empty()) {
    throw InternalError(fmt::format("cannot generate {} under '{}': {}", Name(plan.skeleton), ToString(schedule), reason));
  }
  return std::visit([&](const auto& chosen) { return Generate(plan, chosen, cpu); }, schedule);
}

}  // namespace athanor
