#pragma once

#include <map>
#include <set>
#include <vector>

#include "ops/graph.h"

namespace athanor {

// What rewrites ask about a core graph.
class GraphFacts {
 public:
  explicit GraphFacts(const Graph& graph);

  const Graph& graph() const { return graph_; }
  const Node* Producer(ValueId v) const;                     // null for inputs and literals
  bool IsOutput(ValueId v) const { return outputs_.count(v) > 0; }
  const std::vector<NodeId>& readers(ValueId v) const { return readers_[v]; }
  // The value behind all views.
  ValueId Root(ValueId v) const;
  // Views that neither leave out nor repeat elements lie between a value and its root.
  bool IsWhole(ValueId v) const;
  // Whether the values, side by side, cost no copies: all are inputs, which are read in pieces, or each is the whole of a result that
  // its producer can write into its place. Pieces begin at whole vectors.
  bool CanLieSideBySide(const std::vector<ValueId>& parts, int64_t dim);
  // True when computing a value of `from` takes one of the nodes.
  bool Needs(const std::vector<ValueId>& from, const std::set<NodeId>& nodes) const;
  // From now on the nodes count as one: whoever needs one needs what all of them need.
  void Unite(const std::vector<NodeId>& nodes);
  // The parts are taken: they lie side by side along `dim`, in this order.
  void Claim(const std::vector<ValueId>& parts, int64_t dim);

 private:
  using Place = std::pair<int64_t, std::vector<ValueId>>;     // a concatenation: along which dimension, its parts

  const Graph& graph_;
  std::vector<std::vector<NodeId>> readers_;                 // by value
  std::set<ValueId> outputs_, output_roots_;
  std::map<ValueId, Place> places_;                          // by the root of a part
  std::map<NodeId, std::vector<NodeId>> united_;
};

}  // namespace athanor
