#include "tests/ops/op_checker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "ops/decompose.h"
#include "ops/error.h"
#include "ops/gradient.h"
#include "ops/op.h"
#include "ops/reference.h"

namespace athanor {
namespace {

std::vector<HostTensor> Given(const OpExample& test) {
  std::vector<HostTensor> given;
  for (const auto& input : test.inputs) {
    if (input) given.push_back(*input);
  }
  return given;
}

// Random gradients of the floating-point outputs of a graph.
std::vector<HostTensor> RandomGradients(const Graph& graph) {
  std::vector<HostTensor> grads;
  for (const NamedValue& output : graph.outputs()) {
    const TensorDesc& desc = graph.desc(output.value);
    if (IsFloat(desc.dtype)) grads.push_back(RandomTensor(desc.dtype, desc.shape, 1000 + grads.size()));
  }
  return grads;
}

// The sum over all floating-point outputs of output times gradient.
double Loss(const Graph& graph, std::span<const HostTensor> inputs, std::span<const HostTensor> grads) {
  double loss = 0;
  size_t next = 0;
  for (const HostTensor& output : Interpret(graph, inputs)) {
    if (!IsFloat(output.desc().dtype)) continue;
    for (int64_t i = 0; i < output.elements(); ++i) loss += output.Get(i) * grads[next].Get(i);
    ++next;
  }
  return loss;
}

HostTensor CentralDifferences(const Graph& graph, std::vector<HostTensor> inputs, std::span<const HostTensor> grads, size_t input) {
  constexpr double kStep = 1e-5;
  HostTensor result(DType::kF64, inputs[input].desc().shape);
  for (int64_t i = 0; i < result.elements(); ++i) {
    const double x = inputs[input].Get(i);
    inputs[input].Set(i, x + kStep);
    const double above = Loss(graph, inputs, grads);
    inputs[input].Set(i, x - kStep);
    const double below = Loss(graph, inputs, grads);
    inputs[input].Set(i, x);
    result.Set(i, (above - below) / (2 * kStep));
  }
  return result;
}

}  // namespace

HostTensor RandomTensor(DType dtype, Shape shape, uint64_t seed, int64_t below) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<double> normal;
  std::uniform_int_distribution<int64_t> uniform(0, below - 1);
  HostTensor tensor(dtype, std::move(shape));
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    tensor.Set(i, IsFloat(dtype) ? normal(engine) : static_cast<double>(uniform(engine)));
  }
  return tensor;
}

HostTensor TensorOf(DType dtype, Shape shape, const std::vector<double>& values) {
  HostTensor tensor(dtype, std::move(shape));
  ATHANOR_CHECK(tensor.elements() == static_cast<int64_t>(values.size()));
  for (int64_t i = 0; i < tensor.elements(); ++i) tensor.Set(i, values[i]);
  return tensor;
}

std::vector<double> Values(const HostTensor& tensor) {
  std::vector<double> values;
  for (int64_t i = 0; i < tensor.elements(); ++i) values.push_back(tensor.Get(i));
  return values;
}

Graph GraphOf(const OpExample& test, const std::vector<int>& wanted) {
  Graph graph(test.op);
  std::vector<ValueId> inputs;
  for (size_t i = 0; i < test.inputs.size(); ++i) {
    inputs.push_back(kNone);
    if (!test.inputs[i]) continue;
    const TensorDesc& desc = test.inputs[i]->desc();
    const bool asked = wanted.empty() || std::count(wanted.begin(), wanted.end(), static_cast<int>(i)) != 0;
    inputs[i] = graph.AddInput(fmt::format("x{}", i), desc, asked && IsFloat(desc.dtype));
  }
  const std::vector<ValueId> outputs = graph.Add(test.op, inputs, test.attrs);
  for (size_t i = 0; i < outputs.size(); ++i) graph.AddOutput(fmt::format("y{}", i), outputs[i]);
  return graph;
}

std::vector<HostTensor> ResultsOf(const OpExample& test) { return Interpret(GraphOf(test), Given(test)); }

std::string ErrorOf(const OpExample& test) {
  try {
    GraphOf(test);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

void ExpectWithin(const HostTensor& got, const HostTensor& expected, double tolerance, const std::string& what) {
  ASSERT_EQ(got.desc().dtype, expected.desc().dtype) << what;
  ASSERT_EQ(got.desc().shape, expected.desc().shape) << what;
  double scale = 1;
  for (const double x : Values(expected)) scale = std::isfinite(x) ? std::max(scale, std::fabs(x)) : scale;
  for (int64_t i = 0; i < got.elements(); ++i) {
    const double a = got.Get(i), b = expected.Get(i);
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    ASSERT_LE(std::fabs(a - b), tolerance * scale) << what << " at " << i << ": " << a << ", expected " << b;
  }
}

void ExpectValues(const HostTensor& got, const std::vector<double>& expected, double tolerance) {
  ASSERT_EQ(got.elements(), static_cast<int64_t>(expected.size()));
  ExpectWithin(got, TensorOf(got.desc().dtype, got.desc().shape, expected), tolerance, "values");
}

void ExpectDecomposes(const OpExample& test, double tolerance) {
  const Graph graph = GraphOf(test), core = Decompose(graph);
  for (const Node& node : core.nodes()) EXPECT_NE(node.op->kind, OpKind::kComposite) << node.op->name;
  const std::vector<HostTensor> expected = Interpret(graph, Given(test)), got = Interpret(core, Given(test));
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) ExpectWithin(got[i], expected[i], tolerance, fmt::format("decomposed {}: output {}", test.op, i));
}

void ExpectGradients(const OpExample& test, const std::vector<int>& wanted, double tolerance) {
  const Graph forward = GraphOf(test, wanted), joint = Gradient(forward), core = Decompose(joint);
  const std::vector<HostTensor> inputs = Given(test), grads = RandomGradients(forward);
  std::vector<HostTensor> all = inputs;
  all.insert(all.end(), grads.begin(), grads.end());
  const std::vector<HostTensor> plain = Interpret(joint, all), decomposed = Interpret(core, all);
  size_t next = forward.outputs().size();
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!forward.value(forward.inputs()[i]).wants_grad) continue;
    ASSERT_EQ(inputs[i].desc().dtype, DType::kF64);
    const std::string what = fmt::format("{}: gradient of {}", test.op, forward.value(forward.inputs()[i]).name);
    const HostTensor differences = CentralDifferences(forward, inputs, grads, i);
    ASSERT_LT(next, plain.size());
    ExpectWithin(plain[next], differences, tolerance, what);
    ExpectWithin(decomposed[next], plain[next], 1e-11, what + ", decomposed");
    ++next;
  }
  EXPECT_EQ(next, plain.size());
  EXPECT_GT(next, forward.outputs().size()) << test.op << ": no gradient was checked";
}

void ExpectAll(const OpExample& test) {
  ExpectDecomposes(test);
  ExpectGradients(test);
}

}  // namespace athanor
