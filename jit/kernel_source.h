#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "jit/plan.h"
#include "jit/schedule.h"
#include "jit/target.h"

namespace athanor {

// One kernel as source text. A kernel runs as one or more phases with a barrier between them. Each phase is a C function
//   void symbol(char* const* args, long begin, long end, char* scratch)
// that does tasks [begin, end) of `tasks`. Tasks are independent and their results do not depend on which thread or in what
// order they run. `args` are the plan's args followed by the kernel's temporaries, 64-byte aligned and shared by all threads;
// `scratch` is `scratch_bytes` of the calling worker's own memory, 64-byte aligned, contents undefined.
struct KernelSource {
  struct Phase {
    std::string symbol;
    int64_t tasks = 0;
  };
  // Self-contained: micro-kernels that asmjit emitted travel in it as blocks of bytes (machine_code.h), routines as definitions (routines.h).
  std::string text;
  std::vector<Phase> phases;
  std::vector<int64_t> temporary_bytes;
  int64_t scratch_bytes = 0;
};

// C++ for `plan` under `schedule` (valid for it). Deterministic; includes no header. Throws InternalError on an invalid schedule.
KernelSource GenerateCpp(const KernelPlan& plan, const Schedule& schedule, const CpuTarget& cpu);

}  // namespace athanor
