#pragma once

#include <cstddef>
#include <vector>

#include "jit/module.h"

namespace athanor {

// Tells gdb about loaded code, through its JIT interface (gdb manual, "JIT Compilation Interface"): an ELF file in memory with a
// symbol for each function. Registered from construction to destruction. With SetPerfMap, functions are also listed for perf.
class GdbRegistration {
 public:
  GdbRegistration(const std::byte* base, const Image& image);
  ~GdbRegistration();
  GdbRegistration(const GdbRegistration&) = delete;
  GdbRegistration& operator=(const GdbRegistration&) = delete;

 private:
  std::vector<std::byte> elf_;
  void* entry_ = nullptr;
};

// Appends the functions loaded from now on to /tmp/perf-PID.map, where `perf report` looks them up.
void SetPerfMap(bool enabled);

}  // namespace athanor
