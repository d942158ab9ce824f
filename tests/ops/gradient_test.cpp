#include "ops/gradient.h"

#include "tests/ops/finite_difference.h"

namespace athanor {
namespace {

TEST(Gradient, NamesOfInputsAndOutputs) {
  Graph graph("f");
  const ValueId x = graph.AddInput("x", {DType::kF64, {2}}, true), w = graph.AddInput("w", {DType::kF64, {2}});
  const ValueId b = graph.AddInput("b", {DType::kF64, {3}}, true);
  graph.AddOutput("y", graph.Add1("mul", {x, w}));
  graph.AddOutput("less", graph.Add1("lt", {x, w}));
  const Graph joint = Gradient(graph);
  ASSERT_EQ(joint.inputs().size(), 4u);
  EXPECT_EQ(joint.value(joint.inputs()[3]).name, "grad.y");
  ASSERT_EQ(joint.outputs().size(), 4u);
  EXPECT_EQ(joint.outputs()[2].name, "grad.x");
  EXPECT_EQ(joint.outputs()[3].name, "grad.b");
  const std::vector<HostTensor> inputs = {Tensor(DType::kF64, {2}, {1, 2}), Tensor(DType::kF64, {2}, {3, 1}),
                                          Tensor(DType::kF64, {3}, {1, 1, 1}), Tensor(DType::kF64, {2}, {10, 100})};
  const std::vector<HostTensor> y = Interpret(joint, inputs);
  EXPECT_EQ(y[2].ToDoubles(), (std::vector<double>{30, 100}));
  EXPECT_EQ(y[3].ToDoubles(), (std::vector<double>{0, 0, 0}));        // no output depends on b
  ExpectDecomposes(joint, inputs, 0);
  static_cast<void>(b);
}

TEST(Gradient, ValuesUsedSeveralTimesAccumulate) {
  Graph graph("reuse");
  const ValueId x = graph.AddInput("x", {DType::kF64, {3, 4}}, true);
  const ValueId y = graph.Add1("mul", {x, graph.Add1("tanh", {x})});
  graph.AddOutput("y", y);
  graph.AddOutput("z", graph.Add1("sum", {graph.Add1("mul", {y, x})}));
  graph.AddOutput("y_again", y);
  graph.AddOutput("x_itself", x);
  ExpectGradients(graph, RandomInputs(graph));
}

TEST(Gradient, OnlySomeOutputsOfANodeMatter) {
  Graph graph("parts");
  const ValueId x = graph.AddInput("x", {DType::kF64, {6, 2}}, true);
  const std::vector<ValueId> parts = graph.Add("chunk", std::vector{x}, {{"chunks", int64_t{3}}});
  graph.AddOutput("y", graph.Add1("exp", {parts[1]}));
  ExpectGradients(graph, RandomInputs(graph));
}

TEST(Gradient, FlowsThroughCasts) {
  Graph graph("casts");
  const ValueId x = graph.AddInput("x", {DType::kF64, {4}}, true);
  const ValueId half = graph.Add1("cast", {x}, {{"dtype", "f32"}});
  const ValueId whole = graph.Add1("cast", {x}, {{"dtype", "i64"}});    // no gradient passes an integer
  graph.AddOutput("y", graph.Add1("add", {graph.Add1("mul", {half, half}), whole}));
  const Graph joint = Gradient(graph);
  const std::vector<HostTensor> inputs = {Tensor(DType::kF64, {4}, {1.5, 2, 3, -1}), Tensor(DType::kF32, {4}, {1, 1, 2, 1})};
  EXPECT_EQ(Interpret(joint, inputs)[1].ToDoubles(), (std::vector<double>{3, 4, 12, -2}));
}

TEST(Gradient, OfWhatHasNone) {
  Graph graph;
  const ValueId s = graph.AddInput("lr", {DType::kF32, {}}), p = graph.AddInput("p", {DType::kF32, {2}}, true);
  graph.AddOutput("y", graph.Add("sgd", std::vector{s, p, p})[0]);
  EXPECT_EQ(ErrorOf([&] { Gradient(graph); }), "sgd: has no gradient");
}

// A whole Transformer block with its loss, small and in f64: the families together.
TEST(Gradient, OfATransformerBlock) {
  Graph graph("block");
  const int64_t batch = 2, length = 3, width = 4, heads = 2, classes = 5;
  int weights = 0;
  const auto weight = [&](Shape shape) { return graph.AddInput("w" + std::to_string(weights++), {DType::kF64, shape}, true); };
  const auto norm = [&](ValueId x) {
    return graph.Add1("layer_norm", {x, weight({width}), weight({width})}, {{"normalized_shape", std::vector{width}}});
  };
  const auto linear = [&](ValueId x, int64_t in, int64_t out) { return graph.Add1("linear", {x, weight({out, in}), weight({out})}); };
  const auto ints = [](std::initializer_list<int64_t> values) { return std::vector<int64_t>(values); };
  ValueId x = graph.AddInput("x", {DType::kF64, {batch, length, width}}, true);
  const ValueId qkv = graph.Add1("reshape", {linear(norm(x), width, 3 * width)}, {{"shape", ints({batch, length, 3, heads, -1})}});
  const ValueId permuted = graph.Add1("permute", {qkv}, {{"dims", ints({2, 0, 3, 1, 4})}});
  const std::vector<ValueId> parts = graph.Add("unbind", std::vector{permuted});
  const ValueId mixed = graph.Add("scaled_dot_product_attention", parts, {{"is_causal", true}})[0];
  const ValueId merged = graph.Add1("transpose", {mixed}, {{"dim0", int64_t{1}}, {"dim1", int64_t{2}}});
  x = graph.Add1("add", {x, linear(graph.Add1("reshape", {merged}, {{"shape", ints({batch, length, width})}}), width, width)});
  x = graph.Add1("add", {x, linear(graph.Add1("gelu", {linear(norm(x), width, 8)}), 8, width)});
  const ValueId pooled = graph.Add1("mean", {x}, {{"dim", int64_t{1}}});
  const ValueId target = graph.AddInput("target", {DType::kI64, {batch}});
  graph.AddOutput("loss", graph.Add1("cross_entropy", {linear(pooled, width, classes), target}));
  ExpectGradients(graph, RandomInputs(graph, 11, 0, 2), 1e-5);
}

}  // namespace
}  // namespace athanor
