#include "runtime/executable.h"

#include <chrono>
#include <map>
#include <thread>
#include <utility>

#include "cache/cache.h"
#include "jit/gdb_registration.h"
#include "ops/decompose.h"
#include "ops/error.h"
#include "runtime/arena.h"
#include "runtime/arena_memory.h"
#include "runtime/index_check.h"
#include "runtime/kernel_loader.h"
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
  std::shared_ptr<const LoadedKernel> kernel;
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
  explicit Impl(const Graph& g) : graph(g) {}

  Graph graph;
  Program program;
  Report report;
  std::vector<IndexUse> index_uses;
  std::vector<std::pair<int, int>> in_place;                 // positions of an output and its input
  std::shared_ptr<WorkerPool> pool;
  std::vector<Launch> launches;
  std::vector<Patch> input_patches, output_patches;
  ArenaMemory arena, scratch;
  int64_t scratch_stride = 0;

  void Build(const Options& options, const std::vector<InPlace>& pairs);
  void PrefaultArena();
  void PlaceInMemory();
  void Bind(std::span<const void* const> inputs, std::span<void* const> outputs);
  void RunLaunch(const Launch& launch);
};

void Executable::Impl::Build(const Options& options, const std::vector<InPlace>& pairs) {
  auto start = Clock::now();
  program = BuildProgram(Decompose(graph), pairs, options.fusing);
  if (options.prefault) PrefaultArena();
  report.fuse_ms = MillisecondsSince(start);

  start = Clock::now();
  const int threads = options.threads > 0 ? options.threads : DefaultThreads();
  CpuTarget cpu = DetectCpu();
  if (options.isa) cpu = Restrict(cpu, *options.isa);
  SetPerfMap(options.perf_map);
  const std::unique_ptr<Cache> cache = Cache::Open(options.cache_directory, LogWarning);
  KernelLoader loader(cpu, cache.get(), options.no_jit, options.dump_directory);
  pool = SharedWorkerPool(threads);
  const std::vector<Schedule> schedules = ChooseSchedules(
      program, {cpu, threads, options.tune, options.tune_budget_seconds, [&]() -> Compiler& { return loader.compiler(); }, options.tune_progress}, *cache);
  std::vector<ScheduledPlan> plans;
  for (size_t i = 0; i < program.kernels.size(); ++i) plans.push_back({&program.kernels[i], schedules[i]});
  for (auto& kernel : loader.Load(plans, threads)) launches.push_back({std::move(kernel), {}});
  report.load_ms = MillisecondsSince(start);
  report.threads = threads;
  report.cache_kept = cache->writable();
  PlaceInMemory();

  index_uses = FindIndexUses(graph);
  for (const InPlace& pair : pairs) {
    int output = 0, input = 0;
    while (graph.outputs()[output].name != pair.output) ++output;
    while (graph.value(graph.inputs()[input]).name != pair.input) ++input;
    in_place.emplace_back(output, input);
  }
  std::map<const LoadedKernel*, KernelReport*> first;
  report.kernels.reserve(launches.size());
  for (size_t i = 0; i < launches.size(); ++i) {
    const KernelPlan& plan = program.kernels[i];
    const LoadedKernel& kernel = *launches[i].kernel;
    report.kernels.push_back({plan.nodes, std::string(Name(plan.skeleton)), kernel.schedule, kernel.source, plan.flops, plan.bytes, plan.origin,
                              kernel.cached, kernel.miss, kernel.compile_ms});
    auto [found, fresh] = first.try_emplace(&kernel, &report.kernels.back());
    if (!fresh) ++found->second->launches, report.kernels.back().launches = 0;
  }
  report.distinct_kernels = static_cast<int>(first.size());
}

// What kernels need for themselves, packed operands for the most part, is known when they are loaded; a quarter more is room for it.
void Executable::Impl::PrefaultArena() {
  const int64_t bytes = PlanArena(program, {}).bytes;
  if (bytes < kPrefaulted) return;
  arena = ArenaMemory(bytes, bytes / 4 + (16 << 20));
  arena.Prefault();
}

void Executable::Impl::PlaceInMemory() {
  std::vector<std::vector<int64_t>> temporaries;
  for (const Launch& launch : launches) {
    temporaries.push_back(launch.kernel->temporary_bytes);
    scratch_stride = std::max(scratch_stride, launch.kernel->scratch_bytes);
  }
  const ArenaPlan plan = PlanArena(program, temporaries);
  report.arena_bytes = plan.bytes;
  arena.Settle(plan.bytes);
  // Workers' scratch apart by whole pages, so that they never share a cache line or a page.
  scratch_stride = (scratch_stride + 4095) / 4096 * 4096 + kArenaAlignment;
  scratch = ArenaMemory(scratch_stride * report.threads);

  std::map<std::string, int> input_position, output_position;
  for (size_t i = 0; i < graph.inputs().size(); ++i) input_position[graph.value(graph.inputs()[i]).name] = static_cast<int>(i);
  for (size_t i = 0; i < graph.outputs().size(); ++i) output_position[graph.outputs()[i].name] = static_cast<int>(i);
  size_t next_temporary = program.buffers.size();
  for (int l = 0; l < static_cast<int>(launches.size()); ++l) {
    Launch& launch = launches[l];
    for (const KernelArg& arg : program.kernels[l].args) {
      const Program::Buffer& buffer = program.buffers[arg.buffer];
      const int a = static_cast<int>(launch.args.size());
      const bool temporary = buffer.role == Program::Buffer::Role::kTemporary;
      const int64_t offset = arg.offset * SizeOf(arg.dtype);
      launch.args.push_back(temporary ? arena.data() + std::max<int64_t>(plan.offsets[arg.buffer], 0) + offset : nullptr);
      if (buffer.role == Program::Buffer::Role::kInput) input_patches.push_back({l, a, input_position.at(buffer.name), offset});
      if (buffer.role == Program::Buffer::Role::kOutput) output_patches.push_back({l, a, output_position.at(buffer.name), offset});
    }
    for (size_t t = 0; t < launch.kernel->temporary_bytes.size(); ++t) {
      launch.args.push_back(arena.data() + std::max<int64_t>(plan.offsets[next_temporary++], 0));
    }
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
  for (const Launch& launch : impl_->launches) impl_->RunLaunch(launch);
}

void Executable::RunProfiled(std::span<const void* const> inputs, std::span<void* const> outputs) {
  impl_->Bind(inputs, outputs);
  for (size_t i = 0; i < impl_->launches.size(); ++i) {
    const auto start = Clock::now();
    impl_->RunLaunch(impl_->launches[i]);
    impl_->report.kernels[i].ms = MillisecondsSince(start);
  }
}

const Report& Executable::report() const { return impl_->report; }
const Program& Executable::program() const { return impl_->program; }

}  // namespace athanor
