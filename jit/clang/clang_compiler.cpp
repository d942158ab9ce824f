// The compiler plugin. Generated C++ -> Frontend -> IR -> Backend -> object code -> JITLink, ORC's linker -> Image.
#include <chrono>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "jit/clang/backend.h"
#include "jit/clang/frontend.h"
#include "jit/clang/image_linker.h"
#include "jit/clang/llvm_headers.h"
#include "jit/compiler.h"
#include "jit/machine_code.h"
#include "jit/routine_archive.h"
#include "jit/routines.h"
#include "jit/unused_vocabulary.h"
#include "ops/error.h"

namespace athanor {
namespace {

class ClangCompiler final : public Compiler {
 public:
  explicit ClangCompiler(const CpuTarget& cpu) : cpu_(cpu), frontend_(cpu, /*names=*/false) {}

  // Step by step, so that the code of a step, megabytes of clang and LLVM, is still in the caches for the next kernel.
  std::vector<Result> CompileAll(std::span<const Job> jobs) override {
    std::vector<Text> texts;
    std::vector<Result> results(jobs.size());
    for (size_t i = 0; i < jobs.size(); ++i) {
      const Stopwatch stopwatch(&results[i].milliseconds);
      Text& text = texts.emplace_back(std::string(jobs[i].text), std::string(jobs[i].name));
      text.codes = TakeMachineCode(&text.text);
      for (const Routine& routine : TakeRoutines(&text.text)) text.codes.push_back(Find(routine));
    }
    Compile(&texts, Effort::kQuick, &results);
    return results;
  }

  MachineCode CompileRoutine(const Routine& routine) override {
    std::vector<Text> text;
    text.emplace_back(routine.prelude + routine.definition, routine.name);
    std::vector<Result> result(1);
    Compile(&text, Effort::kWhole, &result);
    const Image& image = result[0].image;
    MachineCode code{routine.name, {}, static_cast<uint64_t>(image.symbols.at(routine.name))};
    for (std::byte byte : image.code) code.bytes.push_back(std::to_integer<uint8_t>(byte));
    return code;
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
  // Source without its machine code and routines, on its way to an image.
  struct Text {
    Text(std::string text, std::string name) : text(std::move(text)), name(std::move(name)) {}

    std::string text, name;
    std::vector<MachineCode> codes;
    std::unique_ptr<llvm::LLVMContext> context = std::make_unique<llvm::LLVMContext>();
    std::unique_ptr<llvm::Module> module;
  };

  // Adds the time until its end.
  class Stopwatch {
   public:
    explicit Stopwatch(double* milliseconds) : milliseconds_(*milliseconds) {}
    ~Stopwatch() { milliseconds_ += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_).count(); }

   private:
    double& milliseconds_;
    const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  };

  void Compile(std::vector<Text>* texts, Effort effort, std::vector<Result>* results) {
    const auto for_each = [&](const auto& step) {
      for (size_t i = 0; i < texts->size(); ++i) {
        const Stopwatch stopwatch(&(*results)[i].milliseconds);
        step((*texts)[i], &(*results)[i]);
      }
    };
    for_each([&](Text& text, Result*) { text.module = frontend_.Parse(WithoutUnusedVocabulary(text.text), text.name, *text.context); });
    std::unique_ptr<Backend> backend = TakeBackend();
    for_each([&](Text& text, Result*) { backend->Optimize(*text.module, effort); });
    for_each([&](Text& text, Result* result) { result->image = LinkImage(backend->Emit(*text.module), text.codes, text.name); });
    Return(std::move(backend));
  }

  // From the archive, or else compiled, once for all kernels: another thread that asks meanwhile waits.
  MachineCode Find(const Routine& routine) {
    std::promise<MachineCode> promise;
    std::unique_lock lock(mutex_);
    const auto [found, fresh] = routines_.try_emplace(routine.definition);
    if (fresh) found->second = promise.get_future().share();
    const std::shared_future<MachineCode> result = found->second;
    lock.unlock();
    if (!fresh) return result.get();
    try {
      std::optional<MachineCode> code = InstalledRoutines().Find(RoutineArchive::Key(routine, cpu_), routine.name);
      promise.set_value(code ? std::move(*code) : CompileRoutine(routine));
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
