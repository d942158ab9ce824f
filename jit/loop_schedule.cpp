#include <fmt/format.h>

#include <algorithm>

#include "jit/codegen_cpp.h"

namespace athanor {
namespace {

constexpr int kMostHalfLines = 2;                            // lines of the cache that vectors of half of one may fill in turns

// Results larger than this part of the last-level cache would not be there when the next kernel reads them.
bool StreamsByDefault(const KernelPlan& plan, const CpuTarget& cpu) {
  const LoopPlan& loop = std::get<LoopPlan>(plan.detail);
  int64_t written = 0;
  int streams = 0;
  for (const Store& store : loop.body.stores) {
    int64_t elements = 1;
    for (int d = 0; d < loop.body.rank(); ++d) {
      for (const Digit& digit : store.operand.map.dim(d)) elements *= digit.stride != 0 ? digit.extent : 1;
    }
    const int64_t bytes = elements * SizeOf(plan.args[store.operand.arg].dtype);
    written += bytes;
    streams += bytes > cpu.l2_bytes;
  }
  if (!cpu.vectors_fill_lines() && streams > kMostHalfLines) return false;
  return loop.instance_elements.empty() && written > cpu.l3_bytes / 4;
}

}  // namespace

std::string ValidateLoop(const LoopSchedule& schedule, const KernelPlan&, const CpuTarget&) {
  if (schedule.task_elements < 1 || schedule.task_elements > int64_t{1} << 30)
    return fmt::format("task of {} elements", schedule.task_elements);
  if (schedule.unroll < 1 || schedule.unroll > 16) return fmt::format("unroll of {}", schedule.unroll);
  if (schedule.row_chunks < 1 || schedule.row_chunks > 4096) return fmt::format("{} row chunks", schedule.row_chunks);
  return "";
}

LoopSchedule DefaultPointwise(const KernelPlan& plan, const CpuTarget& cpu) {
  return {.streaming = StreamsByDefault(plan, cpu) &&
                       (cpu.vectors_fill_lines() || !PointwiseTransposes(std::get<LoopPlan>(plan.detail), plan.args, cpu))};
}

// Chunks enough for every core to have several, each of a good number of rows.
LoopSchedule DefaultReduce(const KernelPlan& plan, const CpuTarget& cpu) {
  const int64_t rows = std::get<LoopPlan>(plan.detail).body.extents[0];
  const int64_t most = std::max<int64_t>(16, 4 * cpu.cores);
  return {.streaming = StreamsByDefault(plan, cpu), .row_chunks = static_cast<int>(std::clamp<int64_t>(rows / 16, 1, most))};
}

LoopSchedule DefaultLoopNest(const KernelPlan&, const CpuTarget&) { return {}; }

}  // namespace athanor
