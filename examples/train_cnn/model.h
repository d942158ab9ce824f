#pragma once

#include <cstdint>

#include "ops/graph.h"

// A residual network (He et al. 2016, their form for small images) for 28 x 28 images: a 3 x 3 stem, then stages of basic blocks,
// each stage with half the height and width and twice the channels of the one before.
struct ResNetConfig {
  int64_t width = 16, stages = 3, blocks = 1, classes = 10;  // `width`: channels of the first stage; `blocks`: of a stage
};

// Inputs: "x" f32 [batch, 1, 28, 28], the parameters, which want gradients, for each normalisation N its statistics
// "N.running_mean" and "N.running_var", and in training "y" i64 [batch]. Outputs in training: "loss" f32 [], the mean cross
// entropy, and "new.N.running_mean", "new.N.running_var"; otherwise, normalised with the statistics given, "logits" f32 [batch,
// classes].
athanor::Graph ResNet(const ResNetConfig& config, int64_t batch, bool training);
