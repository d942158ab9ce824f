// Every op of the table (op_cases.json): decomposition and generated kernels equal the reference for every dtype and layout of the inputs,
// gradients equal finite differences in f64. That the reference equals PyTorch, tests/pytorch checks with the same table.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

#include "ops/decompose.h"
#include "ops/error.h"
#include "ops/gradient.h"
#include "ops/op.h"
#include "tests/coverage/op_table.h"
#include "tests/runtime/comparison.h"

namespace athanor {

void PrintTo(const OpRow& row, std::ostream* stream) { *stream << row.text; }

namespace {

constexpr DType kFloats[] = {DType::kF32, DType::kBF16, DType::kF16, DType::kF64};

// Every layout in f32; the other dtypes, which differ in what an element is, in one that is not plain.
std::vector<InputLayout> LayoutsFor(DType dtype) {
  switch (dtype) {
    case DType::kF32: return {InputLayout::kContiguous, InputLayout::kTransposed, InputLayout::kSliced};
    case DType::kF64: return {InputLayout::kTransposed};
    case DType::kBF16: return {InputLayout::kContiguous, InputLayout::kSliced};
    default: return {InputLayout::kTransposed};
  }
}

class Coverage : public testing::TestWithParam<OpRow> {};

// With gradients, where there are any.
Graph Joint(const Graph& graph) {
  for (const ValueId input : graph.inputs()) {
    if (graph.value(input).wants_grad) return Gradient(graph);
  }
  return graph;
}

std::vector<HostTensor> JointInputs(const OpRow& row, const Graph& graph, const Graph& joint) {
  std::vector<HostTensor> inputs = row.Inputs(graph, 11);
  std::mt19937 random(12);
  std::normal_distribution<double> normal;
  for (size_t i = inputs.size(); i < joint.inputs().size(); ++i) {
    inputs.emplace_back(joint.desc(joint.inputs()[i]).dtype, joint.desc(joint.inputs()[i]).shape);
    for (int64_t e = 0; e < inputs.back().elements(); ++e) inputs.back().Set(e, normal(random));
  }
  return inputs;
}

double ToleranceOf(DType dtype) {
  switch (dtype) {
    case DType::kF64: return 1e-11;
    case DType::kF32: return 3e-5;
    case DType::kF16: return 6e-3;
    default: return 4e-2;
  }
}

void ExpectEqual(const std::vector<HostTensor>& expected, const std::vector<HostTensor>& actual, const Graph& graph, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_LE(RelativeError(expected[i], actual[i], 0.1), tolerance) << graph.outputs()[i].name;
  }
}

TEST_P(Coverage, GeneratedEqualsReference) {
  for (const DType dtype : kFloats) {
    for (const InputLayout layout : LayoutsFor(dtype)) {
      SCOPED_TRACE(std::string(Name(dtype)) + ", layout " + std::to_string(static_cast<int>(layout)));
      const Graph graph = GetParam().Build(dtype, layout), joint = Joint(graph);
      const std::vector<HostTensor> inputs = JointInputs(GetParam(), graph, joint);
      const std::unique_ptr<Executable> executable = Executable::Compile(joint, Options());
      ExpectEqual(Interpret(joint, inputs), RunExecutable(*executable, joint, inputs), joint, ToleranceOf(dtype));
    }
  }
}

TEST_P(Coverage, DecompositionEqualsReference) {
  for (const DType dtype : kFloats) {
    SCOPED_TRACE(Name(dtype));
    const Graph graph = GetParam().Build(dtype), joint = Joint(graph), core = Decompose(joint);
    for (const Node& node : core.nodes()) EXPECT_NE(node.op->kind, OpKind::kComposite) << node.op->name;
    const std::vector<HostTensor> inputs = JointInputs(GetParam(), graph, joint);
    ExpectEqual(Interpret(joint, inputs), Interpret(core, inputs), joint, ToleranceOf(dtype));
  }
}

// Along random directions: the change of sum(output * weight) with all of one input.
TEST_P(Coverage, GradientsEqualFiniteDifferences) {
  const Graph graph = GetParam().Build(DType::kF64), joint = Joint(graph);
  if (joint.outputs().size() == graph.outputs().size() || GetParam().rounded) return;    // nothing to differentiate, or kinks at equal inputs
  if (graph.desc(graph.outputs()[0].value).dtype != DType::kF64) return;                 // rounded
  const bool first_only = GetParam().op == "batch_norm";                                 // running statistics are constants
  const std::vector<HostTensor> inputs = JointInputs(GetParam(), graph, joint), results = Interpret(joint, inputs);
  const auto loss = [&](const std::vector<HostTensor>& at) {
    double sum = 0;
    size_t weight = graph.inputs().size();
    for (const HostTensor& y : Interpret(graph, at)) {
      if (!IsFloat(y.desc().dtype)) continue;
      for (int64_t e = 0; e < y.elements() && !(first_only && weight > graph.inputs().size()); ++e) sum += y.Get(e) * inputs[weight].Get(e);
      ++weight;
    }
    return sum;
  };
  std::mt19937 random(13);
  std::normal_distribution<double> normal;
  size_t result = graph.outputs().size();
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    if (!graph.value(graph.inputs()[i]).wants_grad) continue;
    const HostTensor& gradient = results.at(result++);
    for (int direction = 0; direction < 3; ++direction) {
      std::vector<HostTensor> above(inputs.begin(), inputs.begin() + static_cast<int64_t>(graph.inputs().size())), below = above;
      double expected = 0, scale = 1;
      for (int64_t e = 0; e < gradient.elements(); ++e) {
        constexpr double kStep = 1e-6;
        const double along = normal(random), x = inputs[i].Get(e);
        above[i].Set(e, x + kStep * along), below[i].Set(e, x - kStep * along);
        expected += gradient.Get(e) * along * 2 * kStep;
        scale += std::abs(gradient.Get(e) * along);
      }
      EXPECT_NEAR((loss(above) - loss(below)) / 2e-6, expected / 2e-6, 1e-6 * scale) << graph.value(graph.inputs()[i]).name;
    }
  }
}

TEST(OpTable, HasEveryOp) {
  std::set<std::string_view> covered;
  for (const OpRow& row : OpTable()) covered.insert(row.op);
  for (const OpDef* op : AllOps()) {
    const bool framework = op->name.starts_with("flash_attention");                     // the same core ops: tests/ops/backward_test
    EXPECT_TRUE(op->internal || framework || covered.contains(op->name)) << op->name;
  }
}

INSTANTIATE_TEST_SUITE_P(Ops, Coverage, testing::ValuesIn(OpTable()), [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace athanor
