// The compiler plugin. Generated C++ -> clang -> IR -> Backend -> object code -> JITLink, ORC's linker -> Image.
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "jit/clang/backend.h"
#include "jit/clang/image_linker.h"
#include "jit/clang/llvm_headers.h"
#include "jit/compiler.h"
#include "jit/machine_code.h"
#include "jit/routines.h"
#include "ops/error.h"

namespace athanor {
namespace {

constexpr const char* kArguments[] = {
    "-triple", "x86_64-unknown-linux-gnu", "-x", "c++", "-std=c++20", "-O2", "-target-cpu", "x86-64", "-mrelocation-model", "pic", "-pic-level", "2",
    // Contraction is wanted and deterministic; nothing else of fast math is.
    "-ffp-contract=fast", "-fno-rounding-math",
    // No calls into a C library: a kernel's image has no external references.
    "-ffreestanding", "-fno-builtin", "-nostdsysteminc", "-nobuiltininc",
    // No source asks for a predefined macro.
    "-undef", "-fno-rtti", "-mframe-pointer=none", "-ferror-limit", "5", "-w",
    // Stack slots are few and become registers; markers of their lifetimes would only be read and dropped.
    "-disable-lifetime-markers"};

// `names`: values of the IR are named as in the source.
std::vector<std::string> Arguments(const CpuTarget& cpu, const std::string& file, bool names) {
  std::vector<std::string> arguments(std::begin(kArguments), std::end(kArguments));
  if (!names) arguments.push_back("-discard-value-names");
  if (cpu.isa == Isa::kAvx512) arguments.push_back("-mprefer-vector-width=512");
  for (const std::string& feature : cpu.features) {
    arguments.push_back("-target-feature");
    arguments.push_back("+" + feature);
  }
  arguments.push_back(file);
  return arguments;
}

// clang's own action for this also sets up a backend, a third of what a small kernel takes here.
class GenerateIr final : public clang::ASTFrontendAction {
 public:
  explicit GenerateIr(llvm::LLVMContext& context) : context_(context) {}
  std::unique_ptr<llvm::Module> module;                      // null where the source does not compile

 private:
  std::unique_ptr<clang::ASTConsumer> CreateASTConsumer(clang::CompilerInstance& compiler, llvm::StringRef file) override {
    std::unique_ptr<clang::CodeGenerator> generator(clang::CreateLLVMCodeGen(compiler.getDiagnostics(), file, &compiler.getVirtualFileSystem(),
                                                                             compiler.getHeaderSearchOpts(), compiler.getPreprocessorOpts(),
                                                                             compiler.getCodeGenOpts(), context_));
    generator_ = generator.get();
    return generator;
  }
  void EndSourceFileAction() override { module.reset(generator_->ReleaseModule()); }

  llvm::LLVMContext& context_;
  clang::CodeGenerator* generator_ = nullptr;                // of the compiler instance
};

class ClangCompiler final : public Compiler {
 public:
  explicit ClangCompiler(const CpuTarget& cpu) : cpu_(cpu) {}

  Image Compile(const KernelSource& source, std::string_view name) override {
    std::string text = source.text;
    std::vector<MachineCode> codes = TakeMachineCode(&text);
    for (const Routine& routine : TakeRoutines(&text)) codes.push_back(Compiled(routine));
    return Compile(text, codes, name);
  }

  Listing List(const KernelSource& source, std::string_view name) override {
    llvm::LLVMContext context;
    const std::unique_ptr<llvm::Module> module = Parse(source.text, name, /*names=*/true, context);
    Backend backend(cpu_);
    backend.Optimize(*module);
    Listing listing;
    llvm::raw_string_ostream ir(listing.llvm_ir);
    module->print(ir, nullptr);
    const auto assembly = backend.Emit(*module, llvm::CodeGenFileType::AssemblyFile);
    listing.assembly.assign(assembly.begin(), assembly.end());
    return listing;
  }

 private:
  Image Compile(const std::string& text, const std::vector<MachineCode>& codes, std::string_view name) {
    llvm::LLVMContext context;
    const std::unique_ptr<llvm::Module> module = Parse(text, name, /*names=*/false, context);
    std::unique_ptr<Backend> backend = TakeBackend();
    backend->Optimize(*module);
    const llvm::SmallVector<char, 0> object = backend->Emit(*module, llvm::CodeGenFileType::ObjectFile);
    Return(std::move(backend));
    return LinkImage(llvm::StringRef(object.data(), object.size()), codes, std::string(name));
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
      const Image image = Compile(routine.prelude + routine.definition, {}, routine.name);
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

  // Unoptimised IR.
  std::unique_ptr<llvm::Module> Parse(const std::string& text, std::string_view name, bool names, llvm::LLVMContext& context) const {
    const std::string file = std::string(name) + ".cpp";
    const std::vector<std::string> arguments = Arguments(cpu_, file, names);
    std::vector<const char*> pointers;
    for (const std::string& argument : arguments) pointers.push_back(argument.c_str());

    std::string messages;
    llvm::raw_string_ostream message_stream(messages);
    llvm::IntrusiveRefCntPtr<clang::DiagnosticOptions> options(new clang::DiagnosticOptions);
    clang::TextDiagnosticPrinter printer(message_stream, options.get());
    clang::DiagnosticsEngine early(new clang::DiagnosticIDs, options, &printer, /*ShouldOwnClient=*/false);

    clang::CompilerInstance compiler;
    ATHANOR_CHECK(clang::CompilerInvocation::CreateFromArgs(compiler.getInvocation(), pointers, early));
    compiler.createDiagnostics(&printer, /*ShouldOwnClient=*/false);
    compiler.setVerboseOutputStream(message_stream);         // "1 error generated." belongs to the message, not to stderr
    compiler.getPreprocessorOpts().addRemappedFile(file, llvm::MemoryBuffer::getMemBuffer(text, file).release());

    GenerateIr action(context);
    if (!compiler.ExecuteAction(action) || action.module == nullptr) {
      throw InternalError(fmt::format("generated source of kernel {} does not compile:\n{}", name, message_stream.str()));
    }
    return std::move(action.module);
  }

  CpuTarget cpu_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Backend>> idle_;               // one for each thread that compiled at the same time
  std::map<std::string, std::shared_future<MachineCode>> routines_;  // by definition
};

}  // namespace
}  // namespace athanor

extern "C" __attribute__((visibility("default"))) athanor::Compiler* athanor_make_clang_compiler(const athanor::CpuTarget& cpu) {
  return new athanor::ClangCompiler(cpu);
}
