#include "jit/codegen_cuda.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <bit>

#include "jit/cuda_emitter.h"
#include "jit/source_writer.h"
#include "ops/error.h"

namespace athanor {
namespace {

constexpr size_t kMaxPointers = 4000;                        // a launch takes 32764 bytes of parameters

struct Generator {
  CudaSource (*generate)(const KernelPlan&, const CudaSchedule&) = nullptr;
  CudaSchedule (*schedule)(const KernelPlan&) = nullptr;
};

// Null for skeletons that have none yet.
Generator GeneratorOf(Skeleton skeleton) {
  switch (skeleton) {
    case Skeleton::kPointwise: return {GenerateCudaPointwise, [](const KernelPlan&) { return CudaSchedule{}; }};
    case Skeleton::kReduce: return {GenerateCudaReduce, DefaultCudaReduceSchedule};
    case Skeleton::kLoopNest: return {GenerateCudaLoopNest, DefaultCudaLoopNestSchedule};
    case Skeleton::kScatter: return {GenerateCudaScatter, DefaultCudaScatterSchedule};
    case Skeleton::kContract:
    case Skeleton::kAttention: return {};
  }
  throw InternalError("no such skeleton");
}

// Throws Error where there is none.
Generator NeededGenerator(const KernelPlan& plan) {
  const Generator generator = GeneratorOf(plan.skeleton);
  if (generator.generate == nullptr) Fail("no CUDA generator for the skeleton {} yet, which computes {}", Name(plan.skeleton), fmt::join(plan.nodes, ", "));
  return generator;
}

}  // namespace

std::string ToString(const CudaSchedule& schedule) {
  return fmt::format("cuda threads={} max_blocks={} row_threads={}", schedule.threads, schedule.max_blocks, schedule.row_threads);
}

std::string Validate(const CudaSchedule& schedule, const KernelPlan& plan) {
  if (GeneratorOf(plan.skeleton).generate == nullptr) return fmt::format("no CUDA generator for the skeleton {} yet", Name(plan.skeleton));
  if (schedule.threads < 32 || schedule.threads > 1024 || schedule.threads % 32 != 0) return fmt::format("{} threads in a block", schedule.threads);
  if (schedule.max_blocks < 1 || schedule.max_blocks > 1 << 20) return fmt::format("{} blocks", schedule.max_blocks);
  const int shared = schedule.row_threads;
  if (shared != schedule.threads && (shared < 1 || shared > 32 || !std::has_single_bit(static_cast<unsigned>(shared)))) {
    return fmt::format("{} threads share a row", shared);
  }
  return "";
}

CudaSchedule DefaultCudaSchedule(const KernelPlan& plan) { return NeededGenerator(plan).schedule(plan); }

CudaSource GenerateCuda(const KernelPlan& plan, const CudaSchedule& schedule) {
  const Generator generator = NeededGenerator(plan);
  if (plan.args.size() > kMaxPointers) Fail("a CUDA kernel takes at most {} tensors, this one has {}", kMaxPointers, plan.args.size());
  if (const std::string reason = Validate(schedule, plan); !reason.empty()) {
    throw InternalError(fmt::format("cannot generate {} under '{}': {}", Name(plan.skeleton), ToString(schedule), reason));
  }
  return generator.generate(plan, schedule);
}

std::string CudaText(const KernelPlan& plan, const CudaSchedule& schedule, size_t pointers, const std::string& helpers, const std::string& kernels) {
  SourceWriter out;
  out.Comment(fmt::format("{}: {}", Name(plan.skeleton), fmt::join(plan.nodes, ", ")));
  out.Comment(fmt::format("schedule: {}", ToString(schedule)));
  out.Raw(helpers);
  out.Open("struct Arguments");
  out.Line("char* pointers[{}];", pointers);
  out.Close(";");
  out.Blank();
  return out.text() + kernels;
}

}  // namespace athanor
