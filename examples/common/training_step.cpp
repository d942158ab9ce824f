#include "examples/common/training_step.h"

#include "ops/error.h"
#include "ops/gradient.h"

using athanor::DType;
using athanor::Graph;
using athanor::ValueId;

namespace {

constexpr const char* kNew = "new.";

// The joint graph of `model` and the gradients of its loss alone: the other outputs are no functions to be minimised.
Graph GradientOfLoss(Graph model) {
  const std::vector<athanor::NamedValue> outputs = model.outputs();
  model.ClearOutputs();
  for (const athanor::NamedValue& output : outputs) {
    if (output.name == "loss") model.AddOutput(output.name, output.value);
  }
  return athanor::Gradient(model);
}

void Update(TrainingStep& step, const std::string& input, ValueId value) {
  step.graph.AddOutput(kNew + input, value);
  step.in_place.push_back({kNew + input, input});
}

}  // namespace

TrainingStep MakeTrainingStep(const Graph& model, const Optimizer& optimizer) {
  TrainingStep step{GradientOfLoss(model), {}};
  Graph& graph = step.graph;
  const std::vector<athanor::NamedValue> gradients = graph.outputs();
  graph.ClearOutputs();
  graph.AddOutput("loss", gradients.front().value);
  for (const athanor::NamedValue& output : model.outputs()) {
    if (output.name == "loss") continue;
    if (!output.name.starts_with(kNew)) {
      athanor::Fail("{}: output '{}', expected 'loss' or 'new.INPUT'", model.name(), output.name);
    }
    Update(step, output.name.substr(4), output.value);
  }
  const bool adam = optimizer.kind == Optimizer::Kind::kAdamW;
  std::vector<ValueId> tensors;
  if (adam) tensors.push_back(graph.AddInput("step", {DType::kF32, {}}));
  tensors.push_back(graph.AddInput("lr", {DType::kF32, {}}));
  std::vector<std::string> updated;
  for (const athanor::NamedValue& output : gradients) {
    if (!output.name.starts_with("grad.")) continue;
    const std::string name = output.name.substr(5);
    const ValueId parameter = *graph.Find(name);
    const athanor::TensorDesc desc = graph.desc(parameter);
    tensors.insert(tensors.end(), {parameter, output.value, graph.AddInput("m." + name, desc)});
    updated.insert(updated.end(), {name, "m." + name});
    if (!adam) continue;
    tensors.push_back(graph.AddInput("v." + name, desc));
    updated.push_back("v." + name);
  }
  const athanor::Attrs attrs =
      adam ? athanor::Attrs{{"beta1", 0.9}, {"beta2", 0.999}, {"eps", 1e-8}, {"weight_decay", optimizer.weight_decay}}
           : athanor::Attrs{{"momentum", optimizer.momentum}, {"weight_decay", optimizer.weight_decay}};
  const std::vector<ValueId> values = graph.Add(adam ? "adamw" : "sgd", tensors, attrs);
  for (size_t i = 0; i < updated.size(); ++i) Update(step, updated[i], values[i]);
  return step;
}
