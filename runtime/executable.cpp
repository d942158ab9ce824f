#include "runtime/executable.h"

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "cache/cache.h"
#include "jit/gdb_registration.h"
#include "ops/decompose.h"
#include "ops/error.h"
#include "runtime/arena.h"
#include "runtime/arena_memory.h"
#include "runtime/build_id.h"
#include "runtime/index_check.h"
#include "runtime/kernel_loader.h"
#include "runtime/launch_plan.h"
#include "runtime/log.h"
#include "runtime/schedules.h"
#include "runtime/worker_pool.h"

namespace athanor {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kPrefaulted = 4 << 20;                     // bytes of temporaries that are worth a thread

double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// One kernel launch with its arguments in place. Entries that point into caller memory are filled in by each Run.
struct Launch {
  const LoadedKernel* kernel = nullptr;
  std::vector<char*> args;
};

// A launch argument that changes with the caller's pointers.
struct Patch {
  int launch, arg, position;                                 // position in Run's inputs or outputs
  int64_t offset;                                            // bytes
};

struct Job {
  KernelFn* run;
  char* const* args;
  char* scratch;
  int64_t scratch_stride;
};

void RunTasks(void* context, int64_t begin, int64_t end, int worker) {
  const Job& job = *static_cast<const Job*>(context);
  job.run(job.args, begin, end, job.scratch + worker * job.scratch_stride);
}

}  // namespace

struct Executable::Impl {
  // Where and how it is compiled.
  struct Setting {
    const Options& options;
    const std::vector<InPlace>& in_place;
    const CpuTarget& cpu;
    int threads;
    Cache& cache;
    KernelLoader& loader;
  };

  explicit Impl(const Graph& g) : graph(g) {}

  Graph graph;
  LaunchPlan plan;
  std::vector<std::shared_ptr<const LoadedKernel>> kernels;  // the plan's
  Report report;
  std::vector<IndexUse> index_uses;
  std::vector<std::pair<int, int>> in_place;                 // positions of an output and its input
  std::shared_ptr<WorkerPool> pool;
  std::vector<Launch> launches;
  std::vector<Patch> input_patches, output_patches;
  ArenaMemory arena, scratch;
  int64_t scratch_stride = 0;
  bool shares_tasks = false;                                 // some phase has several

  void Build(const Options& options, const std::vector<InPlace>& pairs);
  bool TakeKept(const CacheKey& key, const Setting& setting);
  void PlanAnew(const Setting& setting);
  void Keep(const CacheKey& key, Cache& cache) const;
  void PlaceArguments(const Program& program, const std::vector<std::shared_ptr<const LoadedKernel>>& loaded);
  void Prefault(const Options& options, int64_t bytes, int64_t room);
  void PlaceInMemory();
  void Describe();
  void Bind(std::span<const void* const> inputs, std::span<void* const> outputs);
  void RunAll(const std::function<void()>& run);
  void RunLaunch(const Launch& launch);
};

void Executable::Impl::Build(const Options& options, const std::vector<InPlace>& pairs) {
  const int threads = options.threads > 0 ? options.threads : DefaultThreads();
  CpuTarget cpu = DetectCpu();
  if (options.isa) cpu = Restrict(cpu, *options.isa);
  SetPerfMap(options.perf_map);
  const std::unique_ptr<Cache> cache = Cache::Open(options.cache_directory, LogWarning);
  KernelLoader loader(cpu, cache.get(), options.no_jit, options.dump_directory);
  pool = SharedWorkerPool(threads);
  report.threads = threads;

  const Setting setting{options, pairs, cpu, threads, *cache, loader};
  std::optional<CacheKey> key;                               // where the plan may be kept
  if (cache->usable() && !BuildId().empty() && !options.sources && options.dump_directory.empty()) {
    key = LaunchPlanKey(graph, pairs, options.fusing, cpu, threads);
  }
  report.kept_plan = key && TakeKept(*key, setting);
  if (!report.kept_plan) {
    PlanAnew(setting);
    if (key && cache->writable()) Keep(*key, *cache);
  }
  report.cache_kept = cache->writable();
  PlaceInMemory();
  Describe();

  index_uses = FindIndexUses(graph);
  for (const InPlace& pair : pairs) {
    int output = 0, input = 0;
    while (graph.outputs()[output].name != pair.output) ++output;
    while (graph.value(graph.inputs()[input]).name != pair.input) ++input;
    in_place.emplace_back(output, input);
  }
}

// What an earlier process made of the graph: as good as new where the schedules that the cache remembers are still the same and the kernels still there.
bool Executable::Impl::TakeKept(const CacheKey& key, const Setting& setting) {
  auto start = Clock::now();
  const auto bytes = setting.cache.Get(key);
  if (!bytes) return false;
  try {
    plan = ReadLaunchPlan({reinterpret_cast<const char*>(bytes->data()), bytes->size()}, graph.inputs().size(), graph.outputs().size());
  } catch (const Error&) {
    return false;                                            // an entry of another layout is a miss like any other
  }
  std::vector<KernelRef> refs;
  for (const LaunchPlan::Kernel& kernel : plan.kernels) {
    const std::string remembered = RememberedSchedule(kernel.structure, setting.cpu, setting.threads, setting.cache);
    if (remembered != kernel.remembered || (remembered.empty() && setting.options.tune != TuneMode::kOff)) return false;
    refs.push_back(kernel.ref);
  }
  Prefault(setting.options, plan.arena_bytes, 0);
  report.fuse_ms = MillisecondsSince(start);
  start = Clock::now();
  auto loaded = setting.loader.LoadCached(refs, setting.threads);
  if (!loaded) return false;
  kernels = std::move(*loaded);
  report.load_ms = MillisecondsSince(start);
  return true;
}

void Executable::Impl::PlanAnew(const Setting& setting) {
  auto start = Clock::now();
  const Options& options = setting.options;
  setting.loader.ExpectMisses();                             // what was never planned was hardly ever compiled
  const Program program = BuildProgram(Decompose(graph), setting.in_place, options.fusing);
  // What kernels need for themselves, packed operands for the most part, is known when they are loaded; a quarter more is room for it.
  const int64_t temporaries = PlanArena(program, {}).bytes;
  Prefault(options, temporaries, temporaries / 4 + (16 << 20));
  report.fuse_ms = MillisecondsSince(start);

  start = Clock::now();
  const std::vector<Schedule> schedules = ChooseSchedules(program,
                                                          {setting.cpu, setting.threads, options.tune, options.tune_budget_seconds,
                                                           [&]() -> Compiler& { return setting.loader.compiler(); }, options.tune_progress},
                                                          setting.cache);
  std::vector<ScheduledPlan> plans;
  for (size_t i = 0; i < program.kernels.size(); ++i) plans.push_back({&program.kernels[i], schedules[i]});
  const auto loaded = setting.loader.Load(plans, setting.threads);
  report.load_ms = MillisecondsSince(start);

  plan = {};
  std::map<const LoadedKernel*, int> numbers;
  for (size_t i = 0; i < loaded.size(); ++i) {
    const KernelPlan& kernel = program.kernels[i];
    const auto [found, fresh] = numbers.try_emplace(loaded[i].get(), static_cast<int>(kernels.size()));
    if (fresh) {
      const std::string structure = Digest(kernel.Structure());
      plan.kernels.push_back({loaded[i]->ref, structure, RememberedSchedule(structure, setting.cpu, setting.threads, setting.cache)});
      kernels.push_back(loaded[i]);
    }
    plan.launches.push_back({found->second, {}, kernel.nodes, std::string(Name(kernel.skeleton)), kernel.flops, kernel.bytes, kernel.origin});
  }
  PlaceArguments(program, loaded);
}

// Not where the cache remembers other schedules than those that were used: unusable ones, or better ones, of another process, that came meanwhile.
void Executable::Impl::Keep(const CacheKey& key, Cache& cache) const {
  for (const LaunchPlan::Kernel& kernel : plan.kernels) {
    if (!kernel.remembered.empty() && kernel.remembered != kernel.ref.schedule) return;
  }
  const std::string text = WriteLaunchPlan(plan);
  cache.Put(key, std::as_bytes(std::span(text)));
}

void Executable::Impl::PlaceArguments(const Program& program, const std::vector<std::shared_ptr<const LoadedKernel>>& loaded) {
  using Place = LaunchPlan::Place;
  using Role = Program::Buffer::Role;
  std::vector<std::vector<int64_t>> temporaries;
  for (const auto& kernel : loaded) temporaries.push_back(kernel->ref.temporary_bytes);
  const ArenaPlan places = PlanArena(program, temporaries);
  plan.arena_bytes = places.bytes;

  std::map<std::string, int> input_position, output_position;
  for (size_t i = 0; i < graph.inputs().size(); ++i) input_position[graph.value(graph.inputs()[i]).name] = static_cast<int>(i);
  for (size_t i = 0; i < graph.outputs().size(); ++i) output_position[graph.outputs()[i].name] = static_cast<int>(i);
  const auto in_arena = [&](size_t buffer, int64_t offset) {
    return LaunchPlan::Arg{Place::kArena, 0, std::max<int64_t>(places.offsets[buffer], 0) + offset};
  };
  size_t next_temporary = program.buffers.size();
  for (size_t i = 0; i < loaded.size(); ++i) {
    std::vector<LaunchPlan::Arg>& args = plan.launches[i].args;
    for (const KernelArg& arg : program.kernels[i].args) {
      const Program::Buffer& buffer = program.buffers[arg.buffer];
      const int64_t offset = arg.offset * SizeOf(arg.dtype);
      if (buffer.role == Role::kInput) args.push_back({Place::kInput, input_position.at(buffer.name), offset});
      if (buffer.role == Role::kOutput) args.push_back({Place::kOutput, output_position.at(buffer.name), offset});
      if (buffer.role == Role::kTemporary) args.push_back(in_arena(arg.buffer, offset));
    }
    for (size_t t = 0; t < temporaries[i].size(); ++t) args.push_back(in_arena(next_temporary++, 0));
  }
}

void Executable::Impl::Prefault(const Options& options, int64_t bytes, int64_t room) {
  if (!options.prefault || bytes < kPrefaulted) return;
  arena = ArenaMemory(bytes, room);
  arena.Prefault();
}

void Executable::Impl::PlaceInMemory() {
  report.arena_bytes = plan.arena_bytes;
  arena.Settle(plan.arena_bytes);
  for (const auto& kernel : kernels) scratch_stride = std::max(scratch_stride, kernel->ref.scratch_bytes);
  // Workers' scratch apart by whole pages, so that they never share a cache line or a page.
  scratch_stride = (scratch_stride + 4095) / 4096 * 4096 + kArenaAlignment;
  scratch = ArenaMemory(scratch_stride * report.threads);

  for (const LaunchPlan::Launch& planned : plan.launches) {
    const int l = static_cast<int>(launches.size());
    Launch& launch = launches.emplace_back(kernels[planned.kernel].get());
    for (const LaunchPlan::Arg& arg : planned.args) {
      const int a = static_cast<int>(launch.args.size());
      launch.args.push_back(arg.place == LaunchPlan::Place::kArena ? arena.data() + arg.offset : nullptr);
      if (arg.place == LaunchPlan::Place::kInput) input_patches.push_back({l, a, arg.position, arg.offset});
      if (arg.place == LaunchPlan::Place::kOutput) output_patches.push_back({l, a, arg.position, arg.offset});
    }
  }
}

void Executable::Impl::Describe() {
  std::vector<KernelReport*> first(kernels.size());
  report.kernels.reserve(launches.size());
  for (const LaunchPlan::Launch& launch : plan.launches) {
    const LoadedKernel& kernel = *kernels[launch.kernel];
    report.kernels.push_back({launch.nodes, launch.skeleton, kernel.ref.schedule, kernel.source, launch.flops, launch.bytes, launch.origin, kernel.cached,
                              kernel.miss, kernel.compile_ms});
    if (first[launch.kernel] == nullptr) {
      first[launch.kernel] = &report.kernels.back();
    } else {
      ++first[launch.kernel]->launches;
      report.kernels.back().launches = 0;
    }
  }
  report.distinct_kernels = static_cast<int>(kernels.size());
  for (const auto& kernel : kernels) {
    for (const LoadedKernel::Phase& phase : kernel->phases) shares_tasks |= phase.tasks > 1;
  }
}

void Executable::Impl::Bind(std::span<const void* const> inputs, std::span<void* const> outputs) {
  if (inputs.size() != graph.inputs().size() || outputs.size() != graph.outputs().size()) {
    Fail("{}: {} inputs and {} outputs given, {} and {} expected", graph.name(), inputs.size(), outputs.size(), graph.inputs().size(),
         graph.outputs().size());
  }
  for (const auto& [output, input] : in_place) {
    if (outputs[output] != inputs[input]) {
      Fail("{}: output '{}' lives where input '{}' lives, but their pointers differ", graph.name(), graph.outputs()[output].name,
           graph.value(graph.inputs()[input]).name);
    }
  }
  CheckIndices(graph, index_uses, inputs);
  for (const Patch& p : input_patches) launches[p.launch].args[p.arg] = static_cast<char*>(const_cast<void*>(inputs[p.position])) + p.offset;
  for (const Patch& p : output_patches) launches[p.launch].args[p.arg] = static_cast<char*>(outputs[p.position]) + p.offset;
}

// Threads are called together where there is something to share.
void Executable::Impl::RunAll(const std::function<void()>& run) { shares_tasks ? pool->Together(run) : run(); }

void Executable::Impl::RunLaunch(const Launch& launch) {
  for (const LoadedKernel::Phase& phase : launch.kernel->phases) {
    if (phase.tasks == 0) continue;
    Job job{phase.run, launch.args.data(), scratch.data(), scratch_stride};
    pool->ParallelFor(phase.tasks, RunTasks, &job);
  }
}

Executable::Executable(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Executable::~Executable() = default;

std::unique_ptr<Executable> Executable::Compile(const Graph& graph, const Options& options, const std::vector<InPlace>& in_place) {
  auto impl = std::make_unique<Impl>(graph);
  impl->Build(options, in_place);
  return std::unique_ptr<Executable>(new Executable(std::move(impl)));
}

void Executable::Run(std::span<const void* const> inputs, std::span<void* const> outputs) {
  impl_->Bind(inputs, outputs);
  impl_->RunAll([&] {
    for (const Launch& launch : impl_->launches) impl_->RunLaunch(launch);
  });
}

void Executable::RunProfiled(std::span<const void* const> inputs, std::span<void* const> outputs) {
  impl_->Bind(inputs, outputs);
  impl_->RunAll([&] {
    for (size_t i = 0; i < impl_->launches.size(); ++i) {
      const auto start = Clock::now();
      impl_->RunLaunch(impl_->launches[i]);
      impl_->report.kernels[i].ms = MillisecondsSince(start);
    }
  });
}

const Report& Executable::report() const { return impl_->report; }

}  // namespace athanor
