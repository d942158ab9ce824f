#include "examples/generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "examples/common/random.h"
#include "examples/common/report.h"

using athanor::DType;
using athanor::HostTensor;

namespace {

// Copies of the tensors that `graph` shares with `parameters`, zeros for its other inputs.
NamedTensors TensorsOf(const athanor::Graph& graph, const NamedTensors& parameters) {
  NamedTensors tensors;
  for (athanor::ValueId input : graph.inputs()) {
    const athanor::Value& value = graph.value(input);
    tensors.emplace(value.name, value.wants_grad ? parameters.at(value.name) : HostTensor(value.desc.dtype, value.desc.shape));
  }
  return tensors;
}

class WholePredictor : public Predictor {
 public:
  WholePredictor(GptConfig config, const NamedTensors& parameters, const athanor::Options& options) : config_(config) {
    config_.batch = 1;
    for (int64_t length = config.context; length >= 32 || length == config.context; length /= 2) {
      const athanor::Graph graph = Gpt(config_, length, false);
      Form form{length,
                TensorsOf(graph, parameters),
                HostTensor(DType::kF32, {1, length, config.vocabulary}),
                athanor::Executable::Compile(graph, options),
                {}};
      form.inputs = InputsOf(graph, form.tensors);
      forms_.insert(forms_.begin(), std::move(form));
    }
  }

  const float* Next(const std::vector<int64_t>& tokens) override {
    const auto length = static_cast<int64_t>(tokens.size());
    Form& form = *std::find_if(forms_.begin(), forms_.end(), [&](const Form& f) { return f.length >= length; });
    // What stands behind the text in "x" is not seen: attention is causal.
    std::memcpy(form.tensors.at("x").data(), tokens.data(), tokens.size() * sizeof(int64_t));
    void* outputs[] = {form.logits.data()};
    form.executable->Run(form.inputs, outputs);
    return reinterpret_cast<const float*>(form.logits.data()) + (length - 1) * config_.vocabulary;
  }

 private:
  struct Form {
    int64_t length;
    NamedTensors tensors;
    HostTensor logits;
    std::unique_ptr<athanor::Executable> executable;
    std::vector<const void*> inputs;
  };
  GptConfig config_;
  std::vector<Form> forms_;  // the shortest first
};

class CachedPredictor : public Predictor {
 public:
  CachedPredictor(const GptConfig& config, const NamedTensors& parameters, const athanor::Options& options)
      : logits_(DType::kF32, {1, 1, config.vocabulary}) {
    const DecodingStep step = MakeDecodingStep(config);
    executable_ = athanor::Executable::Compile(step.graph, options, step.in_place);
    tensors_ = TensorsOf(step.graph, parameters);
    inputs_ = InputsOf(step.graph, tensors_);
    for (const athanor::NamedValue& output : step.graph.outputs()) {
      outputs_.push_back(output.name == "logits" ? logits_.data() : tensors_.at(output.name.substr(4)).data());
    }
  }

  const float* Next(const std::vector<int64_t>& tokens) override {
    for (; done_ < static_cast<int64_t>(tokens.size()); ++done_) {
      tensors_.at("x").Set(0, static_cast<double>(tokens[done_]));
      tensors_.at("position").Set(0, static_cast<double>(done_));
      tensors_.at("filled").Set(0, static_cast<double>(done_ + 1));
      executable_->Run(inputs_, outputs_);
    }
    return reinterpret_cast<const float*>(logits_.data());
  }

 private:
  NamedTensors tensors_;
  HostTensor logits_;
  std::unique_ptr<athanor::Executable> executable_;
  std::vector<const void*> inputs_;
  std::vector<void*> outputs_;
  int64_t done_ = 0;  // tokens in the cache
};

// The index that `uniform` in [0, 1) falls on in the softmax of the logits.
int64_t Pick(const float* logits, int64_t count, double temperature, double uniform) {
  const float* highest = std::max_element(logits, logits + count);
  if (temperature == 0) return highest - logits;
  std::vector<double> weights(count);
  double total = 0;
  for (int64_t i = 0; i < count; ++i) total += weights[i] = std::exp((logits[i] - *highest) / temperature);
  double left = uniform * total;
  int64_t picked = 0;
  while (picked + 1 < count && left >= weights[picked]) left -= weights[picked++];
  return picked;
}

}  // namespace

std::unique_ptr<Predictor> MakeWholePredictor(const GptConfig& config, const NamedTensors& parameters,
                                              const athanor::Options& options) {
  return std::make_unique<WholePredictor>(config, parameters, options);
}

std::unique_ptr<Predictor> MakeCachedPredictor(const GptConfig& config, const NamedTensors& parameters,
                                               const athanor::Options& options) {
  return std::make_unique<CachedPredictor>(config, parameters, options);
}

Sample Draw(Predictor& predictor, const std::string& prompt, int64_t count, double temperature, uint64_t seed, int64_t vocabulary,
            bool (*stop)()) {
  Sample sample;
  for (char c : prompt) sample.tokens.push_back(static_cast<uint8_t>(c));
  std::mt19937_64 random(seed);
  const double start = Now();
  for (int64_t i = 0; i < count && !stop(); ++i) {
    const double uniform = Uniform(random);
    sample.tokens.push_back(Pick(predictor.Next(sample.tokens), vocabulary, temperature, uniform));
  }
  sample.seconds = Now() - start;
  return sample;
}
