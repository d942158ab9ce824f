#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "jit/compiler.h"
#include "jit/kernel_source.h"
#include "jit/module.h"
#include "tests/jit/body_evaluator.h"

namespace athanor::testing {

inline const std::vector<CpuTarget>& Targets() {  // every instruction set this machine can run
  static const std::vector<CpuTarget> targets = [] {
    const CpuTarget cpu = DetectCpu();
    std::vector<CpuTarget> all = {cpu};
    if (cpu.isa == Isa::kAvx512) all.push_back(Restrict(cpu, Isa::kAvx2));
    return all;
  }();
  return targets;
}

inline Compiler& CompilerFor(const CpuTarget& cpu) {
  static std::map<Isa, std::unique_ptr<Compiler>> compilers;
  auto& compiler = compilers[cpu.isa];
  if (!compiler) compiler = MakeClangCompiler(cpu);
  return *compiler;
}

// A kernel compiled and ready to run.
class TestKernel {
 public:
  TestKernel(KernelSource source, const CpuTarget& cpu)
      : source_(std::move(source)), module_(CompilerFor(cpu).Compile(source_, "test_kernel"), "test_kernel") {}

  // Runs every phase; `pieces` ranges of tasks, last range first when `backwards`: neither may change a bit of the result.
  void Run(std::vector<Memory>* args, int64_t pieces = 1, bool backwards = false) {
    std::vector<char*> pointers;
    for (Memory& arg : *args) pointers.push_back(arg.data());
    std::vector<Memory> temporaries;
    temporaries.reserve(source_.temporary_bytes.size());
    for (int64_t bytes : source_.temporary_bytes) {
      temporaries.emplace_back(DType::kU8, bytes);
      std::memset(temporaries.back().data(), 0xff, bytes);
      pointers.push_back(temporaries.back().data());
    }
    Memory scratch(DType::kU8, source_.scratch_bytes);
    for (const KernelSource::Phase& phase : source_.phases) {
      auto* fn = module_.Get<KernelFn>(phase.symbol);
      const int64_t step = std::max<int64_t>(1, (phase.tasks + pieces - 1) / pieces), count = (phase.tasks + step - 1) / step;
      for (int64_t piece = 0; piece < count; ++piece) {
        const int64_t begin = (backwards ? count - 1 - piece : piece) * step;
        std::memset(scratch.data(), 0xff, source_.scratch_bytes);
        fn(pointers.data(), begin, std::min(begin + step, phase.tasks), scratch.data());
      }
    }
    EXPECT_TRUE(scratch.GuardIntact());
    for (const Memory& temporary : temporaries) EXPECT_TRUE(temporary.GuardIntact());
    for (const Memory& arg : *args) EXPECT_TRUE(arg.GuardIntact());
  }
  const KernelSource& source() const { return source_; }

 private:
  KernelSource source_;
  Module module_;
};

inline void ExpectClose(const Memory& got, const Memory& want, double tolerance, const std::string& what) {
  int failures = 0;
  for (int64_t i = 0; i < want.elements() && failures < 5; ++i) {
    const double g = got.Get(i), w = want.Get(i);
    if (std::isnan(w) && std::isnan(g)) continue;
    if (g == w || std::abs(g - w) <= tolerance * (1 + std::abs(w))) continue;
    ADD_FAILURE() << what << ": element " << i << " is " << g << ", expected " << w;
    ++failures;
  }
}

// Compares the kernel of a loop plan with the evaluator, and its bits over several divisions of the tasks.
inline void CheckLoopPlan(const KernelPlan& plan, const Schedule& schedule, const CpuTarget& cpu, const std::vector<Memory>& args,
                          double tolerance) {
  const Body& body = std::get<LoopPlan>(plan.detail).body;
  std::vector<Memory> want = args;
  BodyEvaluator(body, args).Store(&want);
  KernelSource source = GenerateCpp(plan, schedule, cpu);
  const std::string what = std::string(Name(cpu.isa)) + " " + ToString(schedule) + "\n" + plan.Structure();
  std::vector<Memory> got = args;
  if (!source.phases.empty()) {
    TestKernel kernel(std::move(source), cpu);
    kernel.Run(&got);
    std::vector<Memory> again = args;
    kernel.Run(&again, 7, true);
    for (size_t i = 0; i < args.size(); ++i)
      EXPECT_TRUE(again[i].SameBytes(got[i])) << what << "\nother bits in pieces, arg " << i;
  }
  for (size_t i = 0; i < args.size(); ++i) ExpectClose(got[i], want[i], tolerance, what + "\narg " + std::to_string(i));
}

}  // namespace athanor::testing
