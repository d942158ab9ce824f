#pragma once

#include <cstdint>
#include <string>

#include "ops/graph.h"
#include "runtime/executable.h"

// A GPT (Radford et al. 2019) over bytes: learned positions, normalisation before attention and perceptron.
struct GptConfig {
  int64_t batch = 8, context = 256, width = 128, blocks = 4, heads = 4, vocabulary = 256;
};

// Inputs: "x" i64 [batch, length], length <= context, the parameters, which want gradients, and with a loss "y" i64 [batch, length].
// Output: "loss" f32 [], the mean cross entropy, or without it "logits" f32 [batch, length, vocabulary].
athanor::Graph Gpt(const GptConfig& config, int64_t length, bool with_loss);

// One token of one sequence. Inputs: "x" i64 [1, 1], "position" i64 [1] (of x), "filled" i64 [1] (position + 1), the parameters, and for
// each block the caches "keys.I" and "values.I" f32 [1, heads, context, width / heads]. Outputs: "logits" f32 [1, 1, vocabulary], and
// "new.keys.I" and "new.values.I", which live where the caches live.
struct DecodingStep {
  athanor::Graph graph;
  std::vector<athanor::InPlace> in_place;
};
DecodingStep MakeDecodingStep(const GptConfig& config);
