#pragma once

#include <vector>

#include "ops/graph.h"
#include "runtime/executable.h"

struct Optimizer {
  enum class Kind { kAdamW, kSgd };
  Kind kind = Kind::kAdamW;
  double weight_decay = 0.01;  // of all parameters
  double momentum = 0.9;       // of SGD
};

// Forward, loss, gradients and the optimiser as one graph. Besides the inputs of `model`, whose outputs are "loss" and "new.X"
// for each input X that it updates itself, such as running statistics: "grad.loss" (set it to 1), "lr" f32 [], and for each
// parameter P its momentum "m.P"; for AdamW also "step" f32 [] (1 for the first) and second moments "v.P". Outputs: "loss", and
// "new.X", "new.P", "new.m.P", "new.v.P", which live where X, P, "m.P" and "v.P" live.
struct TrainingStep {
  athanor::Graph graph;
  std::vector<athanor::InPlace> in_place;
};
TrainingStep MakeTrainingStep(const athanor::Graph& model, const Optimizer& optimizer);
