#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

#include "ops/decompose.h"
#include "ops/error.h"
#include "ops/graph.h"
#include "ops/host_tensor.h"
#include "ops/op.h"
#include "ops/reference.h"

namespace athanor {

inline HostTensor Tensor(DType dtype, Shape shape, const std::vector<double>& values) {
  HostTensor tensor(dtype, std::move(shape));
  tensor.Assign(values);
  return tensor;
}

inline HostTensor RandomTensor(const TensorDesc& desc, std::mt19937& random, double low = -2, double high = 2) {
  std::vector<double> values(static_cast<size_t>(desc.elements()));
  std::uniform_real_distribution<double> uniform(low, high);
  for (double& x : values) x = IsFloat(desc.dtype) ? uniform(random) : std::floor(uniform(random));
  return Tensor(desc.dtype, desc.shape, values);
}

inline std::vector<HostTensor> RandomInputs(const Graph& graph, unsigned seed = 1, double low = -2, double high = 2) {
  std::mt19937 random(seed);
  std::vector<HostTensor> inputs;
  for (ValueId v : graph.inputs()) inputs.push_back(RandomTensor(graph.desc(v), random, low, high));
  return inputs;
}

// Equal within `tolerance` of the expected tensor's largest element; infinities and NaNs equal.
inline void ExpectClose(const HostTensor& got, const HostTensor& expected, double tolerance, const std::string& what) {
  ASSERT_EQ(ToString(got.desc()), ToString(expected.desc())) << what;
  const std::vector<double> a = got.ToDoubles(), b = expected.ToDoubles();
  double scale = 1e-30;
  for (const double x : b) scale = std::isfinite(x) ? std::max(scale, std::fabs(x)) : scale;
  for (size_t i = 0; i < a.size(); ++i) {
    const bool same = a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i])) || std::fabs(a[i] - b[i]) <= tolerance * scale;
    ASSERT_TRUE(same) << what << ": element " << i << " is " << a[i] << ", expected " << b[i];
  }
}

// Decomposition must not change what a graph computes.
inline void ExpectDecomposes(const Graph& graph, std::span<const HostTensor> inputs, double tolerance) {
  const Graph core = Decompose(graph);
  for (const Node& node : core.nodes()) ASSERT_NE(node.op->kind, OpKind::kComposite) << graph.name() << ": " << node.op->name;
  const std::vector<HostTensor> expected = Interpret(graph, inputs), got = Interpret(core, inputs);
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) ExpectClose(got[i], expected[i], tolerance, graph.name() + " " + graph.outputs()[i].name);
}

// The message of the Error that `action` throws; empty when it throws none.
template <typename Action>
std::string ErrorOf(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// The result of one op on the given tensors.
inline std::vector<HostTensor> RunOp(const std::string& op, std::span<const HostTensor> inputs, Attrs attrs = {}) {
  Graph graph(op);
  std::vector<ValueId> values;
  for (size_t i = 0; i < inputs.size(); ++i) values.push_back(graph.AddInput("i" + std::to_string(i), inputs[i].desc()));
  const std::vector<ValueId> outputs = graph.Add(op, values, std::move(attrs));
  for (size_t i = 0; i < outputs.size(); ++i) graph.AddOutput("y" + std::to_string(i), outputs[i]);
  return Interpret(graph, inputs);
}

}  // namespace athanor
