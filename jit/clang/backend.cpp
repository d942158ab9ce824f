#include "jit/clang/backend.h"

#include <mutex>

#include "ops/error.h"

namespace athanor {
namespace {

constexpr const char* kTriple = "x86_64-unknown-linux-gnu";

// Of functions that want it everywhere. LLVM's own analyses each of them first, and marks where their stack slots live.
struct Inliner : llvm::PassInfoMixin<Inliner> {
  llvm::PreservedAnalyses run(llvm::Module& module, llvm::ModuleAnalysisManager&) {
    for (llvm::Function& function : llvm::make_early_inc_range(module)) {
      if (function.isDeclaration() || !function.hasFnAttribute(llvm::Attribute::AlwaysInline)) continue;
      while (!function.use_empty()) {
        auto* call = llvm::dyn_cast<llvm::CallBase>(function.user_back());
        ATHANOR_CHECK(call != nullptr && call->getCalledFunction() == &function);
        llvm::InlineFunctionInfo info;
        ATHANOR_CHECK(llvm::InlineFunction(*call, info, /*MergeAttributes=*/true, /*CalleeAAR=*/nullptr, /*InsertLifetime=*/false).isSuccess());
      }
      function.eraseFromParent();
    }
    return llvm::PreservedAnalyses::none();
  }
};

// Loops are unrolled where the source asks for it. Fully first: a loop over lanes takes vectors apart, in which InstCombine must find whole ones.
llvm::ModulePassManager Passes() {
  const auto hoist = [] { return llvm::createFunctionToLoopPassAdaptor(llvm::LICMPass(llvm::LICMOptions()), /*UseMemorySSA=*/true); };
  llvm::FunctionPassManager sweep;
  sweep.addPass(llvm::PromotePass());
  sweep.addPass(llvm::EarlyCSEPass(/*UseMemorySSA=*/true));
  sweep.addPass(llvm::SimplifyCFGPass());
  llvm::LoopPassManager full;
  full.addPass(llvm::LoopRotatePass());
  full.addPass(llvm::LoopFullUnrollPass(/*OptLevel=*/2, /*OnlyWhenForced=*/true));
  sweep.addPass(llvm::createFunctionToLoopPassAdaptor(std::move(full)));
  sweep.addPass(llvm::SROAPass(llvm::SROAOptions::ModifyCFG));  // arrays that only unrolled loops index
  sweep.addPass(llvm::InstCombinePass(llvm::InstCombineOptions().setVerifyFixpoint(false)));
  sweep.addPass(llvm::SimplifyCFGPass());
  sweep.addPass(hoist());
  sweep.addPass(llvm::LoopUnrollPass(llvm::LoopUnrollOptions(/*OptLevel=*/2, /*OnlyWhenForced=*/true)));
  // The accesses of an unrolled loop become constant distances from one address.
  sweep.addPass(llvm::SeparateConstOffsetFromGEPPass());
  sweep.addPass(llvm::EarlyCSEPass(/*UseMemorySSA=*/true));
  sweep.addPass(hoist());
  sweep.addPass(llvm::SimplifyCFGPass());

  llvm::ModulePassManager passes;
  passes.addPass(Inliner());
  passes.addPass(llvm::createModuleToFunctionPassAdaptor(std::move(sweep)));
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
  AddCodeGenerator(&emission_, stream_, llvm::CodeGenFileType::ObjectFile);
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

llvm::StringRef Backend::Emit(llvm::Module& module) {
  module.setDataLayout(machine_->createDataLayout());
  object_.clear();
  emission_.run(module);
  return stream_.str();
}

std::string Backend::Assembly(llvm::Module& module) {
  module.setDataLayout(machine_->createDataLayout());
  llvm::SmallVector<char, 0> text;
  llvm::raw_svector_ostream stream(text);
  llvm::legacy::PassManager passes;
  AddCodeGenerator(&passes, stream, llvm::CodeGenFileType::AssemblyFile);
  passes.run(module);
  return std::string(stream.str());
}

void Backend::AddCodeGenerator(llvm::legacy::PassManager* passes, llvm::raw_pwrite_stream& stream, llvm::CodeGenFileType type) {
  auto& machine = static_cast<llvm::LLVMTargetMachine&>(*machine_);
  auto* const infos = new llvm::MachineModuleInfoWrapperPass(&machine);
  llvm::TargetPassConfig* const config = machine.createPassConfig(*passes);
  config->setDisableVerify(true);
  // Moves chains of masks to mask registers, where they already are.
  const llvm::PassInfo* const reassignment = llvm::PassRegistry::getPassRegistry()->getPassInfo(llvm::StringRef("x86-domain-reassignment"));
  ATHANOR_CHECK(reassignment != nullptr);
  config->disablePass(reassignment->getTypeInfo());
  passes->add(config);
  passes->add(infos);
  // Of LLVM's own list for IR only what finds addressing modes. What the rest would lower, instruction selection lowers, too, and loop strength reduction,
  // a fifth of the code generator's time, has nothing to do where Passes() has split addresses.
  passes->add(llvm::createTargetTransformInfoWrapperPass(machine.getTargetIRAnalysis()));
  config->addCodeGenPrepare();
  ATHANOR_CHECK(!config->addInstSelector());
  passes->add(llvm::Pass::createPass(&llvm::FinalizeISelID));
  config->addMachinePasses();
  config->setInitialized();
  ATHANOR_CHECK(!machine.addAsmPrinter(*passes, stream, nullptr, type, infos->getMMI().getContext()));
  passes->add(llvm::createFreeMachineFunctionPass());
}

}  // namespace athanor
