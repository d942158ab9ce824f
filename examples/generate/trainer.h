#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "examples/common/training_step.h"
#include "examples/generate/model.h"
#include "ops/host_tensor.h"

using NamedTensors = std::map<std::string, athanor::HostTensor>;

// The pointers of `graph`'s inputs among `tensors`.
std::vector<const void*> InputsOf(const athanor::Graph& graph, const NamedTensors& tensors);

// Trains a GPT on windows of a text. Parameters, moments and the number of steps done are its whole state: which windows a step
// sees follows from the seed and its number, so a saved state goes on exactly where it stopped.
class Trainer {
 public:
  // `text` is longer than the context. Parameters are drawn from `seed`.
  Trainer(std::string text, const GptConfig& config, uint64_t seed, double peak_lr, const athanor::Options& options);

  int64_t done() const { return done_; }
  float Step();                                              // one batch; returns its loss
  void Save(const std::string& path) const;                  // safetensors
  void Resume(const std::string& path);
  const NamedTensors& tensors() const { return tensors_; }   // all inputs of the step
  const athanor::Report& report() const { return executable_->report(); }

 private:
  void InitializeParameters(const athanor::Graph& model);
  void PrepareBatch();

  const std::string text_;
  const GptConfig config_;
  const uint64_t seed_;
  const double peak_lr_;
  std::vector<std::string> state_;                           // names of parameters and moments
  NamedTensors tensors_;
  athanor::HostTensor loss_;
  std::unique_ptr<athanor::Executable> executable_;
  std::vector<const void*> inputs_;
  std::vector<void*> outputs_;
  int64_t done_ = 0;
};
