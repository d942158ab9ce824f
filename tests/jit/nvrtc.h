#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "jit/codegen_cuda.h"
#include "jit/nvrtc_compiler.h"
#include "ops/error.h"

namespace athanor::testing {

// The tests' NVRTC: $ATHANOR_NVRTC, the virtual environment that scripts/setup makes (build/venv), or the system's. Null when there
// is none; but when ATHANOR_NVRTC is set it must work.
inline const NvrtcCompiler* Nvrtc() {
  static const std::unique_ptr<NvrtcCompiler> nvrtc = []() -> std::unique_ptr<NvrtcCompiler> {
    if (const char* path = std::getenv("ATHANOR_NVRTC")) return std::make_unique<NvrtcCompiler>(path);
    const std::string environment = std::string(ATHANOR_SOURCE_DIR) + "/build/venv";
    for (const std::string& path : {environment, std::string()}) {
      if (!path.empty() && !std::filesystem::exists(path)) continue;
      try {
        return std::make_unique<NvrtcCompiler>(path);
      } catch (const Error&) {                               // the next place
      }
    }
    return nullptr;
  }();
  return nvrtc.get();
}

// Where NVRTC is at hand, compiles the plan for Hopper: nothing in local memory, at most `max_registers` a thread.
inline void CheckCubin(const KernelPlan& plan, int max_registers, const CudaSchedule& schedule) {
  const NvrtcCompiler* nvrtc = Nvrtc();
  const CudaSource source = GenerateCuda(plan, schedule);
  if (nvrtc == nullptr || source.launches.empty()) return;
  const CudaImage image = nvrtc->Compile(source.text, "test_kernel");
  EXPECT_GT(image.cubin.size(), 500u);
  EXPECT_EQ(image.kernels.size(), source.launches.size()) << source.text;
  for (const CudaSource::Launch& launch : source.launches) {
    ASSERT_TRUE(image.kernels.contains(launch.symbol)) << source.text;
    const CudaImage::Resources& resources = image.kernels.at(launch.symbol);
    EXPECT_EQ(resources.spill_bytes, 0) << source.text;
    EXPECT_EQ(resources.stack_bytes, 0) << source.text;
    EXPECT_GT(resources.registers, 0) << source.text;
    EXPECT_LE(resources.registers, max_registers) << source.text;
    EXPECT_LE(resources.shared_bytes, 48 << 10) << source.text;
  }
}

inline void CheckCubin(const KernelPlan& plan, int max_registers) { CheckCubin(plan, max_registers, DefaultCudaSchedule(plan)); }

}  // namespace athanor::testing
