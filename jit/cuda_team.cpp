#include "jit/cuda_team.h"

#include <algorithm>

#include "jit/prelude.h"
#include "ops/error.h"

namespace athanor {

std::string CudaTeam::Number() const {
  if (in_block() == 1) return "blockIdx.x";
  const std::string in_this_block = size_ == 1 ? "threadIdx.x" : fmt::format("threadIdx.x / {}", size_);
  return fmt::format("blockIdx.x * {} + {}", in_block(), in_this_block);
}

void CudaTeam::Declare(bool reduces) const {
  if (size_ == 1) {
    out_->Line("const int t = 0;  // every thread works for itself");
  } else if (in_block() == 1) {
    out_->Line("const int t = threadIdx.x;  // the block works together");
  } else {
    out_->Line("const int t = threadIdx.x % {0};  // among the {0} threads that work together", size_);
  }
  if (!reduces || size_ == 1 || !in_warp()) return;
  if (size_ == kWarp) {
    out_->Line("const unsigned team = 0xffffffffu;");
  } else {
    out_->Line("const unsigned team = {:#x}u << (threadIdx.x % {} - t);", (1u << size_) - 1, kWarp);
  }
}

void CudaTeam::Reduce(std::span<const Partial> partials, bool again) const {
  if (size_ == 1 || partials.empty()) return;
  for (const Partial& p : partials) {
    const char* across = p.fn == Fn::kMax ? "max_across" : "sum_across";
    emitter_->Use(across);
    out_->Line("{0} = {1}<1, {2}>({3}, {0});", p.name, across, std::min(size_, kWarp), in_warp() ? "team" : "0xffffffffu");
  }
  if (in_warp()) return;
  const int warps = size_ / kWarp;
  for (const Partial& p : partials) out_->Line("__shared__ {} warps_{}[{}];", ScalarType(p.dtype), p.name, warps);
  out_->Open("if (t % {} == 0)", kWarp);
  for (const Partial& p : partials) out_->Line("warps_{0}[t / {1}] = {0};", p.name, kWarp);
  out_->Close();
  out_->Line("__syncthreads();");
  for (const Partial& p : partials) {
    out_->Line("{0} = warps_{0}[0];", p.name);
    out_->Line("for (int w = 1; w < {}; ++w) {} = {};", warps, p.name, Combine(p, p.name, fmt::format("warps_{}[w]", p.name)));
  }
  if (again) out_->Line("__syncthreads();");
}

std::string CudaTeam::Combine(const Partial& partial, const std::string& a, const std::string& b) const {
  if (partial.fn == Fn::kMax) return emitter_->Larger(a, b, partial.dtype);
  ATHANOR_CHECK(partial.fn == Fn::kAdd);
  return fmt::format("{} + {}", a, b);
}

std::string CudaTeam::Start(const Partial& partial) const {
  return partial.fn == Fn::kMax ? CudaLowest(partial.dtype) : Literal(0, partial.dtype);
}

}  // namespace athanor
