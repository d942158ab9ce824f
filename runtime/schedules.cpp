#include "runtime/schedules.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ops/error.h"
#include "runtime/log.h"

namespace athanor {
namespace {

// Changes whenever old schedules stop being comparable: new fields, other meanings.
constexpr std::string_view kSpaceVersion = "1";

std::optional<Schedule> Known(const KernelPlan& plan, const CpuTarget& cpu, const CacheKey& key, Cache& cache) {
  const auto bytes = cache.Get(key);
  if (!bytes) return std::nullopt;
  const std::string text(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  try {
    Schedule schedule = ParseSchedule(text);
    if (std::string why = Validate(schedule, plan, cpu); !why.empty()) Fail("schedule '{}': {}", text, why);
    return schedule;
  } catch (const Error& error) {
    LogWarning(fmt::format("a cached schedule is not used: {}", error.what()));
    return std::nullopt;
  }
}

}  // namespace

CacheKey ScheduleKey(const KernelPlan& plan, const CpuTarget& cpu, int threads) {
  CacheKey key("schedule");
  key.Add("space", kSpaceVersion).Add("isa", Name(cpu.isa)).Add("cpu", cpu.model);
  key.Add("caches", fmt::format("{} {} {}", cpu.l1_bytes, cpu.l2_bytes, cpu.l3_bytes)).Add("threads", std::to_string(threads));
  key.Add("plan", Digest(plan.Structure()));
  return key;
}

std::vector<Schedule> ChooseSchedules(const Program& program, const CpuTarget& cpu, int threads, TuneMode mode, Cache& cache) {
  std::vector<Schedule> schedules;
  for (const KernelPlan& plan : program.kernels) {
    const CacheKey key = ScheduleKey(plan, cpu, threads);
    if (std::optional<Schedule> known = Known(plan, cpu, key, cache)) {
      schedules.push_back(*known);
      continue;
    }
    if (mode == TuneMode::kCached) {
      Fail("ATHANOR_TUNE=cached: no schedule for kernel ({}) is in the cache: {}", fmt::join(plan.nodes, ", "), cache.ExplainMiss(key));
    }
    schedules.push_back(DefaultSchedule(plan, cpu));
  }
  return schedules;
}

}  // namespace athanor
