#include "ops/rewrite/merge_products.h"

#include "ops/emit.h"
#include "tests/ops/rewrite/rewriting.h"

namespace athanor {
namespace {

// Products of one x [40, 24] by weights of the given widths.
struct Projections {
  explicit Projections(const std::string& name) : graph(name), emit(graph), x(Input("x", {40, 24})) {}

  ValueId Input(const std::string& name, Shape shape) { return graph.AddInput(name, {DType::kF32, std::move(shape)}); }
  ValueId Linear(int64_t width) { return emit.Contract(x, emit.Transpose(Input(Name("w"), {width, 24}))); }
  ValueId Matmul(int64_t width) { return emit.Contract(x, Input(Name("w"), {24, width})); }
  ValueId Biased(ValueId y) { return emit.Add(y, Input(Name("b"), {emit.shape(y)[1]})); }
  void Output(ValueId y) { graph.AddOutput(Name("y"), y); }
  std::string Name(const std::string& prefix) { return prefix + std::to_string(graph.values().size() + graph.outputs().size()); }

  Graph graph;
  Emit emit;
  ValueId x;
};

int Products(const Graph& graph) { return Ops(graph)["_contract"]; }

TEST(MergeProducts, QueriesKeysAndValuesWithTheirBiases) {
  Projections p("qkv");
  for (int64_t width : {48, 16, 16}) p.Output(p.Biased(p.Linear(width)));
  const Graph merged = Rewritten(p.graph, MergeProducts, true);
  EXPECT_EQ(Ops(merged), (std::map<std::string, int>{{"_contract", 1}, {"add", 1}, {"cat", 2}, {"permute", 3}, {"slice", 3}}));
}

TEST(MergeProducts, BiasesBehindAReshape) {
  Projections p("matmul");
  for (int64_t width : {32, 16}) p.Output(p.Biased(p.Matmul(width)));
  Projections q("reshaped");
  for (int64_t width : {32, 16}) {
    const ValueId y = q.emit.Reshape(q.Matmul(width), {4, 10, width});
    q.Output(q.emit.Add(y, q.Input(q.Name("b"), {width})));
  }
  for (const Graph* graph : {&p.graph, &q.graph}) {
    const Graph merged = Rewritten(*graph, MergeProducts, true);
    EXPECT_EQ(Products(merged), 1);
    EXPECT_EQ(Ops(merged)["add"], 1);
  }
}

TEST(MergeProducts, OnlyThoseWithABias) {                     // some models leave it out for the keys
  Projections p("some_biases");
  p.Output(p.Biased(p.Linear(16)));
  p.Output(p.Linear(16));
  p.Output(p.Biased(p.Linear(16)));
  EXPECT_EQ(Products(Rewritten(p.graph, MergeProducts, true)), 2);
}

TEST(MergeProducts, GradientsOfWeights) {
  Graph graph("dw");
  Emit emit(graph);
  const ValueId x = graph.AddInput("x", {DType::kF32, {40, 24}});
  for (int64_t width : {32, 16, 7}) {
    const ValueId g = graph.AddInput("g" + std::to_string(width), {DType::kF32, {40, width}});
    graph.AddOutput("w" + std::to_string(width), emit.Contract(emit.Transpose(graph.Add1("exp", {g})), x));
  }
  const Graph merged = Rewritten(graph, MergeProducts, true);
  EXPECT_EQ(Ops(merged), (std::map<std::string, int>{{"_contract", 1}, {"cat", 1}, {"exp", 3}, {"permute", 1}, {"slice", 3}}));
}

// What would cost a copy, or a pass over memory that a product carries now, stays as it is.
TEST(MergeProducts, StaysAsItIs) {
  Projections gated("gated");                                 // each product carries its activation
  gated.Output(gated.emit.Mul(gated.emit.Sigmoid(gated.Linear(32)), gated.Linear(32)));
  Projections unaligned("unaligned");
  for (int64_t width : {5, 7}) unaligned.Output(unaligned.Linear(width));
  Projections mixed("mixed");                                 // an input and a result
  mixed.Output(mixed.Linear(16));
  mixed.Output(mixed.emit.Contract(mixed.x, mixed.emit.Exp(mixed.Input("w", {24, 16}))));
  Projections chain("chain");                                 // the second needs the first
  const ValueId first = chain.emit.Contract(chain.x, chain.emit.Exp(chain.Input("w", {24, 32})));
  chain.Output(first);
  const ValueId square = chain.emit.Contract(chain.emit.Transpose(chain.x), first);
  chain.Output(chain.emit.Contract(chain.x, square));
  Graph few("few_rows");
  const ValueId x = few.AddInput("x", {DType::kF32, {2, 24}});
  for (const char* w : {"v", "w"}) few.AddOutput(std::string("y") + w, Emit(few).Contract(x, few.AddInput(w, {DType::kF32, {24, 16}})));
  for (const Graph* graph : {&gated.graph, &unaligned.graph, &mixed.graph, &chain.graph, &few}) {
    EXPECT_EQ(Products(Rewritten(*graph, MergeProducts, false)), Products(*graph)) << graph->name();
  }
}

// Two groups, each of which could be merged, but not both: then either would need the other.
TEST(MergeProducts, NoCycles) {
  Graph graph("crossed");
  Emit emit(graph);
  const auto input = [&](const char* name) { return graph.AddInput(name, {DType::kF32, {16, 16}}); };
  const ValueId x = input("x"), z = input("z");
  const ValueId a1 = emit.Contract(emit.Transpose(emit.Exp(input("p"))), x), b1 = emit.Contract(emit.Transpose(emit.Exp(a1)), z);
  const ValueId b2 = emit.Contract(emit.Transpose(emit.Exp(input("q"))), z), a2 = emit.Contract(emit.Transpose(emit.Exp(b2)), x);
  for (auto [name, value] : {std::pair("a1", a1), {"b1", b1}, {"a2", a2}, {"b2", b2}}) graph.AddOutput(name, value);
  EXPECT_EQ(Products(Rewritten(graph, MergeProducts, true)), 3);
}

}  // namespace
}  // namespace athanor
