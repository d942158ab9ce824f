// Compares random graphs, compiled, with the interpreter: values and gradients, f32 and f64, either instruction set. What differs is shrunk and
// printed as a fragment.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <random>
#include <set>

#include "ops/error.h"
#include "ops/fragment.h"
#include "ops/gradient.h"
#include "tests/random/random_graph.h"
#include "tests/random/shrink.h"
#include "tests/runtime/comparison.h"

namespace athanor {
namespace {

using Clock = std::chrono::steady_clock;

// What a seed's number decides besides the graph.
struct Trial {
  explicit Trial(uint32_t number) : seed(number), gradients(number % 2 != 0), in_place(number / 6 % 2 == 0), dtype(number % 4 < 2 ? DType::kF32 : DType::kF64) {
    if (number % 5 == 0) options.isa = Isa::kAvx2;
    options.threads = 1 + static_cast<int>(number % 3);
  }
  uint32_t seed;
  bool gradients, in_place;
  DType dtype;
  Options options;
};

// The largest difference, relative to the largest magnitude, or to 1 where that is more: what cancels to nothing keeps its rounding.
double ErrorOf(const HostTensor& expected, const HostTensor& actual) {
  double scale = 0;
  for (const double x : expected.ToDoubles()) scale = std::isfinite(x) ? std::max(scale, std::abs(x)) : scale;
  return RelativeError(expected, actual) * std::min(scale, 1.0);
}

HostTensor InF64(const HostTensor& tensor) {
  if (tensor.desc().dtype != DType::kF32) return tensor;
  HostTensor wide(DType::kF64, tensor.desc().shape);
  wide.Assign(tensor.ToDoubles());
  return wide;
}

// What f32 may err: some times what the interpreter errs against f64. Infinite where the graph makes too much of its rounding.
double Allowed(const HostTensor& exact, const HostTensor& expected) {
  const double error = ErrorOf(exact, InF64(expected));
  return error < 1e-2 ? std::max(1e-4, 10 * error) : std::numeric_limits<double>::infinity();
}

// Outputs that may live where inputs live, some of them.
std::vector<InPlace> InPlacePairs(const Graph& graph, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<InPlace> pairs;
  std::set<ValueId> taken;
  for (const NamedValue& output : graph.outputs()) {
    for (const ValueId input : graph.inputs()) {
      const TensorDesc &in = graph.desc(input), &out = graph.desc(output.value);
      if (in.dtype != out.dtype || in.shape != out.shape || !in.contiguous() || taken.count(input) || random() % 2 == 0) continue;
      taken.insert(input);
      pairs.push_back({output.name, graph.value(input).name});
      break;
    }
  }
  return pairs;
}

// What is wrong with the compiled graph; empty when nothing is.
std::string Difference(const Graph& forward, const Trial& trial) {
  try {
    bool wanted = false;
    for (const ValueId input : forward.inputs()) wanted |= forward.value(input).wants_grad;
    const Graph graph = trial.gradients && wanted ? Gradient(forward) : forward;
    const std::vector<HostTensor> inputs = RandomInputs(graph, trial.seed), expected = Interpret(graph, inputs);
    const std::vector<InPlace> in_place = trial.in_place ? InPlacePairs(graph, trial.seed) : std::vector<InPlace>();
    const std::unique_ptr<Executable> executable = Executable::Compile(graph, trial.options, in_place);
    const std::vector<HostTensor> actual = RunExecutable(*executable, graph, inputs, in_place);
    std::vector<HostTensor> exact, wide;
    if (trial.dtype == DType::kF32) {
      for (const HostTensor& input : inputs) wide.push_back(InF64(input));
      exact = Interpret(Widened(graph), wide);
    }
    for (size_t i = 0; i < expected.size(); ++i) {
      const double error = exact.empty() ? ErrorOf(expected[i], actual[i]) : ErrorOf(exact[i], InF64(actual[i]));
      const double allowed = exact.empty() ? 1e-9 : Allowed(exact[i], expected[i]);
      if (!(error <= allowed)) return fmt::format("{} errs by {:.1e} of its scale, {:.1e} is allowed", graph.outputs()[i].name, error, allowed);
    }
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

void Report(const Graph& graph, const Trial& trial) {
  const auto deadline = Clock::now() + std::chrono::seconds(60);
  const Graph smallest = Shrink(
      graph, [&](const Graph& smaller) { return !Difference(smaller, trial).empty(); }, [&] { return Clock::now() < deadline; });
  fmt::print("seed {} ({}{}{}{}): {}\nshrunk from {} nodes to {}: {}\n{}\n", trial.seed, Name(trial.dtype), trial.gradients ? ", gradients" : "",
             trial.in_place ? ", in place" : "", trial.options.isa ? ", AVX2" : "", Difference(graph, trial), graph.nodes().size(), smallest.nodes().size(),
             Difference(smallest, trial), WriteFragment(smallest));
  std::fflush(stdout);
}

volatile uint32_t running_seed = 0;

// Only what may be called in a signal handler.
void OnCrash(int signal) {
  char text[] = "crashed at seed           \n";
  uint32_t seed = running_seed;
  for (char* digit = text + sizeof(text) - 3; seed > 0; seed /= 10) *digit-- = static_cast<char>('0' + seed % 10);
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);
  _exit(128 + signal);
}

int Run(uint32_t seed, int64_t count, double seconds, int steps, int64_t most_failures) {
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) std::signal(signal, OnCrash);
  const auto start = Clock::now();
  int64_t done = 0, failures = 0;
  for (; done < count && failures < most_failures; ++done, ++seed) {
    if (seconds > 0 && std::chrono::duration<double>(Clock::now() - start).count() > seconds) break;
    running_seed = seed;
    const Trial trial(seed);
    const Graph graph = RandomGraph({.seed = seed, .steps = steps, .dtype = trial.dtype, .smooth = trial.gradients});
    if (Difference(graph, trial).empty()) continue;
    ++failures;
    Report(graph, trial);
  }
  fmt::print("{} graphs, {} failures; the next seed is {}\n", done, failures, seed);
  return failures == 0 ? 0 : 1;
}

// Fragments of old failures, each in several trials.
int RunFiles(const std::vector<std::string>& files) {
  constexpr uint32_t kTrials = 12;                           // all that in-place outputs, gradients and threads combine to
  int failures = 0;
  for (const std::string& file : files) {
    const Graph graph = LoadFragment(file);
    const bool wide = std::any_of(graph.inputs().begin(), graph.inputs().end(), [&](ValueId v) { return graph.desc(v).dtype == DType::kF64; });
    for (uint32_t number = 0; number < kTrials; ++number) {
      Trial trial(number);
      trial.dtype = wide ? DType::kF64 : DType::kF32;
      const std::string difference = Difference(graph, trial);
      if (difference.empty()) continue;
      ++failures;
      fmt::print("{}, trial {}: {}\n", file, number, difference);
    }
  }
  fmt::print("{} fragments, {} failures\n", files.size(), failures);
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace athanor

int main(int argc, char** argv) {
  CLI::App app("Compares random graphs, compiled, with the interpreter. The same seed gives the same graph.");
  uint32_t seed = 0;
  int64_t count = std::numeric_limits<int64_t>::max(), failures = 1;
  double seconds = 0;
  int steps = 9;
  std::vector<std::string> files;
  app.add_option("--seed", seed, "the first graph's number; the next ones follow");
  app.add_option("--count", count, "graphs to try");
  app.add_option("--seconds", seconds, "time to spend; 0: until something fails");
  app.add_option("--steps", steps, "ops in a graph, about");
  app.add_option("--failures", failures, "to report before stopping");
  app.add_option("FRAGMENT", files, "fragments to compare instead of random ones")->check(CLI::ExistingFile);
  CLI11_PARSE(app, argc, argv);
  if (!files.empty()) return athanor::RunFiles(files);
  return athanor::Run(seed, count, seconds, steps, failures);
}
