#include "jit/clang/backend.h"

#include <mutex>

#include "ops/error.h"

namespace athanor {
namespace {

constexpr const char* kTriple = "x86_64-unknown-linux-gnu";

// Loops are unrolled where they are short and constant, as those over a vector's lanes are, or where the source asks for it. The former come first: in a
// loop over lanes InstCombine takes vectors apart.
llvm::ModulePassManager Passes() {
  const auto combine = llvm::InstCombineOptions().setVerifyFixpoint(false);
  llvm::FunctionPassManager sweep;
  sweep.addPass(llvm::SROAPass(llvm::SROAOptions::ModifyCFG));
  sweep.addPass(llvm::EarlyCSEPass(/*UseMemorySSA=*/true));
  sweep.addPass(llvm::SimplifyCFGPass());
  llvm::LoopPassManager short_loops;
  short_loops.addPass(llvm::LoopRotatePass());
  short_loops.addPass(llvm::LoopDeletionPass());
  short_loops.addPass(llvm::LoopFullUnrollPass(/*OptLevel=*/2));
  sweep.addPass(llvm::createFunctionToLoopPassAdaptor(std::move(short_loops)));
  sweep.addPass(llvm::SROAPass(llvm::SROAOptions::ModifyCFG));
  sweep.addPass(llvm::InstCombinePass(combine));
  sweep.addPass(llvm::SimplifyCFGPass());
  sweep.addPass(llvm::createFunctionToLoopPassAdaptor(llvm::LICMPass(llvm::LICMOptions()), /*UseMemorySSA=*/true));
  sweep.addPass(llvm::LoopUnrollPass(llvm::LoopUnrollOptions(/*OptLevel=*/2, /*OnlyWhenForced=*/true)));
  sweep.addPass(llvm::GVNPass());
  sweep.addPass(llvm::DSEPass());
  sweep.addPass(llvm::InstCombinePass(combine));
  sweep.addPass(llvm::VectorCombinePass());
  // The accesses of an unrolled loop become constant distances from one address.
  sweep.addPass(llvm::SeparateConstOffsetFromGEPPass());
  sweep.addPass(llvm::EarlyCSEPass());
  sweep.addPass(llvm::createFunctionToLoopPassAdaptor(llvm::LICMPass(llvm::LICMOptions()), /*UseMemorySSA=*/true));
  sweep.addPass(llvm::SimplifyCFGPass());

  llvm::ModulePassManager passes;
  passes.addPass(llvm::AlwaysInlinerPass());
  passes.addPass(llvm::createModuleToFunctionPassAdaptor(std::move(sweep)));
  passes.addPass(llvm::GlobalDCEPass());
  return passes;
}

void Initialize() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
    // Loop strength reduction takes a fifth of the code generator's time; Passes() splits addresses instead, with which AVX-512 kernels are as fast, and some
    // of AVX2 2 % slower. It has no other switch; this one is for all who share the libLLVM, from the first compile on.
    llvm::cl::Option* const off = llvm::cl::getRegisteredOptions().lookup("disable-lsr");
    ATHANOR_CHECK(off != nullptr);
    static_cast<llvm::cl::opt<bool>*>(off)->setValue(true);
  });
}

}  // namespace

Backend::Backend(const CpuTarget& cpu) {
  Initialize();
  for (const std::string& feature : cpu.features) features_ += (features_.empty() ? "+" : ",+") + feature;
}

std::unique_ptr<llvm::TargetMachine> Backend::MakeMachine() const {
  std::string message;
  const llvm::Target* target = llvm::TargetRegistry::lookupTarget(kTriple, message);
  if (target == nullptr) throw InternalError(message);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Fast;          // as -ffp-contract=fast
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(kTriple, "x86-64", features_, options, llvm::Reloc::PIC_));
}

void Backend::Optimize(llvm::Module& module) const {
  const std::unique_ptr<llvm::TargetMachine> machine = MakeMachine();
  llvm::PassBuilder builder(machine.get());
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager sccs;
  llvm::ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(sccs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, sccs, modules);
  Passes().run(module, modules);
}

llvm::SmallVector<char, 0> Backend::Emit(llvm::Module& module, llvm::CodeGenFileType type) const {
  const std::unique_ptr<llvm::TargetMachine> machine = MakeMachine();
  module.setDataLayout(machine->createDataLayout());
  llvm::SmallVector<char, 0> output;
  llvm::raw_svector_ostream stream(output);
  llvm::legacy::PassManager passes;
  ATHANOR_CHECK(!machine->addPassesToEmitFile(passes, stream, nullptr, type));
  passes.run(module);
  return output;
}

}  // namespace athanor
