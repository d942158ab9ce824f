#include "jit/dependency_order.h"

#include <gtest/gtest.h>

#include <random>

namespace athanor {
namespace {

// Adds of earlier values, two operands each.
Graph RandomAdds(int nodes, std::mt19937* random) {
  Graph graph("adds");
  std::vector<ValueId> values{graph.AddInput("x", {DType::kF32, {2}})};
  for (int n = 0; n < nodes; ++n) {
    const auto any = [&] { return values[values.size() - 1 - (*random)() % std::min<size_t>(values.size(), 6)]; };
    values.push_back(graph.Add1("add", {any(), any()}));
  }
  return graph;
}

// What needs what, by definition: operands, all of a group, and so on.
class Definition {
 public:
  explicit Definition(const Graph& graph) : graph_(graph), group_(graph.nodes().size()) {
    for (size_t n = 0; n < group_.size(); ++n) group_[n] = static_cast<int>(n);
  }
  void Merge(NodeId a, NodeId b) {
    const int from = group_[b], to = group_[a];
    for (int& group : group_) group = group == from ? to : group;
  }
  bool Needs(NodeId from, NodeId to) const {
    std::vector<bool> seen(group_.size());
    std::vector<NodeId> work{from};
    seen[from] = true;
    const auto push = [&](NodeId n) {
      if (!seen[n]) seen[n] = true, work.push_back(n);
    };
    while (!work.empty()) {
      const NodeId n = work.back();
      work.pop_back();
      if (n == to) return true;
      for (NodeId m = 0; m < static_cast<int>(group_.size()); ++m) {
        if (group_[m] == group_[n]) push(m);
      }
      for (ValueId v : graph_.node(n).inputs) {
        if (graph_.value(v).producer != kNone) push(graph_.value(v).producer);
      }
    }
    return false;
  }

 private:
  const Graph& graph_;
  std::vector<int> group_;
};

TEST(DependencyOrder, SearchesFindWhatTheDefinitionFinds) {
  constexpr int kNodes = 40, kMerges = 12;
  for (uint32_t seed = 0; seed < 30; ++seed) {
    std::mt19937 random(seed);
    const Graph graph = RandomAdds(kNodes, &random);
    DependencyOrder order(graph, ResolveViews(graph));
    Definition definition(graph);
    for (int merge = 0; merge <= kMerges; ++merge) {
      for (NodeId from = 0; from < kNodes; ++from) {
        for (NodeId to = 0; to < kNodes; ++to) {
          const bool found = order.Reaches({from}, order.Rank(to), [&](NodeId n) { return n == to; });
          ASSERT_EQ(found, definition.Needs(from, to)) << "seed " << seed << ", " << merge << " merges: " << from << " needs " << to;
        }
      }
      const auto a = static_cast<NodeId>(random() % kNodes), b = static_cast<NodeId>(random() % kNodes);
      order.Merge(a, b);
      definition.Merge(a, b);
    }
  }
}

}  // namespace
}  // namespace athanor
