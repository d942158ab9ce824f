#pragma once
#include "jit/clang/llvm_headers.h"
#include "jit/target.h"

namespace athanor {

// From clang's unoptimised IR to machine code. Generated kernels are already written in vectors and blocks, so the passes are few: clang's -O2 takes longer
// for the same code. For one module at a time; made once for many, as what LLVM computes of a target takes as long as a small kernel.
class Backend {
 public:
  explicit Backend(const CpuTarget& cpu);

  // Inlines, simplifies, unrolls where the source asks for it.
  void Optimize(llvm::Module& module);
  llvm::SmallVector<char, 0> Emit(llvm::Module& module, llvm::CodeGenFileType type);

 private:
  std::unique_ptr<llvm::TargetMachine> machine_;
};

}  // namespace athanor
