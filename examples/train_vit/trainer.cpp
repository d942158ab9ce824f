#include "examples/train_vit/trainer.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <numbers>
#include <numeric>
#include <random>

#include "ops/error.h"
#include "runtime/safetensors.h"

using athanor::HostTensor;

namespace {

float* Floats(HostTensor& tensor) { return reinterpret_cast<float*>(tensor.data()); }

bool EndsWith(const std::string& text, const std::string& end) { return text.ends_with(end); }

// Uniform in [-bound, bound), from the upper bits of the generator: the same on every platform.
float Uniform(std::mt19937_64& random, double bound) {
  return static_cast<float>((static_cast<double>(random() >> 11) * 0x1p-53 * 2 - 1) * bound);
}

}  // namespace

Trainer::Trainer(const Dataset& data, const VitConfig& config, const TrainingPlan& plan, const athanor::Options& options)
    : data_(data), config_(config), plan_(plan), loss_(athanor::DType::kF32, {}) {
  const athanor::Graph model = VisionTransformer(config, true);
  const TrainingStep step = MakeTrainingStep(model, plan.weight_decay);
  executable_ = athanor::Executable::Compile(step.graph, options, step.in_place);
  for (athanor::ValueId input : step.graph.inputs()) {
    const athanor::Value& value = step.graph.value(input);
    tensors_.emplace(value.name, HostTensor(value.desc.dtype, value.desc.shape));
  }
  InitializeParameters(model);
  tensors_.at("grad.loss").Set(0, 1);
  for (athanor::ValueId input : step.graph.inputs()) inputs_.push_back(tensors_.at(step.graph.value(input).name).data());
  for (const athanor::NamedValue& output : step.graph.outputs()) {
    outputs_.push_back(output.name == "loss" ? static_cast<void*>(loss_.data()) : tensors_.at(output.name.substr(4)).data());
  }
}

// As torch.nn.Linear and torch.nn.Conv2d do: uniform within 1 / sqrt(fan-in). Positions are small, normalisations start as identity.
void Trainer::InitializeParameters(const athanor::Graph& model) {
  std::mt19937_64 random(plan_.seed);
  double bound = 0;
  for (athanor::ValueId input : model.inputs()) {
    const athanor::Value& value = model.value(input);
    if (!value.wants_grad) continue;
    parameters_.push_back(value.name);
    HostTensor& tensor = tensors_.at(value.name);
    const bool norm = value.name.find("norm") != std::string::npos;
    if (value.desc.rank() > 1) bound = 1 / std::sqrt(static_cast<double>(value.desc.elements()) / static_cast<double>(value.desc.shape[0]));
    for (int64_t i = 0; i < tensor.elements(); ++i) {
      Floats(tensor)[i] = norm ? (EndsWith(value.name, ".weight") ? 1.0f : 0.0f) : Uniform(random, value.name == "pos" ? 0.035 : bound);
    }
  }
}

double Trainer::LearningRate(int64_t step) const {
  if (step < plan_.warmup_steps) return plan_.peak_lr * static_cast<double>(step + 1) / static_cast<double>(plan_.warmup_steps);
  const double progress = static_cast<double>(step - plan_.warmup_steps) / static_cast<double>(std::max<int64_t>(1, total_steps() - plan_.warmup_steps));
  return plan_.peak_lr * 0.5 * (1 + std::cos(std::numbers::pi * std::min(progress, 1.0)));
}

void Trainer::PrepareBatch() {
  const int64_t epoch = done_ / steps_per_epoch(), batch = done_ % steps_per_epoch();
  if (epoch != order_epoch_) {
    order_.resize(data_.count());
    std::iota(order_.begin(), order_.end(), 0);
    std::mt19937_64 random(plan_.seed * 1000003 + epoch + 1);
    for (int64_t i = data_.count() - 1; i > 0; --i) std::swap(order_[i], order_[random() % (i + 1)]);
    order_epoch_ = epoch;
  }
  float* images = Floats(tensors_.at("x"));
  auto* labels = reinterpret_cast<int64_t*>(tensors_.at("y").data());
  for (int64_t i = 0; i < config_.batch; ++i) {
    const int64_t chosen = order_[batch * config_.batch + i];
    std::memcpy(images + i * kPixels, data_.images.data() + chosen * kPixels, kPixels * sizeof(float));
    labels[i] = data_.labels[chosen];
  }
  tensors_.at("step").Set(0, static_cast<double>(done_ + 1));
  tensors_.at("lr").Set(0, LearningRate(done_));
}

void Trainer::Run(bool profile) {
  PrepareBatch();
  profile ? executable_->RunProfiled(inputs_, outputs_) : executable_->Run(inputs_, outputs_);
  ++done_;
}

float Trainer::Step() {
  Run(false);
  return static_cast<float>(loss_.Get(0));
}

void Trainer::ProfileStep() { Run(true); }

void Trainer::Save(const std::string& path) const {
  athanor::SafeTensors state;
  for (const std::string& name : parameters_) {
    for (const char* prefix : {"", "m.", "v."}) state.tensors.emplace(prefix + name, tensors_.at(prefix + name));
  }
  state.metadata = {{"step", std::to_string(done_)}, {"seed", std::to_string(plan_.seed)}, {"epochs", std::to_string(plan_.epochs)}};
  athanor::WriteSafeTensors(path, state);
}

void Trainer::Resume(const std::string& path) {
  const athanor::SafeTensors state = athanor::ReadSafeTensors(path);
  const auto entry = [&](const char* name) {
    auto found = state.metadata.find(name);
    if (found == state.metadata.end()) athanor::Fail("{}: no '{}' in the metadata: not a checkpoint of this program", path, name);
    const std::string& text = found->second;
    int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || number < 0) {
      athanor::Fail("{}: '{}' is '{}' in the metadata, expected a number that is not negative", path, name, text);
    }
    return number;
  };
  if (entry("seed") != static_cast<int64_t>(plan_.seed) || entry("epochs") != plan_.epochs) {
    athanor::Fail("{}: was written with --seed {} --epochs {}", path, entry("seed"), entry("epochs"));
  }
  for (const std::string& name : parameters_) {
    for (const std::string& key : {name, "m." + name, "v." + name}) {
      auto found = state.tensors.find(key);
      if (found == state.tensors.end() || !(found->second.desc() == tensors_.at(key).desc())) athanor::Fail("{}: tensor '{}' is missing or of another shape", path, key);
      std::memcpy(tensors_.at(key).data(), found->second.data(), found->second.bytes());
    }
  }
  done_ = entry("step");
}

double Trainer::Accuracy(const Dataset& test, const athanor::Options& options) const {
  VitConfig config = config_;
  config.batch = 500;
  const athanor::Graph model = VisionTransformer(config, false);
  const auto executable = athanor::Executable::Compile(model, options);
  HostTensor images(athanor::DType::kF32, {config.batch, 1, 28, 28}), logits(athanor::DType::kF32, {config.batch, config.classes});
  std::vector<const void*> inputs;
  for (athanor::ValueId input : model.inputs()) {
    const std::string& name = model.value(input).name;
    inputs.push_back(name == "x" ? images.data() : tensors_.at(name).data());
  }
  int64_t right = 0;
  for (int64_t begin = 0; begin + config.batch <= test.count(); begin += config.batch) {
    std::memcpy(images.data(), test.images.data() + begin * kPixels, images.bytes());
    void* outputs[] = {logits.data()};
    executable->Run(inputs, outputs);
    for (int64_t i = 0; i < config.batch; ++i) {
      const float* row = Floats(logits) + i * config.classes;
      right += std::max_element(row, row + config.classes) - row == test.labels[begin + i];
    }
  }
  return static_cast<double>(right) / static_cast<double>(test.count() / config.batch * config.batch);
}
