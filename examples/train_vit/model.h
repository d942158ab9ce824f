#pragma once

#include <cstdint>

#include "ops/graph.h"

// A Vision Transformer (Dosovitskiy et al. 2021) for 28 x 28 images.
struct VitConfig {
  int64_t patch = 4, width = 128, blocks = 4, heads = 4, classes = 10;
};

// Inputs: "x" f32 [batch, 1, 28, 28], the parameters, which want gradients, and with a loss "y" i64 [batch]. Output: "loss" f32
// [], the mean cross entropy, or without it "logits" f32 [batch, classes].
athanor::Graph VisionTransformer(const VitConfig& config, int64_t batch, bool with_loss);
