#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "bench/models/registry.h"
#include "ops/error.h"
#include "ops/gradient.h"
#include "ops/host_tensor.h"
#include "ops/reference.h"
#include "runtime/cuda_program.h"
#include "runtime/executable.h"
#include "runtime/index_check.h"
#include "runtime/npy.h"
#include "runtime/placed_inputs.h"
#include "runtime/program/commands.h"

namespace athanor {
namespace {

struct Arguments {
  std::string fragment, data, out, target = "cpu";
  bool grad = false, reference = false;
  int threads = 0;
};

std::string FileOf(const std::string& directory, const std::string& name) {
  return (std::filesystem::path(directory) / (name + ".npy")).string();
}

// Dense inputs in the order of graph.inputs(). The gradients of outputs, which stand behind the `given` first ones, are ones where
// there is no file.
std::vector<HostTensor> ReadInputs(const Graph& graph, size_t given, const std::string& directory) {
  std::vector<HostTensor> inputs;
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    const Value& value = graph.value(graph.inputs()[i]);
    const std::string path = FileOf(directory, value.name);
    std::error_code error;
    if (i >= given && !std::filesystem::exists(path, error)) {
      HostTensor ones(value.desc.dtype, value.desc.shape);
      ones.Assign(std::vector<double>(static_cast<size_t>(ones.elements()), 1.0));
      inputs.push_back(std::move(ones));
    } else {
      inputs.push_back(ReadNpy(path, value.desc));
    }
  }
  return inputs;
}

std::vector<HostTensor> Execute(const Graph& graph, const PlacedInputs& inputs, const Arguments& arguments) {
  const Options options = ProgramOptions(arguments.threads);
  std::vector<HostTensor> outputs;
  std::vector<void*> pointers;
  for (const NamedValue& output : graph.outputs()) outputs.emplace_back(graph.desc(output.value).dtype, graph.desc(output.value).shape);
  for (HostTensor& output : outputs) pointers.push_back(output.data());
  if (arguments.target == "cuda-emulator") {
    CpuTarget cpu = DetectCpu();
    if (options.isa) cpu = Restrict(cpu, *options.isa);
    RunInCudaEmulator(GenerateCudaProgram(graph), graph, cpu, inputs.pointers(), pointers);
  } else {
    Executable::Compile(graph, options)->Run(inputs.pointers(), pointers);
  }
  return outputs;
}

void Run(const Arguments& arguments) {
  if (arguments.target == "cuda") Fail("target cuda: running on a GPU is not supported yet; cuda-emulator runs the same kernels on the CPU, slowly");
  const Graph forward = models::LoadGraph(arguments.fragment, arguments.grad);
  const Graph graph = arguments.grad ? Gradient(forward) : forward;
  // Everything the user may have to mend is found before the work begins.
  std::error_code error;
  std::filesystem::create_directories(arguments.out, error);
  if (std::error_code ignored; !std::filesystem::is_directory(arguments.out, ignored)) {
    Fail("--out {}: can't be created: {}", arguments.out, error ? error.message() : "not a folder");
  }
  const std::vector<HostTensor> dense = ReadInputs(graph, forward.inputs().size(), arguments.data);
  const PlacedInputs placed(graph, dense);
  CheckIndices(graph, FindIndexUses(graph), placed.pointers());
  const std::vector<HostTensor> outputs = arguments.reference ? Interpret(graph, dense) : Execute(graph, placed, arguments);
  for (size_t i = 0; i < outputs.size(); ++i) WriteNpy(FileOf(arguments.out, graph.outputs()[i].name), outputs[i]);
}

}  // namespace

void AddRun(CLI::App& program, int* status) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand("run", "Runs a fragment on arrays from .npy files");
  command->add_option("FRAGMENT", arguments->fragment, "Fragment file or model:NAME")->required();
  command->add_option("--data", arguments->data, "Folder with NAME.npy for every input")->required();
  command->add_option("--out", arguments->out, "Folder for NAME.npy of every output, made where absent")->required();
  command->add_flag("--grad", arguments->grad, "Gradients, too: reads grad.OUTPUT.npy (ones where absent), writes grad.NAME.npy");
  command->add_flag("--reference", arguments->reference, "Use the slow reference interpreter");
  command->add_option("--target", arguments->target, "Where to run")->check(CLI::IsMember({"cpu", "cuda", "cuda-emulator"}));
  command->add_option("--threads", arguments->threads, "Threads; all cores when not given")->check(CLI::Range(1, 1024));
  command->callback([arguments, status] {
    Run(*arguments);
    *status = 0;
  });
}

}  // namespace athanor
