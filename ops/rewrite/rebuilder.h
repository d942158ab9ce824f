#pragma once

#include <functional>
#include <vector>

#include "ops/graph.h"

namespace athanor {

// Builds a graph anew from another one, node by node. A rewrite defines what takes the place of a node; all others are copied.
class Rebuilder {
 public:
  explicit Rebuilder(const Graph& from);

  Graph& graph() { return to_; }

  // Walks over the live nodes. `replace` either defines the node's outputs, appending to graph() what they need, and returns true, or
  // returns false: then the node is copied. It may define outputs of other nodes as well, which are then not visited.
  Graph Run(const std::function<bool(NodeId)>& replace);

  // The value that takes the place of `v`. What it needs is rebuilt first, if it comes later in the graph.
  ValueId Map(ValueId v);
  // The node over new values; what is added from now on comes from where it comes from.
  Node Mapped(const Node& node);
  void Define(const Node& node, const std::vector<ValueId>& values);
  void Define(ValueId from, ValueId to);
  // Keeps the names that the graph's author gave.
  std::vector<ValueId> Copy(const Node& node, Node mapped);

 private:
  void Rebuild(NodeId n);

  const Graph& from_;
  Graph to_;
  std::vector<ValueId> map_;
  std::function<bool(NodeId)> replace_;
};

// Nodes that an output needs.
std::vector<bool> LiveNodes(const Graph& graph);

}  // namespace athanor
