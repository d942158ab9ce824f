#pragma once

#include <vector>

#include "ops/graph.h"
#include "runtime/executable.h"

// Forward, loss, gradients and AdamW as one graph. Besides the inputs of `model`: "grad.loss" (set it to 1), "step" f32 [] (1 for the
// first), "lr" f32 [], and for each parameter P its moments "m.P" and "v.P". Outputs: "loss", and "new.P", "new.m.P", "new.v.P", which
// live where P, "m.P" and "v.P" live.
struct TrainingStep {
  athanor::Graph graph;
  std::vector<athanor::InPlace> in_place;
};
TrainingStep MakeTrainingStep(const athanor::Graph& model, double weight_decay);
