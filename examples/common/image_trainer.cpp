#include "examples/common/image_trainer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "examples/common/initialization.h"
#include "ops/error.h"

using athanor::HostTensor;

ImageTrainer::ImageTrainer(const Dataset& data, const Recipe& recipe, const athanor::Options& options)
    : recipe_(recipe),
      network_(recipe.network(recipe.batch, true)),
      batches_(data, recipe.batch, recipe.seed),
      executable_(network_, recipe.optimizer, options) {
  InitializeAsTorch(network_, recipe.seed, executable_.tensors());
}

double ImageTrainer::LearningRate(int64_t step) const {
  const int64_t warmup = recipe_.warmup_steps;
  if (step < warmup) return recipe_.peak_lr * static_cast<double>(step + 1) / static_cast<double>(warmup);
  const double progress = static_cast<double>(step - warmup) / static_cast<double>(std::max<int64_t>(1, total_steps() - warmup));
  return recipe_.peak_lr * 0.5 * (1 + std::cos(std::numbers::pi * std::min(progress, 1.0)));
}

void ImageTrainer::PrepareBatch() {
  NamedTensors& tensors = executable_.tensors();
  batches_.Fill(done_, Floats(tensors.at("x")), reinterpret_cast<int64_t*>(tensors.at("y").data()));
}

float ImageTrainer::Step() {
  PrepareBatch();
  const float loss = executable_.Run(done_ + 1, LearningRate(done_));
  ++done_;
  return loss;
}

void ImageTrainer::ProfileStep() {
  PrepareBatch();
  executable_.RunProfiled(done_ + 1, LearningRate(done_));
  ++done_;
}

Settings ImageTrainer::settings() const { return {{"seed", static_cast<int64_t>(recipe_.seed)}, {"epochs", recipe_.epochs}}; }

void ImageTrainer::Save(const std::string& path) const {
  SaveCheckpoint(path, executable_.tensors(), executable_.state(), settings(), done_);
}

void ImageTrainer::Resume(const std::string& path) {
  done_ = LoadCheckpoint(path, executable_.tensors(), executable_.state(), settings());
}

double ImageTrainer::Accuracy(const Dataset& test, const athanor::Options& options) const {
  if (test.count() == 0) athanor::Fail("the test set has no images");
  const int64_t batch = std::min<int64_t>(500, test.count());
  const athanor::Graph network = recipe_.network(batch, false);
  const auto executable = athanor::Executable::Compile(network, options);
  const athanor::TensorDesc& desc = network.desc(network.outputs()[0].value);
  HostTensor images(athanor::DType::kF32, {batch, 1, 28, 28}), logits(desc.dtype, desc.shape);
  std::vector<const void*> inputs;
  for (athanor::ValueId input : network.inputs()) {
    const std::string& name = network.value(input).name;
    inputs.push_back(name == "x" ? images.data() : executable_.tensors().at(name).data());
  }
  const int64_t classes = desc.shape[1];
  int64_t right = 0;
  for (int64_t begin = 0; begin + batch <= test.count(); begin += batch) {
    std::memcpy(images.data(), test.images.data() + begin * kPixels, images.bytes());
    void* outputs[] = {logits.data()};
    executable->Run(inputs, outputs);
    for (int64_t i = 0; i < batch; ++i) {
      const float* row = Floats(logits) + i * classes;
      right += std::max_element(row, row + classes) - row == test.labels[begin + i];
    }
  }
  return static_cast<double>(right) / static_cast<double>(test.count() / batch * batch);
}
