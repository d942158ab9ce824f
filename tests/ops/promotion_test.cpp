#include "ops/promotion.h"

#include "tests/ops/testing.h"

namespace athanor {
namespace {

// The dtypes torch.result_type gives.
TEST(Promotion, FollowsPyTorch) {
  Graph graph;
  int inputs = 0;
  const auto tensor = [&](DType dtype) { return graph.AddInput("t" + std::to_string(inputs++), {dtype, {3}}); };
  const auto scalar = [&](DType dtype) { return graph.AddInput("s" + std::to_string(inputs++), {dtype, {}}); };
  const auto literal = [&](double value, DType dtype) { return graph.AddConstant(value, dtype); };
  const auto promoted = [&](ValueId a, ValueId b) {
    EXPECT_EQ(PromotedDType(graph, std::vector{a, b}), PromotedDType(graph, std::vector{b, a}));
    return PromotedDType(graph, std::vector{a, b});
  };
  EXPECT_EQ(promoted(tensor(DType::kF32), tensor(DType::kF64)), DType::kF64);
  EXPECT_EQ(promoted(tensor(DType::kBF16), tensor(DType::kF16)), DType::kF32);
  EXPECT_EQ(promoted(tensor(DType::kI64), tensor(DType::kBF16)), DType::kBF16);
  EXPECT_EQ(promoted(tensor(DType::kU8), tensor(DType::kI32)), DType::kI32);
  EXPECT_EQ(promoted(tensor(DType::kBool), tensor(DType::kU8)), DType::kU8);
  EXPECT_EQ(promoted(tensor(DType::kF32), scalar(DType::kF64)), DType::kF32);
  EXPECT_EQ(promoted(tensor(DType::kI64), scalar(DType::kF64)), DType::kF64);
  EXPECT_EQ(promoted(tensor(DType::kI32), literal(2, DType::kI64)), DType::kI32);
  EXPECT_EQ(promoted(tensor(DType::kI32), literal(0.5, DType::kF64)), DType::kF32);
  EXPECT_EQ(promoted(tensor(DType::kF16), literal(0.5, DType::kF64)), DType::kF16);
  EXPECT_EQ(promoted(scalar(DType::kF64), literal(0.5, DType::kF32)), DType::kF64);
  EXPECT_EQ(promoted(literal(1, DType::kF64), literal(0.5, DType::kF64)), DType::kF64);
}

TEST(Promotion, OpsCastTheirOperands) {
  Graph graph;
  const ValueId a = graph.AddInput("a", {DType::kI64, {2}}), b = graph.AddInput("b", {DType::kF32, {2}});
  graph.AddOutput("sum", graph.Add1("add", {a, b}));
  graph.AddOutput("quotient", graph.Add1("div", {a, a}));
  graph.AddOutput("less", graph.Add1("lt", {a, b}));
  graph.AddOutput("half", graph.Add1("mul", {a, graph.AddConstant(0.5, DType::kF32)}));
  EXPECT_EQ(graph.desc(graph.outputs()[0].value).dtype, DType::kF32);
  EXPECT_EQ(graph.desc(graph.outputs()[1].value).dtype, DType::kF32);
  EXPECT_EQ(graph.desc(graph.outputs()[2].value).dtype, DType::kBool);
  const std::vector<HostTensor> inputs = {Tensor(DType::kI64, {2}, {3, 1}), Tensor(DType::kF32, {2}, {0.5, 2})};
  const std::vector<HostTensor> y = Interpret(graph, inputs);
  EXPECT_EQ(y[0].ToDoubles(), (std::vector<double>{3.5, 3}));
  EXPECT_EQ(y[1].ToDoubles(), (std::vector<double>{1, 1}));
  EXPECT_EQ(y[2].ToDoubles(), (std::vector<double>{0, 1}));
  EXPECT_EQ(y[3].ToDoubles(), (std::vector<double>{1.5, 0.5}));
  ExpectDecomposes(graph, inputs, 0);
  const Graph core = Decompose(graph);
  for (const Node& node : core.nodes()) {
    for (const ValueId v : node.inputs) {
      if (node.op->fn != Fn::kCast) {
        EXPECT_EQ(core.desc(v).dtype, core.desc(node.inputs[0]).dtype) << node.op->name;
      }
    }
  }
}

}  // namespace
}  // namespace athanor
