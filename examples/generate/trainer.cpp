#include "examples/generate/trainer.h"

#include <algorithm>
#include <cmath>

#include "examples/common/checkpoint.h"
#include "examples/common/random.h"

namespace {

constexpr int64_t kWarmupSteps = 20;
constexpr double kWeightDecay = 0.01, kDeviation = 0.02;

// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014): a counter goes in, 64 random bits come
// out.
uint64_t Mix(uint64_t counter) {
  uint64_t z = counter * 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

Settings SettingsOf(uint64_t seed) { return {{"seed", static_cast<int64_t>(seed)}}; }

}  // namespace

Trainer::Trainer(std::string text, const GptConfig& config, uint64_t seed, double peak_lr, const athanor::Options& options)
    : text_(std::move(text)),
      config_(config),
      seed_(seed),
      peak_lr_(peak_lr),
      model_(Gpt(config, config.context, true)),
      executable_(model_, {.kind = Optimizer::Kind::kAdamW, .weight_decay = kWeightDecay}, options) {
  InitializeParameters();
}

// Weights and tables uniform with GPT-2's deviation, biases zero, normalisations the identity.
void Trainer::InitializeParameters() {
  std::mt19937_64 random(seed_);
  for (athanor::ValueId input : model_.inputs()) {
    const athanor::Value& value = model_.value(input);
    if (!value.wants_grad) continue;
    athanor::HostTensor& tensor = executable_.tensors().at(value.name);
    const bool one = value.name.find("norm") != std::string::npos && value.name.ends_with(".weight");
    for (int64_t i = 0; i < tensor.elements(); ++i) {
      const double uniform = Uniform(random) * 2 - 1;
      tensor.Set(i, value.desc.rank() > 1 ? uniform * kDeviation * std::sqrt(3.0) : one);
    }
  }
}

void Trainer::PrepareBatch() {
  auto* x = reinterpret_cast<int64_t*>(executable_.tensors().at("x").data());
  auto* y = reinterpret_cast<int64_t*>(executable_.tensors().at("y").data());
  for (int64_t i = 0; i < config_.batch; ++i) {
    const uint64_t start = Mix((seed_ << 40) + done_ * config_.batch + i + 1) % (text_.size() - config_.context);
    for (int64_t j = 0; j < config_.context; ++j) {
      *x++ = static_cast<uint8_t>(text_[start + j]);
      *y++ = static_cast<uint8_t>(text_[start + j + 1]);
    }
  }
}

float Trainer::Step() {
  PrepareBatch();
  const float loss = executable_.Run(done_ + 1, peak_lr_ * std::min(1.0, static_cast<double>(done_ + 1) / kWarmupSteps));
  ++done_;
  return loss;
}

void Trainer::Save(const std::string& path) const {
  SaveCheckpoint(path, executable_.tensors(), executable_.state(), SettingsOf(seed_), done_);
}

void Trainer::Resume(const std::string& path) {
  done_ = LoadCheckpoint(path, executable_.tensors(), executable_.state(), SettingsOf(seed_));
}
