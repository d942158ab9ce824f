#include "runtime/schedules.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <span>

#include "jit/kernel_source.h"
#include "ops/error.h"
#include "runtime/log.h"
#include "runtime/worker_pool.h"
#include "tuner/search_space.h"
#include "tuner/tuner.h"

namespace athanor {
namespace {

std::optional<Schedule> Known(const KernelPlan& plan, const std::string& structure, const ScheduleChoice& choice, Cache& cache) {
  const std::string text = RememberedSchedule(structure, choice.cpu, choice.threads, cache);
  if (text.empty()) return std::nullopt;
  try {
    Schedule schedule = ParseSchedule(text);
    if (std::string why = Validate(schedule, plan, choice.cpu); !why.empty()) Fail("schedule '{}': {}", text, why);
    return schedule;
  } catch (const Error& error) {
    LogWarning(fmt::format("a cached schedule is not used: {}", error.what()));
    return std::nullopt;
  }
}

// About how long a kernel takes: what its share of the budget is measured by.
double Weight(const KernelPlan& plan) { return std::max(plan.flops * 1e-2, plan.bytes) + 1; }

void TuneUnknown(const Program& program, const ScheduleChoice& choice, const std::map<std::string, std::vector<size_t>>& unknown, Cache& cache,
                 std::vector<Schedule>* schedules) {
  double total = 0;
  std::vector<std::pair<double, std::vector<size_t>>> order;  // by time x launches, the heaviest first; ties in the order of the map
  for (const auto& [structure, kernels] : unknown) {
    order.emplace_back(Weight(program.kernels[kernels[0]]) * static_cast<double>(kernels.size()), kernels);
    total += order.back().first;
  }
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  const std::shared_ptr<WorkerPool> pool = SharedWorkerPool(choice.threads);
  const TuneWorkers workers{choice.threads, [&](int64_t tasks, TuneWorkers::TaskFn* run, void* context) { pool->ParallelFor(tasks, run, context); }};
  TuneProgress progress;
  progress.total = static_cast<int>(unknown.size());
  const auto start = std::chrono::steady_clock::now();
  for (const auto& [weight, kernels] : order) {
    const KernelPlan& plan = program.kernels[kernels[0]];
    // What a kernel did not need goes to those that follow.
    const double spent = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const double seconds = std::max(0.0, choice.budget_seconds - spent) * weight / total;
    total -= weight;
    const TuneResult result = Tune(plan, SearchSpace(plan, choice.cpu), choice.cpu, choice.compiler(), seconds, GenerateCpp, workers);
    for (const std::string& bad : result.quarantined) LogWarning(fmt::format("tuning: quarantined {}", bad));
    const std::string text = ToString(result.best);
    if (result.measured > 0) cache.Put(ScheduleKey(plan, choice.cpu, choice.threads), std::as_bytes(std::span(text)));
    for (size_t kernel : kernels) (*schedules)[kernel] = result.best;
    ++progress.done;
    progress.kernel = fmt::format("{}: {}", Name(plan.skeleton), fmt::join(plan.nodes, ", "));
    progress.schedule = text;
    progress.heuristic_ms = result.heuristic_ms, progress.best_ms = result.best_ms;
    progress.measured = result.measured, progress.quarantined = static_cast<int>(result.quarantined.size());
    if (choice.progress && !choice.progress(progress)) return;
  }
}

}  // namespace

CacheKey ScheduleKey(const KernelPlan& plan, const CpuTarget& cpu, int threads) { return ScheduleKey(Digest(plan.Structure()), cpu, threads); }

CacheKey ScheduleKey(std::string_view structure_digest, const CpuTarget& cpu, int threads) {
  CacheKey key("schedule");
  key.Add("space", kScheduleSpace).Add("isa", Name(cpu.isa)).Add("cpu", cpu.model);
  key.Add("caches", fmt::format("{} {} {}", cpu.l1_bytes, cpu.l2_bytes, cpu.l3_bytes)).Add("threads", std::to_string(threads));
  key.Add("plan", structure_digest);
  return key;
}

std::string RememberedSchedule(std::string_view structure_digest, const CpuTarget& cpu, int threads, Cache& cache) {
  const auto bytes = cache.Get(ScheduleKey(structure_digest, cpu, threads));
  return bytes ? std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size()) : std::string();
}

std::vector<Schedule> ChooseSchedules(const Program& program, const ScheduleChoice& choice, Cache& cache) {
  std::map<std::string, std::vector<size_t>> alike;          // kernels by structure
  for (size_t kernel = 0; kernel < program.kernels.size(); ++kernel) alike[program.kernels[kernel].Structure()].push_back(kernel);
  std::vector<Schedule> schedules(program.kernels.size());
  std::map<std::string, std::vector<size_t>> unknown;
  for (auto& [structure, kernels] : alike) {
    const KernelPlan& plan = program.kernels[kernels[0]];
    const std::string digest = Digest(structure);
    std::optional<Schedule> known = Known(plan, digest, choice, cache);
    if (!known && choice.mode == TuneMode::kCached) {
      const CacheKey key = ScheduleKey(digest, choice.cpu, choice.threads);
      Fail("ATHANOR_TUNE=cached: no schedule for kernel ({}) is in the cache: {}", fmt::join(plan.nodes, ", "), ExplainMiss(key, cache.Keys(key.kind())));
    }
    const Schedule schedule = known ? *known : DefaultSchedule(plan, choice.cpu);
    for (size_t kernel : kernels) schedules[kernel] = schedule;
    if (!known) unknown.emplace(structure, std::move(kernels));
  }
  if (choice.mode == TuneMode::kFirst) TuneUnknown(program, choice, unknown, cache, &schedules);
  return schedules;
}

}  // namespace athanor
