#pragma once
#include <string>
#include <string_view>

#include "jit/clang/llvm_headers.h"
#include "jit/target.h"

namespace athanor {

// From generated C++ to unoptimised IR. Made once for many sources, as reading clang's arguments takes part of what a small kernel takes. Thread-safe.
class Frontend {
 public:
  // `names`: values of the IR are named as in the source.
  Frontend(const CpuTarget& cpu, bool names);

  // Throws InternalError with clang's diagnostics, which call the file NAME.cpp.
  std::unique_ptr<llvm::Module> Parse(const std::string& text, std::string_view name, llvm::LLVMContext& context) const;

 private:
  clang::CompilerInvocation invocation_;
};

}  // namespace athanor
