#pragma once

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "examples/generate/trainer.h"

// Predicts the byte behind a text. Both kinds give the same distribution; they differ in what they compute for it.
class Predictor {
 public:
  virtual ~Predictor() = default;
  // Logits [vocabulary] of the byte behind `tokens`, 1 to context of them; `tokens` of the first call, then one more each call.
  virtual const float* Next(const std::vector<int64_t>& tokens) = 0;
};

// Runs the whole text through the network for each byte: for the shortest of a few lengths that holds it.
std::unique_ptr<Predictor> MakeWholePredictor(const GptConfig& config, const NamedTensors& parameters, const athanor::Options& options);
// Runs only new bytes, over a cache of keys and values.
std::unique_ptr<Predictor> MakeCachedPredictor(const GptConfig& config, const NamedTensors& parameters, const athanor::Options& options);

struct Sample {
  std::vector<int64_t> tokens;                               // the prompt, then what was sampled
  double seconds = 0;
};

// Draws `count` bytes behind `prompt` at `temperature` (0: the likeliest), one random number from `seed` each. `stop` is asked before
// each byte.
Sample Draw(Predictor& predictor, const std::string& prompt, int64_t count, double temperature, uint64_t seed, int64_t vocabulary,
            bool (*stop)());
