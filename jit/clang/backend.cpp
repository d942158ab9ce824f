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
  });
}

}  // namespace

Backend::Backend(const CpuTarget& cpu) {
  Initialize();
  std::string features;
  for (const std::string& feature : cpu.features) features += (features.empty() ? "+" : ",+") + feature;
  std::string message;
  const llvm::Target* target = llvm::TargetRegistry::lookupTarget(kTriple, message);
  if (target == nullptr) throw InternalError(message);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Fast;          // as -ffp-contract=fast
  machine_.reset(target->createTargetMachine(kTriple, "x86-64", features, options, llvm::Reloc::PIC_));
}

void Backend::Optimize(llvm::Module& module) {
  llvm::PassBuilder builder(machine_.get());
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

llvm::SmallVector<char, 0> Backend::Emit(llvm::Module& module, llvm::CodeGenFileType type) {
  module.setDataLayout(machine_->createDataLayout());
  llvm::SmallVector<char, 0> output;
  llvm::raw_svector_ostream stream(output);
  auto& machine = static_cast<llvm::LLVMTargetMachine&>(*machine_);
  llvm::legacy::PassManager passes;
  auto* const infos = new llvm::MachineModuleInfoWrapperPass(&machine);
  llvm::TargetPassConfig* const config = machine.createPassConfig(passes);
  config->setDisableVerify(true);
  passes.add(config);
  passes.add(infos);
  // Of LLVM's own list for IR only what finds addressing modes. What the rest would lower, instruction selection lowers, too, and loop strength reduction,
  // a fifth of the code generator's time, has nothing to do where Passes() has split addresses.
  passes.add(llvm::createTargetTransformInfoWrapperPass(machine.getTargetIRAnalysis()));
  config->addCodeGenPrepare();
  ATHANOR_CHECK(!config->addInstSelector());
  passes.add(llvm::Pass::createPass(&llvm::FinalizeISelID));
  config->addMachinePasses();
  config->setInitialized();
  ATHANOR_CHECK(!machine.addAsmPrinter(passes, stream, nullptr, type, infos->getMMI().getContext()));
  passes.add(llvm::createFreeMachineFunctionPass());
  passes.run(module);
  return output;
}

}  // namespace athanor
