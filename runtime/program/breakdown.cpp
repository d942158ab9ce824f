#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>

#include <nlohmann/json.hpp>

#include "bench/harness.h"
#include "bench/models/registry.h"
#include "ops/decompose.h"
#include "ops/gradient.h"
#include "ops/op.h"
#include "runtime/executable.h"
#include "runtime/placed_inputs.h"
#include "runtime/program/commands.h"
#include "runtime/replace_file.h"

namespace athanor {
namespace {

struct Arguments {
  std::string fragment, svg;
  bool grad = false, json = false, unfused = false;
  int threads = 0;
};

enum Class : size_t { kConvolution, kProduct, kAttentionClass, kMemoryBound, kClasses };
constexpr std::array<const char*, kClasses> kNames = {"convolution", "product", "attention", "memory_bound"}, kColours = {"#036", "#39c", "#e80", "#bbb"};
using Amounts = std::array<double, kClasses>;

Class ClassOf(const KernelReport& kernel, const Graph& forward) {
  const std::string_view op = forward.node(kernel.origin.node).op->name;
  if (kernel.skeleton == "contract") return op == "conv2d" || op == "conv_transpose2d" ? kConvolution : kProduct;
  return kernel.skeleton == "attention" ? kAttentionClass : kMemoryBound;
}

// One operation an element: of the result of a pointwise node, of the input of a reduction.
double MemoryBoundFlops(const Graph& core) {
  double flops = 0;
  for (const Node& node : core.nodes()) {
    if (node.op->kind == OpKind::kPointwise && node.op->fn != Fn::kCast) flops += static_cast<double>(core.desc(node.outputs[0]).elements());
    if (node.op->kind == OpKind::kReduce) flops += static_cast<double>(core.desc(node.inputs[0]).elements());
  }
  return flops;
}

// Milliseconds of each kernel, the best of several runs.
std::vector<double> KernelTimes(const Graph& graph, Executable& executable) {
  constexpr int kRuns = 5;
  const std::vector<HostTensor> dense = bench::RandomInputs(graph);
  const PlacedInputs inputs(graph, dense);
  std::vector<HostTensor> outputs;
  for (const NamedValue& output : graph.outputs()) outputs.emplace_back(graph.desc(output.value).dtype, graph.desc(output.value).shape);
  std::vector<void*> out;
  for (HostTensor& tensor : outputs) out.push_back(tensor.data());
  executable.Run(inputs.pointers(), out);
  std::vector<double> best(executable.report().kernels.size(), 1e300);
  for (int run = 0; run < kRuns; ++run) {
    executable.RunProfiled(inputs.pointers(), out);
    for (size_t i = 0; i < best.size(); ++i) best[i] = std::min(best[i], executable.report().kernels[i].ms);
  }
  return best;
}

double Total(const Amounts& amounts) { return std::accumulate(amounts.begin(), amounts.end(), 0.0); }

nlohmann::ordered_json Shares(const Amounts& amounts) {
  nlohmann::ordered_json shares;
  const double total = Total(amounts);
  for (size_t c = 0; c < kClasses; ++c) shares[kNames[c]] = total > 0 ? amounts[c] / total : 0.0;
  return shares;
}

std::string Bar(const Amounts& amounts, const std::string& label, double y) {
  constexpr double kLeft = 90, kWidth = 600;
  std::string text = fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n", kLeft - 8, y + 20, label);
  double x = kLeft;
  for (size_t c = 0; c < kClasses; ++c) {
    const double width = kWidth * amounts[c] / std::max(Total(amounts), 1e-30);
    text += fmt::format("<rect x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"30\" fill=\"{}\"/>\n", x, y, width, kColours[c]);
    x += width;
  }
  return text;
}

void WriteSvg(const std::string& path, const std::string& title, const Amounts& flops, const Amounts& ms) {
  std::string text = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 170\" font-family=\"sans-serif\" font-size=\"12\">\n"
                     "<rect width=\"720\" height=\"170\" fill=\"white\"/>\n";
  text += fmt::format("<text x=\"90\" y=\"24\">{}</text>\n", title) + Bar(flops, "FLOPs", 40) + Bar(ms, "time", 80);
  for (size_t c = 0; c < kClasses; ++c) {
    text += fmt::format("<rect x=\"{0}\" y=\"134\" width=\"12\" height=\"12\" fill=\"{1}\"/><text x=\"{2}\" y=\"144\">{3}</text>\n", 90 + 150 * c,
                        kColours[c], 108 + 150 * c, kNames[c]);
  }
  ReplaceFile(path, [&](std::ostream& file) { file << text << "</svg>\n"; });
}

void Breakdown(const Arguments& a) {
  const Graph forward = models::LoadGraph(a.fragment, a.grad);
  const Graph graph = a.grad ? Gradient(forward) : forward;
  Options options = ProgramOptions(a.threads);
  options.fusing = a.unfused ? Fusing::kNothing : Fusing::kAll;
  const auto executable = Executable::Compile(graph, options);
  const std::vector<double> times = KernelTimes(graph, *executable);
  const Report& report = executable->report();
  Amounts flops = {}, ms = {};
  nlohmann::ordered_json each = nlohmann::ordered_json::array();
  for (size_t i = 0; i < times.size(); ++i) {
    const Class kind = ClassOf(report.kernels[i], graph);
    each.push_back({{"skeleton", report.kernels[i].skeleton}, {"class", kNames[kind]}, {"flops", report.kernels[i].flops}, {"ms", times[i]}});
    flops[kind] += report.kernels[i].flops;
    ms[kind] += times[i];
  }
  flops[kMemoryBound] += MemoryBoundFlops(Decompose(graph));
  if (!a.svg.empty()) WriteSvg(a.svg, fmt::format("{}{}{}", forward.name(), a.grad ? " with gradients" : "", a.unfused ? ", unfused" : ""), flops, ms);
  if (a.json) {
    const nlohmann::ordered_json document = {{"fragment", forward.name()}, {"grad", a.grad}, {"fused", !a.unfused}, {"threads", report.threads},
                                             {"kernels", report.kernels.size()}, {"distinct_kernels", report.distinct_kernels}, {"load_ms", report.load_ms},
                                             {"total_flops", Total(flops)}, {"total_ms", Total(ms)}, {"flops", Shares(flops)}, {"time", Shares(ms)}, {"each", each}};
    fmt::print("{}\n", document.dump(1));
    return;
  }
  fmt::print("{}{}: {} kernels{}, {:.3g} GFLOP in {:.3g} ms, {} thread(s)\n", forward.name(), a.grad ? " with gradients" : "", report.kernels.size(),
             a.unfused ? " (unfused)" : "", Total(flops) * 1e-9, Total(ms), report.threads);
  for (size_t c = 0; c < kClasses; ++c) {
    fmt::print("{:<14} {:>6.1f} % of FLOPs {:>6.1f} % of time\n", kNames[c], 100 * flops[c] / std::max(Total(flops), 1e-30), 100 * ms[c] / std::max(Total(ms), 1e-30));
  }
}

}  // namespace

void AddBreakdown(CLI::App& program, int* status) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand("breakdown", "Share of FLOPs and of measured time by class of operation");
  command->add_option("FRAGMENT", arguments->fragment, "Fragment file or model:NAME")->required();
  command->add_flag("--grad", arguments->grad, "With gradients");
  command->add_flag("--unfused", arguments->unfused, "Every op stores its results instead of being fused");
  command->add_option("--svg", arguments->svg, "Writes the shares as a picture");
  command->add_flag("--json", arguments->json, "One JSON document");
  command->add_option("--threads", arguments->threads, "Threads; all cores when not given")->check(CLI::Range(1, 1024));
  command->callback([arguments, status] {
    Breakdown(*arguments);
    *status = 0;
  });
}

}  // namespace athanor
