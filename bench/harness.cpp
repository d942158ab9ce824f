#include "bench/harness.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <memory>
#include <random>

#include <benchmark/benchmark.h>

#include "bench/models/registry.h"
#include "ops/error.h"
#include "ops/gradient.h"
#include "ops/host_tensor.h"
#include "ops/op.h"
#include "ops/reference.h"
#include "runtime/executable.h"
#include "runtime/index_check.h"

namespace athanor::bench {
namespace {

constexpr double kSlowToCheck = 4e9;                         // FLOPs beyond which only Settings::check_all interprets

double MillisecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

// A compiled fragment with its data.
class Subject {
 public:
  Subject(const Case& item, const Options& options) : graph_(models::LoadGraph(item.path, item.grad)) {
    forward_flops_ = CountFlops(graph_, item.grad);
    bytes_ = CountBytes(graph_, item.grad);
    if (item.grad) graph_ = Gradient(graph_);
    MakeInputs();
    const auto start = std::chrono::steady_clock::now();
    executable_ = Executable::Compile(graph_, options);
    Run();
    first_call_ms_ = MillisecondsSince(start);
  }

  void Run() { executable_->Run(in_, out_); }
  double flops() const { return forward_flops_; }
  double bytes() const { return bytes_; }
  double first_call_ms() const { return first_call_ms_; }
  int kernels() const { return static_cast<int>(executable_->report().kernels.size()); }
  std::string dtype() const { return std::string(Name(graph_.desc(graph_.outputs()[0].value).dtype)); }

  // The largest difference from the interpreter's result, each output relative to its largest magnitude.
  double Error() {
    const std::vector<HostTensor> expected = Interpret(graph_, inputs_);
    double worst = 0;
    for (size_t i = 0; i < expected.size(); ++i) worst = std::max(worst, RelativeError(expected[i], outputs_[i]));
    return worst;
  }

 private:
  void MakeInputs() {
    inputs_ = RandomInputs(graph_);
    for (const NamedValue& output : graph_.outputs()) outputs_.emplace_back(graph_.desc(output.value).dtype, graph_.desc(output.value).shape);
    for (const HostTensor& tensor : inputs_) in_.push_back(tensor.data());
    for (HostTensor& tensor : outputs_) out_.push_back(tensor.data());
  }

  Graph graph_;
  double forward_flops_ = 0, bytes_ = 0, first_call_ms_ = 0;
  std::vector<HostTensor> inputs_, outputs_;
  std::vector<const void*> in_;
  std::vector<void*> out_;
  std::unique_ptr<Executable> executable_;
};

// Keeps the time of every repetition instead of printing it.
class Collector : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.run_type == Run::RT_Iteration) times[run.run_name.function_name].push_back(run.GetAdjustedRealTime());
    }
  }
  std::map<std::string, std::vector<double>> times;          // ms
};

void Time(std::vector<Result>* results, std::vector<std::unique_ptr<Subject>>& subjects, const Settings& settings) {
  std::string program = "athanor", interleave = "--benchmark_enable_random_interleaving=true";
  char* arguments[] = {program.data(), interleave.data(), nullptr};
  int count = 2;
  benchmark::Initialize(&count, arguments);
  for (size_t i = 0; i < subjects.size(); ++i) {
    Subject* subject = subjects[i].get();
    benchmark::RegisterBenchmark(std::to_string(i).c_str(), [subject](benchmark::State& state) {
      for (auto _ : state) subject->Run();
    })->Unit(benchmark::kMillisecond)->UseRealTime()->MinTime(settings.min_seconds)->Repetitions(settings.repetitions);
  }
  Collector collector;
  benchmark::RunSpecifiedBenchmarks(&collector);
  benchmark::ClearRegisteredBenchmarks();
  for (size_t i = 0; i < subjects.size(); ++i) {
    std::vector<double>& times = collector.times[std::to_string(i)];
    if (times.empty()) Fail("bench: {} was not measured", (*results)[i].name);
    std::sort(times.begin(), times.end());
    (*results)[i].ms_median = times[times.size() / 2];
    (*results)[i].ms_min = times[0];
  }
}

}  // namespace

std::vector<Case> FindCases(const std::vector<std::string>& paths, bool grad) {
  std::vector<Case> cases;
  auto add = [&](const std::filesystem::path& path) {
    const std::string name = models::IsModel(path.string()) ? path.string().substr(models::kModelPrefix.size()) : path.stem().string();
    cases.push_back({name, path.string(), grad || name.find(".train") != std::string::npos});
  };
  for (const std::string& path : paths) {
    if (!std::filesystem::is_directory(path)) {
      add(path);
      continue;
    }
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      if (entry.path().extension() == ".json") files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    std::for_each(files.begin(), files.end(), add);
  }
  return cases;
}

std::vector<HostTensor> RandomInputs(const Graph& graph) {
  std::vector<int64_t> extents(graph.values().size(), 2);
  std::vector<bool> kernel(graph.values().size()), variance(graph.values().size());
  for (const IndexUse& use : FindIndexUses(graph)) extents[graph.inputs()[use.input]] = use.extent;
  for (const Node& node : graph.nodes()) {
    if (node.op->name == "conv2d" || node.op->name == "conv_transpose2d") kernel[node.inputs[1]] = true;
    if (node.op->name == "batch_norm" && node.inputs.size() > 2 && node.inputs[2] != kNone) variance[node.inputs[2]] = true;
  }
  std::mt19937 random(1);
  std::normal_distribution<double> normal;
  std::vector<HostTensor> inputs;
  for (ValueId input : graph.inputs()) {
    const TensorDesc& desc = graph.desc(input);
    if (!desc.contiguous()) Fail("bench: input '{}' has strides; only contiguous inputs are measured", graph.value(input).name);
    const bool weight = desc.rank() == 2 || kernel[input];
    const double scale = weight ? std::sqrt(static_cast<double>(desc.shape[0]) / static_cast<double>(std::max<int64_t>(1, desc.elements()))) : 1;
    HostTensor tensor(desc.dtype, desc.shape);
    for (int64_t e = 0; e < tensor.elements(); ++e) {
      const double value = IsFloat(desc.dtype) ? scale * normal(random) : static_cast<double>(random() % extents[input]);
      tensor.Set(e, variance[input] ? 0.5 + std::abs(value) : value);
    }
    inputs.push_back(std::move(tensor));
  }
  return inputs;
}

std::vector<Result> Measure(const std::vector<Case>& cases, const Settings& settings, const MachinePeak& peak) {
  std::vector<Result> results;
  std::vector<std::unique_ptr<Subject>> subjects;
  for (const Case& item : cases) {
    subjects.push_back(std::make_unique<Subject>(item, settings.options));
    Subject& subject = *subjects.back();
    Result result{item.name, subject.dtype(), item.grad, settings.threads};
    result.flops = subject.flops();
    result.bytes = subject.bytes();
    result.kernels = subject.kernels();
    result.first_call_ms = subject.first_call_ms();
    const DType dtype = result.dtype == "f64" ? DType::kF64 : result.dtype == "bf16" ? DType::kBF16 : DType::kF32;
    const double compute_ms = result.flops / peak.gflops(dtype) * 1e-6;
    result.roofline_ms = std::max(compute_ms, result.bytes / peak.read_gbs * 1e-6);
    if (settings.check_all || result.flops <= kSlowToCheck) result.max_rel_error = subject.Error();
    results.push_back(std::move(result));
  }
  if (settings.time) Time(&results, subjects, settings);
  return results;
}

}  // namespace athanor::bench
