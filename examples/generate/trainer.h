#pragma once

#include <cstdint>
#include <string>

#include "examples/common/training_executable.h"
#include "examples/generate/model.h"

// Trains a GPT on windows of a text. Parameters, moments and the number of steps done are its whole state: which windows a step
// sees follows from the seed and its number, so a saved state goes on exactly where it stopped.
class Trainer {
 public:
  // `text` is longer than the context. Parameters are drawn from `seed`.
  Trainer(std::string text, const GptConfig& config, uint64_t seed, double peak_lr, const athanor::Options& options);

  int64_t done() const { return done_; }
  float Step();                              // one batch; returns its loss
  void Save(const std::string& path) const;  // safetensors
  void Resume(const std::string& path);
  const NamedTensors& tensors() const { return executable_.tensors(); }  // all inputs of the step
  const athanor::Report& report() const { return executable_.report(); }

 private:
  void InitializeParameters();
  void PrepareBatch();

  const std::string text_;
  const GptConfig config_;
  const uint64_t seed_;
  const double peak_lr_;
  const athanor::Graph model_;
  TrainingExecutable executable_;
  int64_t done_ = 0;
};
