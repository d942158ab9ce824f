#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/graph.h"
#include "runtime/executable.h"

// A Vision Transformer (Dosovitskiy et al. 2021) for 28 x 28 images.
struct VitConfig {
  int64_t batch = 64, patch = 4, width = 128, blocks = 4, heads = 4, classes = 10;
};

// Inputs: "x" f32 [batch, 1, 28, 28], the parameters, which want gradients, and with a loss "y" i64 [batch]. Output: "loss" f32 [],
// the mean cross entropy, or without it "logits" f32 [batch, classes].
athanor::Graph VisionTransformer(const VitConfig& config, bool with_loss);

// Forward, loss, gradients and AdamW as one graph. Besides the inputs of `model`: "grad.loss" (set it to 1), "step" f32 [] (1 for the
// first), "lr" f32 [], and for each parameter P its moments "m.P" and "v.P". Outputs: "loss", and "new.P", "new.m.P", "new.v.P", which
// live where P, "m.P" and "v.P" live.
struct TrainingStep {
  athanor::Graph graph;
  std::vector<athanor::InPlace> in_place;
};
TrainingStep MakeTrainingStep(const athanor::Graph& model, double weight_decay);
