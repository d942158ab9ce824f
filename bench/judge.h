#pragma once

#include <span>
#include <string>
#include <vector>

#include "ops/graph.h"
#include "ops/host_tensor.h"

namespace athanor::bench {

// Whether results are what the reference interpreter says. The largest difference in an output, relative to the output's largest
// magnitude, may be what rounding explains: `allowed`. Where it is more, the reference is asked what rounding can do to *it*: at
// a kink (the mask of a ReLU, the winner of a maximum) a value within rounding of the tie falls on either side, and gradients
// jump. It runs again with noise as large as rounding errors on every result of arithmetic; an element may then be further off
// only where such a run moved it as well, and not beyond twice its move.
struct Judgement {
  double error = 0;        // the largest of all outputs, as it is
  double allowed = 0;      // without any noise
  double sensitivity = 0;  // of the reference to noise, where it was asked: the largest of the outputs it was asked for
  bool right = false;
  std::string worst;  // name of the output with the largest error
};

// By whose precision results are judged: the least exact of inputs and outputs; f32 where none is floating-point.
DType JudgedDType(const Graph& graph);
double AllowedError(DType dtype);

Judgement Judge(const Graph& graph, std::span<const HostTensor> inputs, std::span<const HostTensor> results);

}  // namespace athanor::bench
