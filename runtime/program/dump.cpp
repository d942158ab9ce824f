#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <set>

#include "bench/models/registry.h"
#include "jit/compiler.h"
#include "jit/nvrtc_compiler.h"
#include "ops/error.h"
#include "ops/gradient.h"
#include "runtime/cuda_program.h"
#include "runtime/executable.h"
#include "runtime/log.h"
#include "runtime/program/commands.h"
#include "runtime/replace_file.h"

namespace athanor {
namespace {

struct Arguments {
  std::string fragment, out, target = "cpu";
  bool grad = false;
};

void Write(const std::filesystem::path& path, const std::string& text) {
  ReplaceFile(path.string(), [&](std::ostream& file) { file << text; });
}

void MakeFolder(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) Fail("--out {}: can't be created: {}", folder, error.message());
}

// NVRTC where it is at hand; where its path is given it must be.
std::unique_ptr<NvrtcCompiler> FindNvrtc(const Options& options) {
  try {
    return std::make_unique<NvrtcCompiler>(options.nvrtc_library);
  } catch (const Error& error) {
    if (!options.nvrtc_library.empty()) throw;
    LogWarning(fmt::format("only sources are written, no PTX and no cubins: {}", error.what()));
    return nullptr;
  }
}

void DumpCuda(const Graph& graph, const Arguments& a) {
  const CudaProgram program = GenerateCudaProgram(graph);
  const std::unique_ptr<NvrtcCompiler> nvrtc = FindNvrtc(ProgramOptions(0));
  MakeFolder(a.out);
  std::set<std::string> seen;
  for (size_t i = 0; i < program.sources.size(); ++i) {
    const KernelPlan& plan = program.program.kernels[i];
    if (!seen.insert(plan.Structure()).second) continue;     // the code of an earlier kernel
    const std::string name = fmt::format("{:02}_{}", i, Name(plan.skeleton));
    const std::filesystem::path base = std::filesystem::path(a.out) / name;
    Write(base.string() + ".cu", program.sources[i].text);
    if (nvrtc == nullptr) continue;
    const CudaImage image = nvrtc->Compile(program.sources[i].text, name);
    Write(base.string() + ".ptx", image.ptx);
    Write(base.string() + ".cubin", {reinterpret_cast<const char*>(image.cubin.data()), image.cubin.size()});
    for (const auto& [symbol, resources] : image.kernels) {
      fmt::print("{} {}: {} registers, {} bytes of shared memory, {} bytes spilled\n", name, symbol, resources.registers, resources.shared_bytes,
                 resources.spill_bytes);
    }
  }
}

void DumpCpu(const Graph& graph, const Arguments& a) {
  Options options = ProgramOptions(0);
  options.prefault = false;                                  // it will not run
  options.sources = true;
  const auto executable = Executable::Compile(graph, options);
  CpuTarget cpu = DetectCpu();
  if (options.isa) cpu = Restrict(cpu, *options.isa);
  const std::unique_ptr<Compiler> compiler = MakeClangCompiler(cpu);
  MakeFolder(a.out);
  int number = 0;
  for (const KernelReport& kernel : executable->report().kernels) {
    const std::string name = fmt::format("{:02}_{}", number++, kernel.skeleton);
    if (kernel.launches == 0) continue;                      // the code of an earlier kernel
    KernelSource source;
    source.text = kernel.source;
    const Compiler::Listing listing = compiler->List(source, name);
    const std::filesystem::path base = std::filesystem::path(a.out) / name;
    Write(base.string() + ".cpp", kernel.source);
    Write(base.string() + ".ll", listing.llvm_ir);
    Write(base.string() + ".s", listing.assembly);
  }
}

void Dump(const Arguments& a) {
  const Graph forward = models::LoadGraph(a.fragment, a.grad), graph = a.grad ? Gradient(forward) : forward;
  a.target == "cuda" ? DumpCuda(graph, a) : DumpCpu(graph, a);
}

}  // namespace

void AddDump(CLI::App& program, int* status) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand("dump", "Writes the generated sources with their LLVM IR and assembly, or PTX and cubins");
  command->add_option("FRAGMENT", arguments->fragment, "Fragment file or model:NAME")->required();
  command->add_flag("--grad", arguments->grad, "With gradients");
  command->add_option("--target", arguments->target, "Of the code")->required()->check(CLI::IsMember({"cpu", "cuda"}));
  command->add_option("--out", arguments->out, "Folder, made where absent")->required();
  command->callback([arguments, status] {
    Dump(*arguments);
    *status = 0;
  });
}

}  // namespace athanor
