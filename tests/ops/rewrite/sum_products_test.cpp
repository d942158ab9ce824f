#include "ops/rewrite/sum_products.h"

#include "ops/emit.h"
#include "tests/ops/rewrite/rewriting.h"

namespace athanor {
namespace {

ValueId Input(Graph& graph, const std::string& name, Shape shape) { return graph.AddInput(name, {DType::kF32, std::move(shape)}); }

// The gradient of x from those of three projections of it, with another addend: ((r + p0) + p1) + p2, seen with two batch dimensions.
Graph InputGradient(const std::string& name, int64_t width) {
  Graph graph(name);
  Emit emit(graph);
  ValueId sum = Input(graph, "r", {2, 5, 24});
  for (int i = 0; i < 3; ++i) {
    const std::string number = std::to_string(i);
    const ValueId g = Input(graph, "g" + number, {10, width}), w = Input(graph, "w" + number, {width, 24});
    sum = emit.Add(sum, emit.Reshape(emit.Contract(g, w), {2, 5, 24}));
  }
  graph.AddOutput("dx", sum);
  return graph;
}

TEST(SumProducts, GradientOfWhatIsProjected) {
  const Graph summed = Rewritten(InputGradient("dx", 32), SumProducts, true);
  EXPECT_EQ(Ops(summed), (std::map<std::string, int>{{"_contract", 1}, {"add", 1}, {"cat", 2}, {"reshape", 1}}));
}

TEST(SumProducts, OnlyWholeVectors) { Rewritten(InputGradient("unaligned", 20), SumProducts, false); }

TEST(SumProducts, WhatOthersReadStays) {
  Graph graph("shared");
  Emit emit(graph);
  const ValueId a = emit.Contract(Input(graph, "g", {4, 16}), Input(graph, "w", {16, 8}));
  const ValueId b = emit.Contract(Input(graph, "h", {4, 16}), Input(graph, "v", {16, 8}));
  graph.AddOutput("a", a);
  graph.AddOutput("sum", emit.Add(a, b));
  Rewritten(graph, SumProducts, false);
}

// A product carries the pointwise nodes in front of it; side by side these would have to be stored.
TEST(SumProducts, RecomputedOperandsStay) {
  Graph graph("prologues");
  Emit emit(graph);
  ValueId sum = kNone;
  for (const char* name : {"a", "b"}) {
    const ValueId x = emit.Exp(Input(graph, name, {4, 16}));
    const ValueId product = emit.Contract(x, Input(graph, std::string("w") + name, {16, 8}));
    sum = sum == kNone ? product : emit.Add(sum, product);
  }
  graph.AddOutput("sum", sum);
  Rewritten(graph, SumProducts, false);
}

// A difference is no sum.
TEST(SumProducts, HeedsAlpha) {
  Graph graph("alpha");
  Emit emit(graph);
  const ValueId a = emit.Contract(Input(graph, "g", {4, 16}), Input(graph, "w", {16, 8}));
  const ValueId b = emit.Contract(Input(graph, "h", {4, 16}), Input(graph, "v", {16, 8}));
  graph.AddOutput("sum", graph.Add1("add", {a, b}, {{"alpha", -1.0}}));
  Rewritten(graph, SumProducts, false);
}

}  // namespace
}  // namespace athanor
