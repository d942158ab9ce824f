#pragma once
#include "jit/clang/llvm_headers.h"
#include "jit/target.h"

namespace athanor {

// From clang's unoptimised IR to machine code. Generated kernels are already written in vectors and blocks, so the passes are few: clang's -O2 takes longer
// for the same code.
class Backend {
 public:
  explicit Backend(const CpuTarget& cpu);

  // Inlines, simplifies, unrolls where the source asks for it.
  void Optimize(llvm::Module& module) const;
  llvm::SmallVector<char, 0> Emit(llvm::Module& module, llvm::CodeGenFileType type) const;

 private:
  std::unique_ptr<llvm::TargetMachine> MakeMachine() const;

  std::string features_;
};

}  // namespace athanor
