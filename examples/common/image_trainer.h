#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "examples/common/batches.h"
#include "examples/common/checkpoint.h"
#include "examples/common/training_executable.h"

// What is trained on Fashion-MNIST, and how.
struct Recipe {
  // The network for batches of `batch` images, input "x" f32 [batch, 1, 28, 28]. In training: the input "y" i64 [batch] and the
  // output "loss", parameters want gradients, and what else it updates is as MakeTrainingStep has it. Otherwise: the output
  // "logits" f32 [batch, classes].
  std::function<athanor::Graph(int64_t batch, bool training)> network;
  Optimizer optimizer;
  double peak_lr = 1e-3;
  int64_t warmup_steps = 100, batch = 64, epochs = 1;
  uint64_t seed = 0;
};

// Trains a network. What a step updates and the number of steps done are its whole state: the order of the images follows from
// the seed, so a saved state goes on exactly where it stopped.
class ImageTrainer {
 public:
  // Compiles the training step. Parameters are drawn as PyTorch draws them, from the recipe's seed.
  ImageTrainer(const Dataset& data, const Recipe& recipe, const athanor::Options& options);

  int64_t total_steps() const { return recipe_.epochs * batches_.per_epoch(); }
  int64_t done() const { return done_; }
  double LearningRate(int64_t step) const;  // linear warm-up, then a cosine down to 0

  float Step();                              // one batch; returns its loss
  void ProfileStep();                        // one batch, timing each kernel
  void Save(const std::string& path) const;  // safetensors
  void Resume(const std::string& path);
  // Share of test images whose class is predicted.
  double Accuracy(const Dataset& test, const athanor::Options& options) const;
  const TrainingExecutable& executable() const { return executable_; }

 private:
  void PrepareBatch();
  Settings settings() const;

  const Recipe recipe_;
  const athanor::Graph network_;
  Batches batches_;
  TrainingExecutable executable_;
  int64_t done_ = 0;
};
