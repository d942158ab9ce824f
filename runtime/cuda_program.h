#pragma once

#include <span>
#include <vector>

#include "jit/codegen_cuda.h"
#include "jit/target.h"
#include "ops/graph.h"

namespace athanor {

// A graph as generated CUDA: kernels in execution order over buffers, each with its source.
struct CudaProgram {
  Program program;
  std::vector<CudaSource> sources;                           // of program.kernels
};

// The same kernel plans as on the CPU. Throws Error that names the first kernel whose skeleton has no CUDA generator yet.
CudaProgram GenerateCudaProgram(const Graph& graph);

// Runs the program in CudaEmulator on `cpu`. `inputs` and `outputs` as for Executable::Run, whose order is that of `graph`, of which
// `program` was made. Indices are the caller's to check.
void RunInCudaEmulator(const CudaProgram& program, const Graph& graph, const CpuTarget& cpu, std::span<const void* const> inputs,
                       std::span<void* const> outputs);

}  // namespace athanor
