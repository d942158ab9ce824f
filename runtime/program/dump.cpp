#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "bench/models/registry.h"
#include "jit/compiler.h"
#include "ops/error.h"
#include "ops/gradient.h"
#include "runtime/executable.h"
#include "runtime/program/commands.h"

namespace athanor {
namespace {

struct Arguments {
  std::string fragment, out, target = "cpu";
  bool grad = false;
};

void Write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  if (!file.flush()) Fail("{}: can't be written", path.string());
}

void Dump(const Arguments& a) {
  if (a.target != "cpu") Fail("target {}: this build compiles fragments for the CPU only", a.target);
  const Graph forward = models::LoadGraph(a.fragment, a.grad);
  const Options options = ProgramOptions(0);
  const auto executable = Executable::Compile(a.grad ? Gradient(forward) : forward, options);
  CpuTarget cpu = DetectCpu();
  if (options.isa) cpu = Restrict(cpu, *options.isa);
  const std::unique_ptr<Compiler> compiler = MakeClangCompiler(cpu);
  std::error_code error;
  std::filesystem::create_directories(a.out, error);
  if (error) Fail("--out {}: can't be created: {}", a.out, error.message());
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

}  // namespace

void AddDump(CLI::App& program, int* status) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand("dump", "Writes the generated sources, their LLVM IR and assembly");
  command->add_option("FRAGMENT", arguments->fragment, "Fragment file or model:NAME")->required();
  command->add_flag("--grad", arguments->grad, "With gradients");
  command->add_option("--target", arguments->target, "Of the code")->required()->check(CLI::IsMember({"cpu", "cuda", "cuda-emulator"}));
  command->add_option("--out", arguments->out, "Folder, made where absent")->required();
  command->callback([arguments, status] {
    Dump(*arguments);
    *status = 0;
  });
}

}  // namespace athanor
