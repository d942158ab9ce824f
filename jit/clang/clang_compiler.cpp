// The compiler plugin. Generated C++ -> Frontend -> IR -> Backend -> object code -> JITLink, ORC's linker -> Image.
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "jit/clang/backend.h"
#include "jit/clang/frontend.h"
#include "jit/clang/image_linker.h"
#include "jit/clang/llvm_headers.h"
#include "jit/compiler.h"
#include "jit/machine_code.h"
#include "jit/routines.h"
#include "jit/unused_vocabulary.h"
#include "ops/error.h"

namespace athanor {
namespace {

class ClangCompiler final : public Compiler {
 public:
  explicit ClangCompiler(const CpuTarget& cpu) : cpu_(cpu), frontend_(cpu, /*names=*/false) {}

  Image Compile(const KernelSource& source, std::string_view name) override {
    std::string text = source.text;
    std::vector<MachineCode> codes = TakeMachineCode(&text);
    for (const Routine& routine : TakeRoutines(&text)) codes.push_back(Compiled(routine));
    return Compile(text, codes, name, Effort::kQuick);
  }

  Listing List(const KernelSource& source, std::string_view name) override {
    llvm::LLVMContext context;
    const std::unique_ptr<llvm::Module> module = Frontend(cpu_, /*names=*/true).Parse(source.text, name, context);
    Backend backend(cpu_);
    backend.Optimize(*module, Effort::kQuick);
    Listing listing;
    llvm::raw_string_ostream ir(listing.llvm_ir);
    module->print(ir, nullptr);
    listing.assembly = backend.Assembly(*module);
    return listing;
  }

 private:
  Image Compile(const std::string& text, const std::vector<MachineCode>& codes, std::string_view name, Effort effort) {
    llvm::LLVMContext context;
    const std::unique_ptr<llvm::Module> module = frontend_.Parse(WithoutUnusedVocabulary(text), name, context);
    std::unique_ptr<Backend> backend = TakeBackend();
    backend->Optimize(*module, effort);
    Image image = LinkImage(backend->Emit(*module), codes, std::string(name));
    Return(std::move(backend));
    return image;
  }

  // Once for all kernels: another thread that asks meanwhile waits.
  MachineCode Compiled(const Routine& routine) {
    std::promise<MachineCode> promise;
    std::unique_lock lock(mutex_);
    const auto [found, fresh] = routines_.try_emplace(routine.definition);
    if (fresh) found->second = promise.get_future().share();
    const std::shared_future<MachineCode> result = found->second;
    lock.unlock();
    if (!fresh) return result.get();
    try {
      const Image image = Compile(routine.prelude + routine.definition, {}, routine.name, Effort::kWhole);
      MachineCode code{routine.name, {}, static_cast<uint64_t>(image.symbols.at(routine.name))};
      for (std::byte byte : image.code) code.bytes.push_back(std::to_integer<uint8_t>(byte));
      promise.set_value(std::move(code));
    } catch (...) {
      promise.set_exception(std::current_exception());
      lock.lock();
      routines_.erase(routine.definition);
    }
    return result.get();
  }

  std::unique_ptr<Backend> TakeBackend() {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<Backend> backend = std::move(idle_.back());
        idle_.pop_back();
        return backend;
      }
    }
    return std::make_unique<Backend>(cpu_);
  }

  void Return(std::unique_ptr<Backend> backend) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(backend));
  }

  CpuTarget cpu_;
  Frontend frontend_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Backend>> idle_;               // one for each thread that compiled at the same time
  std::map<std::string, std::shared_future<MachineCode>> routines_;  // by definition
};

}  // namespace
}  // namespace athanor

extern "C" __attribute__((visibility("default"))) athanor::Compiler* athanor_make_clang_compiler(const athanor::CpuTarget& cpu) {
  return new athanor::ClangCompiler(cpu);
}
