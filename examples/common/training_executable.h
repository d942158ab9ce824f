#pragma once

#include <memory>
#include <string>
#include <vector>

#include "examples/common/named_tensors.h"
#include "examples/common/training_step.h"

// A training step compiled for this machine, and the tensors it works on.
class TrainingExecutable {
 public:
  // All tensors are zero, but for "grad.loss", which is 1.
  TrainingExecutable(const athanor::Graph& model, const Optimizer& optimizer, const athanor::Options& options);

  // Takes step number `number`, counted from 1, at the learning rate `lr`, updating the state in place. Returns the loss.
  float Run(int64_t number, double lr);
  float RunProfiled(int64_t number, double lr);  // the same, timing each kernel

  NamedTensors& tensors() { return tensors_; }  // all inputs of the step
  const NamedTensors& tensors() const { return tensors_; }
  const std::vector<std::string>& state() const { return state_; }  // names of the tensors that a step updates
  const athanor::Graph& graph() const { return step_.graph; }
  const athanor::Report& report() const { return executable_->report(); }

 private:
  void SetScalars(int64_t number, double lr);

  const TrainingStep step_;
  const std::unique_ptr<athanor::Executable> executable_;
  NamedTensors tensors_;
  std::vector<std::string> state_;
  athanor::HostTensor loss_;
  std::vector<const void*> inputs_;
  std::vector<void*> outputs_;
};
