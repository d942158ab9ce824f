#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>

#include <nlohmann/json.hpp>

#include "jit/compiler.h"
#include "jit/routine_archive.h"
#include "runtime/machine_peak.h"
#include "runtime/program/commands.h"
#include "runtime/worker_pool.h"

namespace athanor {
namespace {

void Info(bool json) {
  const Options options = ProgramOptions(0);
  CpuTarget cpu = DetectCpu();
  if (options.isa) cpu = Restrict(cpu, *options.isa);
  const int threads = options.threads > 0 ? options.threads : DefaultThreads();
  const MachinePeak one = MeasurePeak(1), all = MeasurePeak(threads);
  if (json) {
    const nlohmann::ordered_json document = {
        {"version", ATHANOR_VERSION}, {"target", "cpu"}, {"cpu", cpu.model}, {"isa", Name(cpu.isa)}, {"features", cpu.features},
        {"compiler", CompilerIdentity(cpu)}, {"routines", InstalledRoutines().size()}, {"cores", cpu.cores},
        {"threads", threads}, {"l1_bytes", cpu.l1_bytes}, {"l2_bytes", cpu.l2_bytes}, {"l3_bytes", cpu.l3_bytes}, {"cache_directory", options.cache_directory}, {"peak_gflops_f32", all.gflops_f32},
        {"peak_gflops_f64", all.gflops_f64}, {"peak_gflops_bf16", all.gflops_bf16}, {"read_gbs", all.read_gbs},
        {"peak_gflops_f32_1_thread", one.gflops_f32}, {"peak_gflops_bf16_1_thread", one.gflops_bf16}, {"read_gbs_1_thread", one.read_gbs}};
    fmt::print("{}\n", document.dump(1));
    return;
  }
  fmt::print("athanor {}\ncpu       {}, {} cores, {}\ncaches    L1 {} KB, L2 {} KB, L3 {} KB\n", ATHANOR_VERSION, cpu.model, cpu.cores, Name(cpu.isa),
             cpu.l1_bytes >> 10, cpu.l2_bytes >> 10, cpu.l3_bytes >> 10);
  fmt::print("compiler  {}\nroutines  {} compiled with the library\ncache     {}\n", CompilerIdentity(cpu), InstalledRoutines().size(),
             options.cache_directory.empty() ? "none" : options.cache_directory);
  fmt::print("peak      {:.1f} GFLOP/s f32, {:.1f} f64, {:.1f} bf16, reading {:.1f} GB/s with {} threads; {:.1f}, {:.1f}, {:.1f}, {:.1f} with one\n",
             all.gflops_f32, all.gflops_f64, all.gflops_bf16, all.read_gbs, threads, one.gflops_f32, one.gflops_f64, one.gflops_bf16, one.read_gbs);
}

}  // namespace

void AddInfo(CLI::App& program, int* status) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = program.add_subcommand("info", "Version, target, cache directory, measured peaks of this machine");
  command->add_flag("--json", *json, "One JSON document");
  command->callback([json, status] {
    Info(*json);
    *status = 0;
  });
}

}  // namespace athanor
