#include "examples/common/training_step.h"

#include "ops/gradient.h"

using athanor::DType;
using athanor::Graph;
using athanor::ValueId;

TrainingStep MakeTrainingStep(const Graph& model, double weight_decay) {
  TrainingStep step{athanor::Gradient(model), {}};
  Graph& graph = step.graph;
  const std::vector<athanor::NamedValue> outputs = graph.outputs();
  graph.ClearOutputs();
  std::vector<ValueId> tensors = {graph.AddInput("step", {DType::kF32, {}}), graph.AddInput("lr", {DType::kF32, {}})};
  std::vector<std::string> names;
  for (const athanor::NamedValue& output : outputs) {
    if (!output.name.starts_with("grad.")) {
      graph.AddOutput(output.name, output.value);
      continue;
    }
    const std::string name = output.name.substr(5);
    const ValueId parameter = *graph.Find(name);
    const athanor::TensorDesc desc = graph.desc(parameter);
    tensors.insert(tensors.end(), {parameter, output.value, graph.AddInput("m." + name, desc), graph.AddInput("v." + name, desc)});
    names.push_back(name);
  }
  const std::vector<ValueId> updated = graph.Add("adamw", tensors, {{"beta1", 0.9}, {"beta2", 0.999}, {"eps", 1e-8}, {"weight_decay", weight_decay}});
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string targets[] = {names[i], "m." + names[i], "v." + names[i]};
    for (int k = 0; k < 3; ++k) {
      graph.AddOutput("new." + targets[k], updated[3 * i + k]);
      step.in_place.push_back({"new." + targets[k], targets[k]});
    }
  }
  return step;
}
