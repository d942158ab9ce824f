#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>

#include <nlohmann/json.hpp>

#include "bench/models/registry.h"
#include "ops/gradient.h"
#include "runtime/executable.h"
#include "runtime/machine_peak.h"
#include "runtime/program/commands.h"

namespace athanor {
namespace {

struct Arguments {
  std::string fragment;
  bool grad = false, json = false;
  int threads = 0;
};

// How much of the time that a kernel takes at the roofline its arithmetic alone would take.
double ComputeShare(const KernelReport& kernel, const MachinePeak& peak) {
  const double compute = kernel.flops / peak.gflops_f32, memory = kernel.bytes / peak.read_gbs;
  return compute >= memory ? 1.0 : compute / memory;
}

void Explain(const Arguments& a) {
  const Graph forward = models::LoadGraph(a.fragment, a.grad);
  const Graph graph = a.grad ? Gradient(forward) : forward;
  Options options = ProgramOptions(a.threads);
  options.prefault = false;                                  // it will not run
  const auto executable = Executable::Compile(graph, options);
  const Report& report = executable->report();
  const MachinePeak peak = MeasurePeak(report.threads);
  nlohmann::ordered_json kernels = nlohmann::ordered_json::array();
  double memory_bound = 0, total = 0;
  for (const KernelReport& kernel : report.kernels) {
    const double bound = std::max(kernel.flops / peak.gflops_f32, kernel.bytes / peak.read_gbs) * 1e-6, share = ComputeShare(kernel, peak);
    total += bound;
    memory_bound += share < 1 ? bound : 0;
    kernels.push_back({{"nodes", kernel.nodes}, {"skeleton", kernel.skeleton}, {"schedule", kernel.schedule}, {"flops", kernel.flops},
                       {"bytes", kernel.bytes}, {"bound_ms", bound}, {"arithmetic_share", share},
                       {"memory_share", bound > 0 ? kernel.bytes / peak.read_gbs * 1e-6 / bound : 0.0},
                       {"cached", kernel.cached}, {"miss", kernel.miss}, {"compile_ms", kernel.compile_ms}});
  }
  if (a.json) {
    const nlohmann::ordered_json document = {{"fragment", forward.name()}, {"grad", a.grad}, {"threads", report.threads},
                                             {"distinct_kernels", report.distinct_kernels}, {"arena_bytes", report.arena_bytes},
                                             {"memory_bound_time", total > 0 ? memory_bound / total : 0.0}, {"kernels", kernels}};
    fmt::print("{}\n", document.dump(1));
    return;
  }
  fmt::print("{}{}: {} kernels ({} distinct), {:.1f} MB of temporaries, {:.0f} % of the time at the roofline is bound by memory\n", forward.name(),
             a.grad ? " with gradients" : "", report.kernels.size(), report.distinct_kernels, static_cast<double>(report.arena_bytes) / 1e6,
             total > 0 ? 100 * memory_bound / total : 0.0);
  int number = 0;
  for (const KernelReport& kernel : report.kernels) {
    const double share = ComputeShare(kernel, peak);
    fmt::print("\n{:>3}  {}  {:.3g} GFLOP  {:.3g} MB  bound by {}\n     {}\n     {}\n     {}\n", ++number, kernel.skeleton, kernel.flops * 1e-9, kernel.bytes * 1e-6,
               share < 1 ? "memory" : "arithmetic", fmt::join(kernel.nodes, ", "), kernel.schedule,
               kernel.launches == 0 ? "same code as an earlier kernel"
               : kernel.cached      ? "from the cache"
                                    : fmt::format("compiled in {:.0f} ms: {}", kernel.compile_ms, kernel.miss));
  }
}

}  // namespace

void AddExplain(CLI::App& program, int* status) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand("explain", "The kernels that a fragment compiles to, and why");
  command->add_option("FRAGMENT", arguments->fragment, "Fragment file or model:NAME")->required();
  command->add_flag("--grad", arguments->grad, "With gradients");
  command->add_flag("--json", arguments->json, "One JSON document");
  command->add_option("--threads", arguments->threads, "Threads; all cores when not given")->check(CLI::Range(1, 1024));
  command->callback([arguments, status] {
    Explain(*arguments);
    *status = 0;
  });
}

}  // namespace athanor
