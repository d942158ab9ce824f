#pragma once

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

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

}  // namespace athanor::testing
