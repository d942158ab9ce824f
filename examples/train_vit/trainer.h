#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "examples/common/training_step.h"
#include "examples/train_vit/dataset.h"
#include "examples/train_vit/model.h"
#include "ops/host_tensor.h"
#include "runtime/executable.h"

struct TrainingPlan {
  int64_t epochs = 1;
  uint64_t seed = 0;
  double peak_lr = 1e-3, weight_decay = 0.05;
  int64_t warmup_steps = 100;
};

// Trains the Vision Transformer. Parameters, moments and the number of steps done are its whole state: the order of the images
// follows from the seed, so a saved state goes on exactly where it stopped.
class Trainer {
 public:
  // Compiles the training step. Parameters are drawn as PyTorch draws them, from `plan.seed`.
  Trainer(const Dataset& data, const VitConfig& config, const TrainingPlan& plan, const athanor::Options& options);

  int64_t steps_per_epoch() const { return data_.count() / config_.batch; }
  int64_t total_steps() const { return plan_.epochs * steps_per_epoch(); }
  int64_t done() const { return done_; }
  double LearningRate(int64_t step) const;                   // linear warm-up, then a cosine down to 0

  float Step();                                              // one batch; returns its loss
  void ProfileStep();                                        // one batch, timing each kernel
  void Save(const std::string& path) const;                  // safetensors
  void Resume(const std::string& path);
  // Share of test images whose class is predicted.
  double Accuracy(const Dataset& test, const athanor::Options& options) const;
  const athanor::Report& report() const { return executable_->report(); }
  const athanor::HostTensor& tensor(const std::string& name) const { return tensors_.at(name); }

 private:
  void InitializeParameters(const athanor::Graph& model);
  void PrepareBatch();
  void Run(bool profile);

  const Dataset& data_;
  VitConfig config_;
  TrainingPlan plan_;
  std::vector<std::string> parameters_;
  std::map<std::string, athanor::HostTensor> tensors_;       // all inputs of the step, by name
  athanor::HostTensor loss_;
  std::unique_ptr<athanor::Executable> executable_;
  std::vector<const void*> inputs_;
  std::vector<void*> outputs_;
  std::vector<int64_t> order_;                               // of the images in the epoch `order_epoch_`
  int64_t order_epoch_ = -1, done_ = 0;
};
