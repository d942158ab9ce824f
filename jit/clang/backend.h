#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "jit/clang/llvm_headers.h"
#include "jit/target.h"

namespace athanor {

// What becomes of functions that only call others: they are compiled as quickly as possible, or like all the rest.
enum class Effort : uint8_t { kQuick, kWhole };

// From clang's unoptimised IR to machine code. Generated kernels are already written in vectors and blocks, so the passes are few: clang's -O2 takes longer
// for the same code. For one module at a time; made once for many, as setting it up takes as long as a small kernel.
class Backend {
 public:
  explicit Backend(const CpuTarget& cpu);

  // Inlines, simplifies, unrolls where the source asks for it.
  void Optimize(llvm::Module& module, Effort effort);
  // Object code, valid until the next call.
  llvm::StringRef Emit(llvm::Module& module);
  std::string Assembly(llvm::Module& module);

 private:
  void AddCodeGenerator(llvm::legacy::PassManager* passes, llvm::raw_pwrite_stream& stream, llvm::CodeGenFileType type);

  std::unique_ptr<llvm::TargetMachine> machine_;
  llvm::SmallVector<char, 0> object_;
  llvm::raw_svector_ostream stream_{object_};
  llvm::legacy::PassManager emission_;
};

}  // namespace athanor
