#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "jit/plan.h"

namespace athanor {

// One kernel as CUDA text, from the very plan that GenerateCpp writes as C++. It includes nothing. The launches run one after
// the other on one stream; each has one parameter, the plan's args followed by the temporaries as an array of device pointers
// passed by value. All are aligned to 64 bytes. Results do not depend on the order in which blocks run.
//
// This has not run on a GPU: the tests compile it for Hopper with NVRTC and run the same text in an emulator on the CPU.
struct CudaSource {
  struct Launch {
    std::string symbol;
    int64_t blocks = 0;
    int threads = 0;                                         // of a block
  };
  std::string text;
  std::vector<Launch> launches;
  std::vector<int64_t> temporary_bytes;
};

struct CudaSchedule {
  int threads = 256;                                         // of a block; a multiple of 32
  int64_t max_blocks = 1056;                                 // blocks then take several pieces of work: 8 for each of 132 processors
  int row_threads = 32;                                      // that share a row (kReduce) or a point (kLoopNest): a power of two up to 32, or `threads`
  bool operator==(const CudaSchedule&) const = default;
};

std::string ToString(const CudaSchedule& schedule);
// Empty when `schedule` can carry out `plan`, otherwise the reason.
std::string Validate(const CudaSchedule& schedule, const KernelPlan& plan);
// A good first guess.
CudaSchedule DefaultCudaSchedule(const KernelPlan& plan);
// kPointwise, kReduce, kLoopNest and kScatter. Deterministic. Throws Error for other skeletons, InternalError on an invalid schedule.
CudaSource GenerateCuda(const KernelPlan& plan, const CudaSchedule& schedule);

// What these dispatch to, in jit/codegen_cuda_<skeleton>.cpp.
CudaSource GenerateCudaPointwise(const KernelPlan& plan, const CudaSchedule& schedule);
CudaSource GenerateCudaReduce(const KernelPlan& plan, const CudaSchedule& schedule);
CudaSchedule DefaultCudaReduceSchedule(const KernelPlan& plan);
CudaSource GenerateCudaLoopNest(const KernelPlan& plan, const CudaSchedule& schedule);
CudaSchedule DefaultCudaLoopNestSchedule(const KernelPlan& plan);
CudaSource GenerateCudaScatter(const KernelPlan& plan, const CudaSchedule& schedule);
CudaSchedule DefaultCudaScatterSchedule(const KernelPlan& plan);

// The text of a source: a comment that names the graph nodes, the helpers in `used`, the parameter's type, then `kernels`.
std::string CudaText(const KernelPlan& plan, const CudaSchedule& schedule, size_t pointers, const std::string& helpers, const std::string& kernels);

}  // namespace athanor
