#pragma once

#include <string>
#include <vector>

#include "ops/gradient.h"
#include "tests/ops/testing.h"

namespace athanor {

// Compares every wanted gradient of `graph` (in f64) with central differences of sum(output * weight) over random weights, both as the
// joint graph is and after its decomposition.
inline void ExpectGradients(const Graph& graph, const std::vector<HostTensor>& inputs, double tolerance = 1e-6) {
  const Graph joint = Gradient(graph);
  std::vector<HostTensor> joint_inputs = inputs;
  std::mt19937 random(7);
  for (size_t i = inputs.size(); i < joint.inputs().size(); ++i) {
    joint_inputs.push_back(RandomTensor(joint.desc(joint.inputs()[i]), random));
  }
  const auto loss = [&](const std::vector<HostTensor>& at) {
    double sum = 0;
    size_t weight = inputs.size();
    for (const HostTensor& y : Interpret(graph, at)) {
      if (!IsFloat(y.desc().dtype)) continue;
      const HostTensor& w = joint_inputs[weight++];
      for (int64_t i = 0; i < y.elements(); ++i) sum += y.Get(i) * w.Get(i);
    }
    return sum;
  };
  const std::vector<HostTensor> results = Interpret(joint, joint_inputs);
  size_t result = graph.outputs().size();
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value& input = graph.value(graph.inputs()[i]);
    if (!input.wants_grad) continue;
    ASSERT_EQ(joint.outputs()[result].name, "grad." + input.name);
    HostTensor expected(input.desc.dtype, input.desc.shape);
    std::vector<HostTensor> at = inputs;
    constexpr double kStep = 1e-5;
    for (int64_t e = 0; e < expected.elements(); ++e) {
      const double x = inputs[i].Get(e);
      at[i].Set(e, x + kStep);
      const double above = loss(at);
      at[i].Set(e, x - kStep);
      expected.Set(e, (above - loss(at)) / (2 * kStep));
      at[i].Set(e, x);
    }
    ExpectClose(results[result++], expected, tolerance, graph.name() + " gradient of " + input.name);
  }
  ExpectDecomposes(joint, joint_inputs, 1e-10);
}

}  // namespace athanor
