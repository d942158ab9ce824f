#pragma once

#include <map>
#include <string>

#include "ops/graph.h"
#include "ops/rewrite/simplify.h"
#include "tests/ops/testing.h"

namespace athanor {

// How often each op occurs.
inline std::map<std::string, int> Ops(const Graph& graph) {
  std::map<std::string, int> count;
  for (const Node& node : graph.nodes()) ++count[std::string(node.op->name)];
  return count;
}

// A core graph after one rewrite, which must compute the same, without what no output needs any more.
inline Graph Rewritten(const Graph& core, bool (*apply)(Graph*), bool changes) {
  Graph graph = core;
  EXPECT_EQ(apply(&graph), changes) << core.name();
  const std::vector<HostTensor> inputs = RandomInputs(core), expected = Interpret(core, inputs), got = Interpret(graph, inputs);
  EXPECT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) ExpectClose(got[i], expected[i], 1e-6, core.name() + " " + core.outputs()[i].name);
  return Simplify(graph);
}

}  // namespace athanor
