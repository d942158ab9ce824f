#include "bench/harness.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <random>

#include <benchmark/benchmark.h>

#include "bench/models/registry.h"
#include "bench/peers.h"
#include "ops/error.h"
#include "ops/gradient.h"
#include "ops/host_tensor.h"
#include "ops/op.h"
#include "runtime/executable.h"
#include "runtime/index_check.h"
#include "runtime/placed_inputs.h"
#include "runtime/strided_copy.h"

namespace athanor::bench {
namespace {

constexpr double kSlowToCheck = 4e9;                         // FLOPs beyond which only Settings::check_all interprets
constexpr int kFewestNoisyRuns = 2;                          // what is grossly wrong is found by them
constexpr double kNoisy = 0.02;                              // Timing::noise beyond which more is measured

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

  void Run() { executable_->Run(placed_->pointers(), out_); }
  double flops() const { return forward_flops_; }
  double bytes() const { return bytes_; }
  double first_call_ms() const { return first_call_ms_; }
  int kernels() const { return static_cast<int>(executable_->report().kernels.size()); }
  std::string dtype() const { return std::string(Name(graph_.desc(graph_.outputs()[0].value).dtype)); }

  Judgement Check(int noisy_runs) const { return Judge(graph_, inputs_, outputs_, noisy_runs); }

 private:
  void MakeInputs() {
    inputs_ = RandomInputs(graph_);
    for (const NamedValue& output : graph_.outputs()) outputs_.emplace_back(graph_.desc(output.value).dtype, graph_.desc(output.value).shape);
    placed_ = std::make_unique<PlacedInputs>(graph_, inputs_);
    for (HostTensor& tensor : outputs_) out_.push_back(tensor.data());
  }

  Graph graph_;
  double forward_flops_ = 0, bytes_ = 0, first_call_ms_ = 0;
  std::vector<HostTensor> inputs_, outputs_;
  std::unique_ptr<PlacedInputs> placed_;
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

// Something to time: what one run takes in milliseconds, by its own clock where it has one.
struct Watched {
  std::function<void()> run;
  std::function<double()> run_itself;                        // instead of `run`
  std::vector<double> times;
};

Timing Summary(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  const size_t n = times.size();
  const double median = times[n / 2];
  return {median, times[0], (times[n - 1 - n / 4] - times[n / 4]) / (2 * median)};
}

// One round of repetitions of each, in random order.
void TimeOnce(std::map<std::string, Watched*>& watched, const Settings& settings) {
  for (auto& [name, entry] : watched) {
    Watched* subject = entry;
    auto* registered = benchmark::RegisterBenchmark(name.c_str(), [subject](benchmark::State& state) {
      for (auto _ : state) subject->run_itself ? state.SetIterationTime(subject->run_itself() * 1e-3) : subject->run();
    });
    registered->Unit(benchmark::kMillisecond)->MinTime(settings.min_seconds)->Repetitions(settings.repetitions);
    subject->run_itself ? registered->UseManualTime() : registered->UseRealTime();
  }
  Collector collector;
  benchmark::RunSpecifiedBenchmarks(&collector);
  benchmark::ClearRegisteredBenchmarks();
  for (auto& [name, subject] : watched) {
    const std::vector<double>& times = collector.times[name];
    if (times.empty()) throw InternalError("bench: nothing was measured under " + name);
    subject->times.insert(subject->times.end(), times.begin(), times.end());
  }
}

void Time(std::vector<Result>* results, std::vector<std::unique_ptr<Subject>>& subjects, PeerProcess* peers, const Settings& settings) {
  std::string program = "athanor", interleave = "--benchmark_enable_random_interleaving=true";
  char* arguments[] = {program.data(), interleave.data(), nullptr};
  int count = 2;
  benchmark::Initialize(&count, arguments);
  std::vector<std::pair<Timing*, Watched>> all;
  for (size_t i = 0; i < subjects.size(); ++i) {
    Result& result = (*results)[i];
    all.push_back({&result.time, {[subject = subjects[i].get()] { subject->Run(); }, nullptr, {}}});
    for (const std::string& peer : settings.peers) {
      const int number = peers->Load(models::LoadGraph(result.item.path, result.item.grad), result.item.grad, peer);
      all.push_back({&result.peers[peer], {nullptr, [peers, number] { return peers->Run(number); }, {}}});
    }
  }
  for (int round = 0; round < settings.rounds; ++round) {
    std::map<std::string, Watched*> noisy;
    for (size_t i = 0; i < all.size(); ++i) {
      if (round == 0 || all[i].first->noise > kNoisy) noisy[std::to_string(i)] = &all[i].second;
    }
    if (noisy.empty()) break;
    TimeOnce(noisy, settings);
    for (auto& [timing, watched] : all) *timing = Summary(watched.times);
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
    if (files.empty()) Fail("{}: holds no fragments, at least one file named *.json expected", path);
    std::sort(files.begin(), files.end());
    std::for_each(files.begin(), files.end(), add);
  }
  return cases;
}

namespace {

// The tensor that lies in `memory` with the strides of `desc`.
HostTensor Gathered(const HostTensor& memory, const TensorDesc& desc) {
  HostTensor dense(desc.dtype, desc.shape);
  StridedCopy(desc.shape, SizeOf(desc.dtype), memory.data(), desc.strides, dense.data(), ContiguousStrides(desc.shape));
  return dense;
}

}  // namespace

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
    const bool weight = desc.rank() == 2 || kernel[input];
    const double scale = weight ? std::sqrt(static_cast<double>(desc.shape[0]) / static_cast<double>(std::max<int64_t>(1, desc.elements()))) : 1;
    // As it lies in memory: where strides let elements overlap, they are the same.
    HostTensor memory(desc.dtype, desc.contiguous() ? desc.shape : Shape{desc.storage_elements()});
    for (int64_t e = 0; e < memory.elements(); ++e) {
      const double value = IsFloat(desc.dtype) ? scale * normal(random) : static_cast<double>(random() % extents[input]);
      memory.Set(e, variance[input] ? 0.5 + std::abs(value) : value);
    }
    inputs.push_back(desc.contiguous() ? std::move(memory) : Gathered(memory, desc));
  }
  return inputs;
}

std::vector<Result> Measure(const std::vector<Case>& cases, const Settings& settings, const MachinePeak& peak) {
  std::unique_ptr<PeerProcess> peers;                        // first: it may be absent
  if (settings.time && !settings.peers.empty()) peers = std::make_unique<PeerProcess>(settings.python, settings.threads);
  std::vector<Result> results;
  std::vector<std::unique_ptr<Subject>> subjects;
  for (const Case& item : cases) {
    subjects.push_back(std::make_unique<Subject>(item, settings.options));
    Subject& subject = *subjects.back();
    Result result{item, subject.dtype(), settings.threads};
    result.flops = subject.flops();
    result.bytes = subject.bytes();
    result.kernels = subject.kernels();
    result.first_call_ms = subject.first_call_ms();
    const DType dtype = result.dtype == "f64" ? DType::kF64 : result.dtype == "bf16" ? DType::kBF16 : DType::kF32;
    const double compute_ms = result.flops / peak.gflops(dtype) * 1e-6;
    result.roofline_ms = std::max(compute_ms, result.bytes / peak.read_gbs * 1e-6);
    const double affordable = kSlowToCheck / std::max(result.flops, 1.0);
    if (settings.check_all || affordable >= 1) {
      result.judgement = subject.Check(settings.check_all ? kNoisyRuns : static_cast<int>(std::clamp<double>(affordable, kFewestNoisyRuns, kNoisyRuns)));
    }
    if (!settings.time) subjects.back().reset();             // its memory is free for the next
    results.push_back(std::move(result));
  }
  if (settings.time) Time(&results, subjects, peers.get(), settings);
  return results;
}

}  // namespace athanor::bench
