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

  // Step by step, so that the code of a step, megabytes of clang and LLVM, is still in the caches for the next kernel. Before the kernels the routines that
  // nobody has compiled yet.
  std::vector<Result> CompileAll(std::span<const Job> jobs) override {
    const RoutineArchive& archive = InstalledRoutines();
    std::vector<Text> texts;
    std::vector<Result> results(jobs.size());
    std::vector<std::vector<Routine>> routines(jobs.size());
    for (size_t i = 0; i < jobs.size(); ++i) {
      const Stopwatch stopwatch(&results[i].milliseconds);
      Text& text = texts.emplace_back(std::string(jobs[i].text), std::string(jobs[i].name));
      text.codes = TakeMachineCode(&text.text);
      routines[i] = TakeRoutines(&text.text);
    }
    std::vector<Missing> missing;
    for (size_t i = 0; i < jobs.size(); ++i) {
      for (Routine& routine : routines[i]) texts[i].routines.push_back(Find(std::move(routine), i, archive, &missing));
    }
    CompileMissing(&missing, &results);
    Compile(&texts, Effort::kQuick, &results);
    return results;
  }

  MachineCode CompileRoutine(const Routine& routine) override {
    std::vector<Text> text;
    text.emplace_back(routine.prelude + routine.definition, routine.name);
    std::vector<Result> result(1);
    Compile(&text, Effort::kWhole, &result);
    return CodeOf(result[0].image, routine.name);
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
    std::vector<std::shared_future<MachineCode>> routines;
    std::unique_ptr<llvm::LLVMContext> context = std::make_unique<llvm::LLVMContext>();
    std::unique_ptr<llvm::Module> module;
  };

  // A routine that no kernel has asked for before, and the job that now does.
  struct Missing {
    Routine routine;
    size_t job;
    std::promise<MachineCode> code;
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
    for_each([&](Text& text, Result* result) {
      for (const std::shared_future<MachineCode>& routine : text.routines) text.codes.push_back(routine.get());
      result->image = LinkImage(backend->Emit(*text.module), text.codes, text.name);
    });
    Return(std::move(backend));
  }

  // From the archive, or else compiled, once for all kernels, by the one that asks first.
  std::shared_future<MachineCode> Find(Routine routine, size_t job, const RoutineArchive& archive, std::vector<Missing>* missing) {
    std::promise<MachineCode> promise;
    std::unique_lock lock(mutex_);
    const auto [found, fresh] = routines_.try_emplace(routine.definition);
    if (fresh) found->second = promise.get_future().share();
    const std::shared_future<MachineCode> result = found->second;
    lock.unlock();
    if (!fresh) return result;
    if (std::optional<MachineCode> code = archive.Find(RoutineArchive::Key(routine, cpu_), routine.name)) {
      promise.set_value(std::move(*code));
    } else {
      missing->push_back({std::move(routine), job, std::move(promise)});
    }
    return result;
  }

  void CompileMissing(std::vector<Missing>* missing, std::vector<Result>* of_jobs) {
    std::vector<Text> texts;
    std::vector<Result> results(missing->size());
    for (const Missing& m : *missing) texts.emplace_back(m.routine.prelude + m.routine.definition, m.routine.name);
    try {
      Compile(&texts, Effort::kWhole, &results);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      for (Missing& m : *missing) {
        m.code.set_exception(std::current_exception());
        routines_.erase(m.routine.definition);
      }
      return;                                                // thrown where a kernel wants it
    }
    for (size_t i = 0; i < missing->size(); ++i) {
      Missing& m = (*missing)[i];
      m.code.set_value(CodeOf(results[i].image, m.routine.name));
      (*of_jobs)[m.job].milliseconds += results[i].milliseconds;
    }
  }

  static MachineCode CodeOf(const Image& image, const std::string& name) {
    MachineCode code{name, {}, static_cast<uint64_t>(image.symbols.at(name))};
    for (std::byte byte : image.code) code.bytes.push_back(std::to_integer<uint8_t>(byte));
    return code;
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
