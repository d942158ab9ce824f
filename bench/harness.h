#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ops/graph.h"
#include "ops/host_tensor.h"
#include "runtime/machine_peak.h"
#include "runtime/options.h"

namespace athanor::bench {

// One fragment to measure; with `grad`, together with its gradients.
struct Case {
  std::string name, path;
  bool grad = false;
};

struct Result {
  std::string name, dtype;
  bool grad = false;
  int threads = 1;
  double ms_median = 0, ms_min = 0;
  double flops = 0, bytes = 0;                               // as docs/fragment-format.md counts them
  double roofline_ms = 0;
  std::optional<double> max_rel_error;                       // against the reference interpreter; absent: not checked
  int kernels = 0;
  double first_call_ms = 0;

  double gflops() const { return flops / ms_median * 1e-6; }
  double gbs() const { return bytes / ms_median * 1e-6; }
  double roofline_fraction() const { return roofline_ms / ms_median; }
};

struct Settings {
  Options options;
  int threads = 1;
  bool time = true;                                          // perf
  bool check_all = false;                                    // correctness: also where the interpreter is slow
  int repetitions = 9;
  double min_seconds = 0.05;                                 // of each repetition
};

// The fragments named by files, models (bench/models/registry.h), or all in a folder when a path is one. A name that ends in ".train" asks for gradients.
std::vector<Case> FindCases(const std::vector<std::string>& paths, bool grad);

// Measures with Google Benchmark: the repetitions of all cases interleaved at random, so that a slow moment of the machine hits
// all of them alike.
std::vector<Result> Measure(const std::vector<Case>& cases, const Settings& settings, const MachinePeak& peak);

// Data for every input, the same each time: normal numbers, valid indices, positive variances, and weights that keep magnitudes.
std::vector<HostTensor> RandomInputs(const Graph& graph);

// FLOPs of products, convolutions and attention, and of each of their gradients that is asked for.
double CountFlops(const Graph& forward, bool grad);
// Each input and output of the fragment once; with gradients, each output's gradient and each wanted gradient once.
double CountBytes(const Graph& forward, bool grad);

}  // namespace athanor::bench
