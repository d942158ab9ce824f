#pragma once

#include <span>
#include <string>
#include <vector>

#include "ops/graph.h"
#include "ops/host_tensor.h"

namespace athanor::bench {

// Whether results are what the graph means: its values for these inputs without any rounding (InterpretUnrounded). An element may differ by
//   - the rounding of the output to its dtype,
//   - what sums in the arithmetic's precision (f32 at least) err by, as a share of the output's largest magnitude,
//   - and what rounding of intermediates explains. Which of them a kernel stores, and so rounds to the graph's dtype, is its own affair, and at
//     a kink (the mask of a ReLU, the winner of a maximum) a value within rounding of the tie falls on either side, and gradients jump. So the
//     graph is evaluated again with noise on every result of arithmetic, some times as large as rounding errors, and an element may be as far
//     off as one of these runs moved it, twice as far where the output lies behind a kink: the sum of many jumps is a matter of which ones fall
//     together. Runs stop where all is explained; what is wrong costs kNoisyRuns of them.
struct Judgement {
  double error = 0;        // the largest of all outputs, relative to the output's largest magnitude
  double allowed = 0;      // without any noise, for the largest element
  double sensitivity = 0;  // of the values to noise, where it was asked: the largest of the outputs it was asked for
  bool right = false;
  bool decided = true;     // false where more runs with noise, up to kNoisyRuns, might explain what is unexplained
  std::string worst;  // name of the output with the largest error
};

// By whose precision results are judged: the least exact of inputs and outputs; f32 where none is floating-point.
DType JudgedDType(const Graph& graph);
double AllowedError(DType dtype);

inline constexpr int kNoisyRuns = 64;
Judgement Judge(const Graph& graph, std::span<const HostTensor> inputs, std::span<const HostTensor> results, int noisy_runs = kNoisyRuns);

}  // namespace athanor::bench
