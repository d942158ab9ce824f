#include "ops/rewrite/simplify.h"

#include "tests/ops/rewrite/rewriting.h"

namespace athanor {
namespace {

TEST(Simplify, DropsFoldsAndJoins) {
  Graph graph;
  const ValueId x = graph.AddInput("x", {DType::kF32, {8}}), y = graph.AddInput("y", {DType::kF32, {8}});
  const auto literal = [&](double value) { return graph.AddConstant(value, DType::kF32); };
  graph.Add1("exp", {x});                                                         // nobody reads it
  const ValueId three = graph.Add1("add", {literal(1), literal(2)});
  const ValueId a = graph.Add1("mul", {x, y}), b = graph.Add1("mul", {y, x});     // equal
  const ValueId same = graph.Add1("add", {graph.Add1("mul", {a, literal(1)}), literal(0)});
  const ValueId c = graph.Add1("sub", {x, y}), d = graph.Add1("sub", {y, x});     // not equal
  graph.AddOutput("o", graph.Add1("mul", {graph.Add1("add", {same, b}), three}));
  graph.AddOutput("p", graph.Add1("add", {c, d}));
  const Graph simple = Simplify(graph);
  EXPECT_EQ(Ops(simple), (std::map<std::string, int>{{"mul", 2}, {"add", 2}, {"sub", 2}}));
  const std::vector<HostTensor> inputs = RandomInputs(graph);
  for (size_t i = 0; i < 2; ++i) ExpectClose(Interpret(simple, inputs)[i], Interpret(graph, inputs)[i], 0, "simplified");
}

TEST(Simplify, HeedsAlpha) {
  Graph graph;
  const ValueId x = graph.AddInput("x", {DType::kF32, {8}}), y = graph.AddInput("y", {DType::kF32, {8}});
  const Attrs alpha = {{"alpha", 2.0}};
  graph.AddOutput("a", graph.Add1("add", {x, y}, alpha));
  graph.AddOutput("b", graph.Add1("add", {y, x}, alpha));
  graph.AddOutput("c", graph.Add1("add", {graph.AddConstant(0, DType::kF32), x}, alpha));
  graph.AddOutput("d", graph.Add1("sub", {graph.AddConstant(5, DType::kF32), graph.AddConstant(2, DType::kF32)}, alpha));
  const std::vector<HostTensor> inputs = RandomInputs(graph);
  const Graph simple = Simplify(graph);
  for (size_t i = 0; i < 4; ++i) ExpectClose(Interpret(simple, inputs)[i], Interpret(graph, inputs)[i], 0, "simplified");
  ExpectDecomposes(graph, inputs, 1e-7);
}

TEST(Simplify, FoldsInTheDTypeOfTheResult) {
  Graph graph;
  const ValueId third = graph.Add1("div", {graph.AddConstant(1, DType::kF32), graph.AddConstant(3, DType::kF32)});
  graph.AddOutput("whole", graph.Add1("cast", {third}, {{"dtype", "i64"}}));
  const Graph simple = Simplify(graph);
  EXPECT_TRUE(simple.nodes().empty());
  EXPECT_EQ(simple.value(simple.outputs()[0].value).constant, 0.0);
}

}  // namespace
}  // namespace athanor
