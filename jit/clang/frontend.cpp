#include "jit/clang/frontend.h"

#include <vector>

#include "ops/error.h"

namespace athanor {
namespace {

constexpr const char* kArguments[] = {
    "-triple", "x86_64-unknown-linux-gnu", "-x", "c++", "-std=c++20", "-O2", "-target-cpu", "x86-64", "-mrelocation-model", "pic", "-pic-level", "2",
    // Contraction is wanted and deterministic; nothing else of fast math is.
    "-ffp-contract=fast", "-fno-rounding-math",
    // No calls into a C library: a kernel's image has no external references.
    "-ffreestanding", "-fno-builtin", "-nostdsysteminc", "-nobuiltininc",
    // No source asks for a predefined macro, or a module.
    "-undef", "-fno-cxx-modules", "-fno-rtti", "-mframe-pointer=none", "-ferror-limit", "5", "-w",
    // Stack slots are few and become registers; markers of their lifetimes would only be read and dropped.
    "-disable-lifetime-markers",
    // Vectors may alias anything, and what little scalars store gains nothing from being told apart by type; that takes four percent of the time.
    "-relaxed-aliasing"};

std::vector<std::string> Arguments(const CpuTarget& cpu, bool names) {
  std::vector<std::string> arguments(std::begin(kArguments), std::end(kArguments));
  if (!names) arguments.push_back("-discard-value-names");
  if (cpu.isa == Isa::kAvx512) arguments.push_back("-mprefer-vector-width=512");
  for (const std::string& feature : cpu.features) {
    arguments.push_back("-target-feature");
    arguments.push_back("+" + feature);
  }
  return arguments;
}

// Diagnostics as text.
struct Messages {
  Messages() : stream(text), options(new clang::DiagnosticOptions), printer(stream, options.get()) {}

  std::string text;
  llvm::raw_string_ostream stream;
  llvm::IntrusiveRefCntPtr<clang::DiagnosticOptions> options;
  clang::TextDiagnosticPrinter printer;
};

// clang's numbers of its built-in functions.
const llvm::StringMap<unsigned>& Builtins(const clang::CompilerInstance& compiler) {
  static const llvm::StringMap<unsigned> builtins = [&] {
    clang::Builtin::Context context;
    context.InitializeTarget(compiler.getTarget(), nullptr);
    clang::IdentifierTable table(compiler.getLangOpts());
    context.initializeBuiltins(table, compiler.getLangOpts());
    llvm::StringMap<unsigned> result;
    for (const auto& entry : table) {
      if (const unsigned id = entry.getValue()->getBuiltinID()) result[entry.getKey()] = id;
    }
    return result;
  }();
  return builtins;
}

// clang's own action for this also sets up a backend, a third of what a small kernel takes, and enters all of its built-in functions, a tenth.
class GenerateIr final : public clang::ASTFrontendAction {
 public:
  GenerateIr(llvm::StringRef text, llvm::LLVMContext& context) : text_(text), context_(context) {}
  std::unique_ptr<llvm::Module> module;                      // null where the source does not compile

 private:
  std::unique_ptr<clang::ASTConsumer> CreateASTConsumer(clang::CompilerInstance& compiler, llvm::StringRef file) override {
    // Where declarations may come from elsewhere, so may those of built-in functions: clang leaves them to us.
    compiler.getASTContext().setExternalSource(new clang::ExternalASTSource);
    EnterBuiltins(compiler);
    std::unique_ptr<clang::CodeGenerator> generator(clang::CreateLLVMCodeGen(compiler.getDiagnostics(), file, &compiler.getVirtualFileSystem(),
                                                                             compiler.getHeaderSearchOpts(), compiler.getPreprocessorOpts(),
                                                                             compiler.getCodeGenOpts(), context_));
    generator_ = generator.get();
    return generator;
  }

  // Those that the text names.
  void EnterBuiltins(clang::CompilerInstance& compiler) const {
    const llvm::StringMap<unsigned>& builtins = Builtins(compiler);
    llvm::StringRef rest = text_;
    for (size_t at; (at = rest.find("__builtin_")) != llvm::StringRef::npos;) {
      rest = rest.drop_front(at);
      const llvm::StringRef name = rest.take_while([](unsigned char c) { return clang::isAsciiIdentifierContinue(c); });
      if (const auto found = builtins.find(name); found != builtins.end()) {
        compiler.getPreprocessor().getIdentifierTable().get(name).setBuiltinID(found->second);
      }
      rest = rest.drop_front(name.size());
    }
  }

  void EndSourceFileAction() override { module.reset(generator_->ReleaseModule()); }

  llvm::StringRef text_;
  llvm::LLVMContext& context_;
  clang::CodeGenerator* generator_ = nullptr;                // of the compiler instance
};

}  // namespace

Frontend::Frontend(const CpuTarget& cpu, bool names) {
  const std::vector<std::string> arguments = Arguments(cpu, names);
  std::vector<const char*> pointers;
  for (const std::string& argument : arguments) pointers.push_back(argument.c_str());
  Messages messages;
  clang::DiagnosticsEngine diagnostics(new clang::DiagnosticIDs, messages.options, &messages.printer, /*ShouldOwnClient=*/false);
  ATHANOR_CHECK(clang::CompilerInvocation::CreateFromArgs(invocation_, pointers, diagnostics));
}

std::unique_ptr<llvm::Module> Frontend::Parse(const std::string& text, std::string_view name, llvm::LLVMContext& context) const {
  const std::string file = std::string(name) + ".cpp";
  Messages messages;
  clang::CompilerInstance compiler;
  compiler.getInvocation() = invocation_;
  compiler.getFrontendOpts().Inputs = {clang::FrontendInputFile(llvm::MemoryBufferRef(text, file), clang::Language::CXX)};
  compiler.createDiagnostics(&messages.printer, /*ShouldOwnClient=*/false);
  compiler.setVerboseOutputStream(messages.stream);          // "1 error generated." belongs to the message, not to stderr
  GenerateIr action(text, context);
  if (!compiler.ExecuteAction(action) || action.module == nullptr) {
    throw InternalError(fmt::format("generated source of kernel {} does not compile:\n{}", name, messages.stream.str()));
  }
  return std::move(action.module);
}

}  // namespace athanor
