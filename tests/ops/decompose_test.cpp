#include "ops/decompose.h"

#include <map>

#include "ops/gradient.h"
#include "tests/ops/testing.h"

namespace athanor {
namespace {

std::map<std::string, int> Ops(const Graph& graph) {
  std::map<std::string, int> count;
  for (const Node& node : graph.nodes()) ++count[std::string(node.op->name)];
  return count;
}

TEST(Decompose, ForwardAndBackwardShareWhatBothCompute) {
  Graph graph;
  graph.AddOutput("y", graph.Add1("gelu", {graph.AddInput("x", {DType::kF32, {8}}, true)}));
  const Graph core = Decompose(Gradient(graph));
  EXPECT_EQ(Ops(core)["erf"], 1);
  EXPECT_EQ(Ops(core)["exp"], 1);
}

TEST(Decompose, KeepsInputsAndOutputs) {
  Graph graph("name");
  const ValueId x = graph.AddInput("x", {DType::kF32, {8}, {2}}, true);
  graph.AddInput("unused", {DType::kI64, {3}});
  graph.AddOutput("b", graph.Add1("relu", {x}));
  graph.AddOutput("a", x);
  const Graph core = Decompose(graph);
  EXPECT_EQ(core.name(), "name");
  ASSERT_EQ(core.inputs().size(), 2u);
  EXPECT_EQ(core.desc(core.inputs()[0]).strides, std::vector<int64_t>{2});
  EXPECT_TRUE(core.value(core.inputs()[0]).wants_grad);
  EXPECT_EQ(core.value(core.inputs()[1]).name, "unused");
  EXPECT_EQ(core.outputs()[0].name, "b");
  EXPECT_EQ(core.outputs()[1].name, "a");
}

}  // namespace
}  // namespace athanor
