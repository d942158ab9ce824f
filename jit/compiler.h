#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "jit/kernel_source.h"
#include "jit/module.h"
#include "jit/target.h"

namespace athanor {

// Turns generated C++ into an Image with an in-process clang and LLVM ORC's linker. Thread-safe.
class Compiler {
 public:
  struct Listing {
    std::string llvm_ir, assembly;
  };
  virtual ~Compiler() = default;
  // Throws InternalError with clang's diagnostics: generated source that does not compile is our bug.
  virtual Image Compile(const KernelSource& source, std::string_view name) = 0;
  // What Compile makes of it, but with routines (jit/routines.h) and machine code in place.
  virtual Listing List(const KernelSource& source, std::string_view name) = 0;
};

// Identifies compiler and flags for the cache's key, without loading LLVM: "clang 19.1.7 (build id) -O3 avx512f ...".
std::string CompilerIdentity(const CpuTarget& cpu);

// Loads the plugin that carries clang and LLVM (libathanor_clang.so, next to the library) on the first call of the process.
// Throws Error when it cannot be loaded.
std::unique_ptr<Compiler> MakeClangCompiler(const CpuTarget& cpu);

}  // namespace athanor
