#include "examples/generate/trainer.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <random>

#include "ops/error.h"
#include "runtime/safetensors.h"

using athanor::HostTensor;

namespace {

constexpr int64_t kWarmupSteps = 20;
constexpr double kWeightDecay = 0.01, kDeviation = 0.02;

// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014): a counter goes in, 64 random bits come out.
uint64_t Mix(uint64_t counter) {
  uint64_t z = counter * 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

int64_t Number(const athanor::SafeTensors& state, const std::string& path, const char* name) {
  const auto found = state.metadata.find(name);
  if (found == state.metadata.end()) athanor::Fail("{}: no '{}' in the metadata: not a checkpoint of this program", path, name);
  const std::string& text = found->second;
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) {
    athanor::Fail("{}: '{}' is '{}' in the metadata, expected a number that is not negative", path, name, text);
  }
  return number;
}

}  // namespace

std::vector<const void*> InputsOf(const athanor::Graph& graph, const NamedTensors& tensors) {
  std::vector<const void*> inputs;
  for (athanor::ValueId input : graph.inputs()) inputs.push_back(tensors.at(graph.value(input).name).data());
  return inputs;
}

Trainer::Trainer(std::string text, const GptConfig& config, uint64_t seed, double peak_lr, const athanor::Options& options)
    : text_(std::move(text)), config_(config), seed_(seed), peak_lr_(peak_lr), loss_(athanor::DType::kF32, {}) {
  const athanor::Graph model = Gpt(config, config.context, true);
  const TrainingStep step = MakeTrainingStep(model, kWeightDecay);
  executable_ = athanor::Executable::Compile(step.graph, options, step.in_place);
  for (athanor::ValueId input : step.graph.inputs()) {
    const athanor::Value& value = step.graph.value(input);
    tensors_.emplace(value.name, HostTensor(value.desc.dtype, value.desc.shape));
  }
  InitializeParameters(model);
  tensors_.at("grad.loss").Set(0, 1);
  inputs_ = InputsOf(step.graph, tensors_);
  for (const athanor::NamedValue& output : step.graph.outputs()) {
    outputs_.push_back(output.name == "loss" ? loss_.data() : tensors_.at(output.name.substr(4)).data());
  }
}

// Weights and tables uniform with GPT-2's deviation, biases zero, normalisations the identity.
void Trainer::InitializeParameters(const athanor::Graph& model) {
  std::mt19937_64 random(seed_);
  for (athanor::ValueId input : model.inputs()) {
    const athanor::Value& value = model.value(input);
    if (!value.wants_grad) continue;
    state_.insert(state_.end(), {value.name, "m." + value.name, "v." + value.name});
    HostTensor& tensor = tensors_.at(value.name);
    const bool one = value.name.find("norm") != std::string::npos && value.name.ends_with(".weight");
    for (int64_t i = 0; i < tensor.elements(); ++i) {
      const double uniform = static_cast<double>(random() >> 11) * 0x1p-53 * 2 - 1;
      tensor.Set(i, value.desc.rank() > 1 ? uniform * kDeviation * std::sqrt(3.0) : one);
    }
  }
}

void Trainer::PrepareBatch() {
  auto* x = reinterpret_cast<int64_t*>(tensors_.at("x").data());
  auto* y = reinterpret_cast<int64_t*>(tensors_.at("y").data());
  for (int64_t i = 0; i < config_.batch; ++i) {
    const uint64_t start = Mix((seed_ << 40) + done_ * config_.batch + i + 1) % (text_.size() - config_.context);
    for (int64_t j = 0; j < config_.context; ++j) {
      *x++ = static_cast<uint8_t>(text_[start + j]);
      *y++ = static_cast<uint8_t>(text_[start + j + 1]);
    }
  }
  tensors_.at("step").Set(0, static_cast<double>(done_ + 1));
  tensors_.at("lr").Set(0, peak_lr_ * std::min(1.0, static_cast<double>(done_ + 1) / kWarmupSteps));
}

float Trainer::Step() {
  PrepareBatch();
  executable_->Run(inputs_, outputs_);
  ++done_;
  return static_cast<float>(loss_.Get(0));
}

void Trainer::Save(const std::string& path) const {
  athanor::SafeTensors state;
  for (const std::string& name : state_) state.tensors.emplace(name, tensors_.at(name));
  state.metadata = {{"step", std::to_string(done_)}, {"seed", std::to_string(seed_)}};
  athanor::WriteSafeTensors(path, state);
}

void Trainer::Resume(const std::string& path) {
  const athanor::SafeTensors state = athanor::ReadSafeTensors(path);
  const int64_t step = Number(state, path, "step"), seed = Number(state, path, "seed");
  if (seed != static_cast<int64_t>(seed_)) athanor::Fail("{}: was written with --seed {}", path, seed);
  for (const std::string& name : state_) {
    const auto found = state.tensors.find(name);
    if (found == state.tensors.end() || !(found->second.desc() == tensors_.at(name).desc())) {
      athanor::Fail("{}: tensor '{}' is missing or of another shape", path, name);
    }
    std::memcpy(tensors_.at(name).data(), found->second.data(), found->second.bytes());
  }
  done_ = step;
}
