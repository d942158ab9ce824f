#include <limits>

#include "tests/ops/finite_difference.h"

namespace athanor {
namespace {

HostTensor F64(std::vector<double> values) {
  const auto n = static_cast<int64_t>(values.size());
  return Tensor(DType::kF64, {n}, values);
}

// The gradient of the first input of `op` with an incoming gradient of ones.
std::vector<double> Slope(const std::string& op, std::vector<HostTensor> inputs, size_t which = 0, Attrs attrs = {}) {
  Graph graph(op);
  std::vector<ValueId> values;
  for (size_t i = 0; i < inputs.size(); ++i) {
    values.push_back(graph.AddInput("i" + std::to_string(i), inputs[i].desc(), IsFloat(inputs[i].desc().dtype)));
  }
  graph.AddOutput("y", graph.Add(op, values, attrs)[0]);
  const TensorDesc y = graph.desc(graph.outputs()[0].value);
  inputs.push_back(Tensor(y.dtype, y.shape, std::vector<double>(static_cast<size_t>(y.elements()), 1)));
  return Interpret(Gradient(graph), inputs)[1 + which].ToDoubles();
}

TEST(Pointwise, Values) {
  EXPECT_EQ(RunOp("add", std::vector{F64({1, 2}), F64({10, 20})}, {{"alpha", 0.5}})[0].ToDoubles(), (std::vector<double>{6, 12}));
  EXPECT_EQ(RunOp("sub", std::vector{F64({1, 2}), F64({10, 20})})[0].ToDoubles(), (std::vector<double>{-9, -18}));
  EXPECT_EQ(RunOp("pow", std::vector{F64({2, 3}), F64({3, 2})})[0].ToDoubles(), (std::vector<double>{8, 9}));
  EXPECT_EQ(RunOp("cast", std::vector{F64({2.7, -2.7})}, {{"dtype", "i32"}})[0].ToDoubles(), (std::vector<double>{2, -2}));
  EXPECT_EQ(RunOp("cast", std::vector{F64({0, -2.7})}, {{"dtype", "bool"}})[0].ToDoubles(), (std::vector<double>{0, 1}));
  EXPECT_EQ(RunOp("maximum", std::vector{F64({1, 5}), F64({3, 2})})[0].ToDoubles(), (std::vector<double>{3, 5}));
  EXPECT_EQ(RunOp("eq", std::vector{F64({1, 5}), F64({1, 2})})[0].ToDoubles(), (std::vector<double>{1, 0}));
  EXPECT_EQ(RunOp("where", std::vector{Tensor(DType::kBool, {2}, {1, 0}), F64({1, 5}), F64({3, 2})})[0].ToDoubles(),
            (std::vector<double>{1, 2}));
}

// Where a derivative jumps, PyTorch's choice.
TEST(Pointwise, SlopesAtKinks) {
  EXPECT_EQ(Slope("abs", {F64({-2, 0, 3})}), (std::vector<double>{-1, 0, 1}));
  EXPECT_EQ(Slope("maximum", {F64({1, 2, 3}), F64({2, 2, 2})}), (std::vector<double>{0, 0.5, 1}));
  EXPECT_EQ(Slope("minimum", {F64({1, 2, 3}), F64({2, 2, 2})}), (std::vector<double>{1, 0.5, 0}));
  EXPECT_EQ(Slope("pow", {F64({0, 0, 2}), F64({0, 2, 3})}), (std::vector<double>{0, 0, 12}));
  EXPECT_EQ(Slope("pow", {F64({0, 0}), F64({0, 2})}, 1), (std::vector<double>{0, 0}));
}

TEST(Pointwise, GradientsKeepTheDTypeOfEachInput) {
  Graph graph;
  const ValueId a = graph.AddInput("a", {DType::kF32, {3}}, true), b = graph.AddInput("b", {DType::kF64, {2, 3}}, true);
  graph.AddOutput("y", graph.Add1("mul", {a, b}));
  const Graph joint = Gradient(graph);
  EXPECT_EQ(ToString(joint.desc(joint.outputs()[1].value)), "f32[3]");
  EXPECT_EQ(ToString(joint.desc(joint.outputs()[2].value)), "f64[2, 3]");
  const std::vector<HostTensor> inputs = RandomInputs(joint);
  ExpectDecomposes(joint, inputs, 1e-6);
}

TEST(Pointwise, Errors) {
  Graph graph;
  const ValueId x = graph.AddInput("x", {DType::kF32, {2}}), b = graph.AddInput("b", {DType::kBool, {2}});
  const ValueId i = graph.AddInput("i", {DType::kI64, {2}}), y = graph.AddInput("y", {DType::kF32, {3}});
  EXPECT_EQ(ErrorOf([&] { graph.Add1("add", {b, b}); }), "add: operands have dtype bool, expected numbers");
  EXPECT_EQ(ErrorOf([&] { graph.Add1("where", {x, x, x}); }), "where: the condition has dtype f32, expected bool");
  EXPECT_EQ(ErrorOf([&] { graph.Add1("_not", {x}); }), "_not: operands have dtype f32, expected bool");
  EXPECT_EQ(ErrorOf([&] { graph.Add1("add", {i, i}, {{"alpha", 0.5}}); }),
            "add: alpha is 0.5, expected an integer for operands of dtype i64");
  EXPECT_EQ(ErrorOf([&] { graph.Add1("cast", {x}, {{"dtype", "float"}}); }),
            "cast: dtype is \"float\", expected f32, bf16, f16, f64, i32, i64, u8 or bool");
  EXPECT_THAT(ErrorOf([&] { graph.Add1("mul", {x, y}); }), testing::HasSubstr("mul: shapes [2] and [3] do not broadcast"));
}

}  // namespace
}  // namespace athanor
