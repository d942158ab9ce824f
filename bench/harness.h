#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bench/judge.h"
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

// Milliseconds of a run, over the repetitions.
struct Timing {
  double ms_median = 0, ms_min = 0;
  double noise = 0;                                          // half the distance between the quartiles, as a share of the median
};

struct Result {
  Case item;
  std::string dtype;                                         // of the first output
  int threads = 1;
  Timing time;
  double flops = 0, bytes = 0;                               // as docs/fragment-format.md counts them
  double roofline_ms = 0;
  std::optional<Judgement> judgement;                        // absent: not checked
  int kernels = 0;
  double first_call_ms = 0;
  std::map<std::string, Timing> peers;

  double gflops() const { return flops / time.ms_median * 1e-6; }
  double gbs() const { return bytes / time.ms_median * 1e-6; }
  double roofline_fraction() const { return roofline_ms / time.ms_median; }
  bool wrong() const { return judgement && judgement->decided && !judgement->right; }
};

struct Settings {
  Options options;
  int threads = 1;
  bool time = true;                                          // perf
  bool check_all = false;                                    // correctness: also where the interpreter is slow
  int repetitions = 9;                                       // of a round; what is noisy after one is measured again, in `rounds` at most
  int rounds = 3;
  double min_seconds = 0.05;                                 // of each repetition
  std::vector<std::string> peers;                            // bench/peers.h: timed between our own repetitions
  std::string python;                                        // that runs them; empty: the usual places
};

// The fragments named by files, models (bench/models/registry.h), or all in a folder when a path is one. A name that ends in ".train" asks for gradients.
// Throws Error for a folder without fragments.
std::vector<Case> FindCases(const std::vector<std::string>& paths, bool grad);

// Measures with Google Benchmark: the repetitions of all cases and peers interleaved at random, so that a slow moment of the machine hits
// all of them alike.
std::vector<Result> Measure(const std::vector<Case>& cases, const Settings& settings, const MachinePeak& peak);

// Data for every input, the same each time: normal numbers, valid indices, positive variances, and weights that keep magnitudes.
std::vector<HostTensor> RandomInputs(const Graph& graph);

// FLOPs of products, convolutions and attention, and of each of their gradients that is asked for.
double CountFlops(const Graph& forward, bool grad);
// Each input and output of the fragment once; with gradients, each output's gradient and each wanted gradient once.
double CountBytes(const Graph& forward, bool grad);

}  // namespace athanor::bench
