#pragma once

#include <vector>

#include "jit/views.h"
#include "ops/graph.h"

namespace athanor {

// Groups of graph nodes that are computed as one, in an order in which each stands after all that it needs. At first each node is a group.
// Groups that come to need each other become one. The order is mended locally when groups are merged, and lets a search for what a node
// needs stop early: after Pearce and Kelly, "A dynamic topological sort algorithm for directed acyclic graphs" (2006).
class DependencyOrder {
 public:
  DependencyOrder(const Graph& graph, const std::vector<ViewOf>& views);

  // Where the node's group stands.
  int Rank(NodeId n) const { return rank_[group_of_[n]]; }

  // Makes one group of the groups of two nodes, and of whatever stands between them.
  void Merge(NodeId a, NodeId b);

  // True when `found` holds for a start node, or for one that computing it needs, directly or not; a node needs what any of its group needs.
  // Groups that stand before rank `floor` are left out: the caller knows that nothing is found there.
  template <typename Found>
  bool Reaches(const std::vector<NodeId>& start, int floor, const Found& found) const {
    std::vector<bool> seen(members_.size());
    std::vector<int> work;                                   // groups
    const auto push = [&](NodeId n) {
      const int group = group_of_[n];
      if (rank_[group] < floor || seen[group]) return;
      seen[group] = true;
      work.push_back(group);
    };
    for (NodeId n : start) push(n);
    while (!work.empty()) {
      const int group = work.back();
      work.pop_back();
      for (NodeId n : members_[group]) {
        if (found(n)) return true;
        for (NodeId before : needs_[n]) push(before);
      }
    }
    return false;
  }

 private:
  bool Needs(int group, int other) const;                    // directly

  std::vector<std::vector<NodeId>> needs_;                   // of each node: the producers of what it reads
  std::vector<int> group_of_;
  std::vector<std::vector<NodeId>> members_;                 // by group; empty where merged into another
  std::vector<int> rank_;                                    // by group
  std::vector<int> order_;                                   // groups by rank; kNone where one was merged away
};

}  // namespace athanor
