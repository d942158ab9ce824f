#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "jit/kernel_source.h"
#include "jit/machine_code.h"
#include "jit/module.h"
#include "jit/routines.h"
#include "jit/target.h"

namespace athanor {

// Turns generated C++ into an Image with an in-process clang and LLVM ORC's linker. Thread-safe.
class Compiler {
 public:
  struct Listing {
    std::string llvm_ir, assembly;
  };
  struct Job {
    std::string_view text, name;                             // of a KernelSource, and for messages
  };
  struct Result {
    Image image;
    double milliseconds = 0;                                 // that this kernel took
  };
  virtual ~Compiler() = default;
  // Several kernels, step by step: they take a tenth less time than one after the other. Throws InternalError with clang's diagnostics: generated source
  // that does not compile is our bug.
  virtual std::vector<Result> CompileAll(std::span<const Job> jobs) = 0;
  Image Compile(const KernelSource& source, std::string_view name);
  // A routine by itself, even one that InstalledRoutines has.
  virtual MachineCode CompileRoutine(const Routine& routine) = 0;
  // What Compile makes of it, but with routines (jit/routines.h) and machine code in place.
  virtual Listing List(const KernelSource& source, std::string_view name) = 0;
};

// Identifies compiler and flags for the cache's key, without loading LLVM: "clang 19.1.7 (build id) -O3 avx512f ...".
std::string CompilerIdentity(const CpuTarget& cpu);

// Loads the plugin that carries clang and LLVM (libathanor_clang.so, next to the library) on the first call of the process.
// Throws Error when it cannot be loaded.
std::unique_ptr<Compiler> MakeClangCompiler(const CpuTarget& cpu);

}  // namespace athanor
