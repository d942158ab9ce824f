#include "ops/reference.h"

#include "tests/ops/testing.h"

namespace athanor {
namespace {

TEST(Reference, RunsNodesInOrder) {
  Graph graph;
  const ValueId x = graph.AddInput("x", {DType::kF32, {2}});
  const ValueId y = graph.Add1("mul", {graph.Add1("add", {x, graph.AddConstant(1, DType::kF32)}), x});
  graph.AddOutput("y", y);
  graph.AddOutput("x", x);
  graph.AddOutput("two", graph.AddConstant(2, DType::kI64));
  const std::vector<HostTensor> out = Interpret(graph, std::vector{Tensor(DType::kF32, {2}, {2, 3})});
  ASSERT_EQ(out.size(), 3u);
  EXPECT_EQ(out[0].ToDoubles(), (std::vector<double>{6, 12}));
  EXPECT_EQ(out[1].ToDoubles(), (std::vector<double>{2, 3}));
  EXPECT_EQ(ToString(out[2].desc()), "i64[]");
  EXPECT_EQ(out[2].Get(0), 2);
}

// An input with strides arrives dense: its strides say how the caller's memory lies, not what the tensor is.
TEST(Reference, StridesOfInputsDoNotMatter) {
  Graph graph;
  const ValueId x = graph.AddInput("x", {DType::kF32, {2, 2}, {1, 2}});
  graph.AddOutput("y", graph.Add1("contiguous", {x}));
  EXPECT_TRUE(graph.desc(graph.outputs()[0].value).contiguous());
  EXPECT_EQ(Interpret(graph, std::vector{Tensor(DType::kF32, {2, 2}, {1, 2, 3, 4})})[0].ToDoubles(), (std::vector<double>{1, 2, 3, 4}));
}

TEST(Reference, Errors) {
  Graph graph;
  graph.AddOutput("y", graph.Add1("exp", {graph.AddInput("x", {DType::kF32, {2}})}));
  EXPECT_EQ(ErrorOf([&] { Interpret(graph, {}); }), "0 inputs given, 1 expected");
  EXPECT_EQ(ErrorOf([&] { Interpret(graph, std::vector{Tensor(DType::kF32, {3}, {1, 2, 3})}); }),
            "input 'x' is f32[3], expected f32[2]");
  EXPECT_EQ(ErrorOf([&] { Interpret(graph, std::vector{Tensor(DType::kF64, {2}, {1, 2})}); }),
            "input 'x' is f64[2], expected f32[2]");
}

}  // namespace
}  // namespace athanor
