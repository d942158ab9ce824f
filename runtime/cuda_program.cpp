#include "runtime/cuda_program.h"

#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "jit/compiler.h"
#include "jit/cuda_emulator.h"
#include "jit/plan_builder.h"
#include "ops/decompose.h"
#include "ops/error.h"
#include "ops/host_tensor.h"

namespace athanor {
namespace {

using DeviceMemory = std::vector<std::byte, LineAllocator<std::byte>>;

// What nobody has written shows as NaNs.
DeviceMemory Allocate(int64_t bytes) { return DeviceMemory(static_cast<size_t>(bytes), std::byte{0xff}); }

// The caller's memory for a buffer; null for a temporary.
char* CallersMemory(const Program::Buffer& buffer, const Graph& graph, std::span<const void* const> inputs, std::span<void* const> outputs) {
  if (buffer.role == Program::Buffer::Role::kInput) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (graph.value(graph.inputs()[i]).name == buffer.name) return static_cast<char*>(const_cast<void*>(inputs[i]));
    }
  }
  if (buffer.role == Program::Buffer::Role::kOutput) {
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (graph.outputs()[i].name == buffer.name) return static_cast<char*>(outputs[i]);
    }
  }
  ATHANOR_CHECK(buffer.role == Program::Buffer::Role::kTemporary);
  return nullptr;
}

}  // namespace

CudaProgram GenerateCudaProgram(const Graph& graph) {
  CudaProgram result;
  result.program = BuildProgram(Decompose(graph));
  for (const KernelPlan& plan : result.program.kernels) result.sources.push_back(GenerateCuda(plan, DefaultCudaSchedule(plan)));
  return result;
}

void RunInCudaEmulator(const CudaProgram& program, const Graph& graph, const CpuTarget& cpu, std::span<const void* const> inputs,
                       std::span<void* const> outputs) {
  ATHANOR_CHECK(inputs.size() == graph.inputs().size() && outputs.size() == graph.outputs().size());
  std::vector<DeviceMemory> buffers;
  for (const Program::Buffer& buffer : program.program.buffers) {
    buffers.push_back(Allocate(buffer.elements * SizeOf(buffer.dtype)));
    const char* memory = CallersMemory(buffer, graph, inputs, outputs);
    if (buffer.role == Program::Buffer::Role::kInput && !buffers.back().empty()) std::memcpy(buffers.back().data(), memory, buffers.back().size());
  }
  const std::unique_ptr<Compiler> compiler = MakeClangCompiler(cpu);
  std::map<std::string, std::unique_ptr<CudaEmulator>> emulators;  // by the plan's structure
  for (size_t k = 0; k < program.sources.size(); ++k) {
    const KernelPlan& plan = program.program.kernels[k];
    const CudaSource& source = program.sources[k];
    std::vector<DeviceMemory> temporaries;
    std::vector<char*> pointers;
    for (const KernelArg& arg : plan.args) pointers.push_back(reinterpret_cast<char*>(buffers[arg.buffer].data()) + arg.offset * SizeOf(arg.dtype));
    for (int64_t bytes : source.temporary_bytes) temporaries.push_back(Allocate(bytes));
    for (DeviceMemory& memory : temporaries) pointers.push_back(reinterpret_cast<char*>(memory.data()));
    std::unique_ptr<CudaEmulator>& emulator = emulators[plan.Structure()];
    if (!emulator) emulator = std::make_unique<CudaEmulator>(source, cpu, compiler.get());
    emulator->Run(pointers);
  }
  for (size_t i = 0; i < buffers.size(); ++i) {
    const Program::Buffer& buffer = program.program.buffers[i];
    if (buffer.role != Program::Buffer::Role::kOutput || buffers[i].empty()) continue;
    std::memcpy(CallersMemory(buffer, graph, inputs, outputs), buffers[i].data(), buffers[i].size());
  }
}

}  // namespace athanor
