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

// A function that computes nothing itself and in each of its loops calls another, or asks for what others will read: the time it takes is theirs.
bool OnlyCalls(const llvm::Function& function, const llvm::LoopInfo& loops) {
  llvm::SmallPtrSet<const llvm::BasicBlock*, 8> calling;
  for (const llvm::BasicBlock& block : function) {
    for (const llvm::Instruction& instruction : block) {
      const auto* call = llvm::dyn_cast<llvm::CallBase>(&instruction);
      const auto computes = [&](const llvm::Value* value) {
        const bool handed_on = call != nullptr && llvm::isa<llvm::Constant>(value);
        return !handed_on && (value->getType()->isFPOrFPVectorTy() || value->getType()->isVectorTy());
      };
      if (computes(&instruction) || llvm::any_of(instruction.operands(), computes)) return false;
      const auto* intrinsic = llvm::dyn_cast<llvm::IntrinsicInst>(&instruction);
      const bool calls = call != nullptr && !call->isInlineAsm() && (intrinsic == nullptr || intrinsic->getIntrinsicID() == llvm::Intrinsic::prefetch);
      if (calls) calling.insert(&block);
    }
  }
  return !calling.empty() && llvm::all_of(loops.getLoopsInPreorder(), [&](const llvm::Loop* loop) {
    return llvm::any_of(loop->blocks(), [&](const llvm::BasicBlock* block) { return calling.contains(block); });
  });
}

// What only calls is compiled quickly, as clang does without optimization.
class Sweep : public llvm::PassInfoMixin<Sweep> {
 public:
  Sweep(Effort effort, llvm::FunctionPassManager whole, llvm::FunctionPassManager quick)
      : effort_(effort), whole_(std::move(whole)), quick_(std::move(quick)) {}

  llvm::PreservedAnalyses run(llvm::Function& function, llvm::FunctionAnalysisManager& analyses) {
    if (effort_ == Effort::kWhole || !OnlyCalls(function, analyses.getResult<llvm::LoopAnalysis>(function))) return whole_.run(function, analyses);
    function.addFnAttr(llvm::Attribute::NoInline);
    function.addFnAttr(llvm::Attribute::OptimizeNone);
    return quick_.run(function, analyses);
  }

 private:
  Effort effort_;
  llvm::FunctionPassManager whole_, quick_;
};

// Loops are unrolled where the source asks for it. Fully first: a loop over lanes takes vectors apart, in which InstCombine must find whole ones.
llvm::ModulePassManager Passes(Effort effort) {
  llvm::FunctionPassManager quick;
  quick.addPass(llvm::PromotePass());
  quick.addPass(llvm::EarlyCSEPass(/*UseMemorySSA=*/false));
  quick.addPass(llvm::SimplifyCFGPass());

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
  passes.addPass(llvm::createModuleToFunctionPassAdaptor(Sweep(effort, std::move(sweep), std::move(quick))));
  return passes;
}

// LLVM's passes over machine code that have nothing to do in ours, by name. Each looks at every function; together they take four percent of the compiler's time.
bool IsSuperfluous(llvm::StringRef pass) {
  static const llvm::StringSet<> names = {
      // Of other languages, systems and processors, debuggers and profilers, and against attacks.
      "Analyze Machine Code For Garbage Collection", "Argument Stack Rebase", "Check CFA info and insert CFI instructions if needed",
      "Contiguously Lay Out Funclets", "Fixup Statepoint Caller Saved", "Implement the 'patchable-function' attribute", "Init Undef Pass",
      "Insert KCFI indirect call checks", "Insert XRay ops", "Insert fentry calls", "Live DEBUG_VALUE analysis", "Local Dynamic TLS Access Clean-up",
      "Machine Sanitizer Binary Metadata", "Pseudo Probe Inserter", "Register Allocation Pass Scoring", "Remove Redundant DEBUG_VALUE analysis",
      "Stack Frame Layout Analysis", "StackMap Liveness Analysis", "Tile Register Configure", "Tile Register Pre-configure",
      "Unpack machine instruction bundles", "X86 Atom pad short functions", "X86 Discriminate Memory Operands", "X86 DynAlloca Expander",
      "X86 FP Stackifier", "X86 Indirect Branch Tracking", "X86 Indirect Thunks", "X86 Insert Cache Prefetches",
      "X86 Load Value Injection (LVI) Load Hardening", "X86 Load Value Injection (LVI) Ret-Hardening", "X86 Lower Tile Copy",
      "X86 PIC Global Base Reg Initialization", "X86 Return Thunks", "X86 Speculative Execution Side Effect Suppression",
      "X86 Windows Fixup Buffer Security Check", "X86 insert wait instruction", "X86 speculative load hardening",
      // Optimizations that change nothing in any kernel of our networks, or only where registers are saved. The first moves chains of masks to mask
      // registers, where they already are.
      "X86 Domain Reassignment Pass", "Detect Dead Lanes", "Early If-Conversion", "Local Stack Slot Allocation",
      "Machine Late Instructions Cleanup Pass", "Merge disjoint stack slots", "Optimize machine instruction PHIs",
      "Post RA top-down list latency scheduler", "PostRA Machine Sink", "Rename Disconnected Subregister Components", "Shrink Wrapping analysis",
      "Tail Duplication", "X86 Avoid Store Forwarding Blocks", "X86 Byte/Word Instruction Fixup"};
  return names.contains(pass);
}

// Hands on all passes but these.
class Sieve final : public llvm::legacy::PassManagerBase {
 public:
  explicit Sieve(llvm::legacy::PassManagerBase* passes) : passes_(*passes) {}

  void add(llvm::Pass* pass) override {
    if (IsSuperfluous(pass->getPassName())) {
      delete pass;
    } else {
      passes_.add(pass);
    }
  }

 private:
  llvm::legacy::PassManagerBase& passes_;
};

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
  machine_->setO0WantsFastISel(true);                        // instruction selection for what only calls
  AddCodeGenerator(&emission_, stream_, llvm::CodeGenFileType::ObjectFile);
}

void Backend::Optimize(llvm::Module& module, Effort effort) {
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
  Passes(effort).run(module, modules);
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
  Sieve sieve(passes);                                       // what the configuration adds goes through it
  llvm::TargetPassConfig* const config = machine.createPassConfig(sieve);
  config->setDisableVerify(true);
  passes->add(config);
  passes->add(infos);
  // Of LLVM's own list for IR only what finds addressing modes. What the rest would lower, instruction selection lowers, too, and loop strength reduction,
  // a fifth of the code generator's time, has nothing to do where Passes has split addresses.
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
