#include "ops/rewrite/graph_facts.h"

#include <algorithm>

#include "ops/op.h"

namespace athanor {
namespace {

constexpr int64_t kVector = 64;                              // bytes; no vector of any target straddles two pieces

}  // namespace

GraphFacts::GraphFacts(const Graph& graph) : graph_(graph), readers_(graph.values().size()) {
  for (NodeId n = 0; n < static_cast<NodeId>(graph.nodes().size()); ++n) {
    const Node& node = graph.node(n);
    for (ValueId v : node.inputs) {
      if (v != kNone && (readers_[v].empty() || readers_[v].back() != n)) readers_[v].push_back(n);
    }
    if (node.op->kind == OpKind::kConcat) Claim(node.inputs, Get<int64_t>(node.attrs, "dim"));
  }
  for (const NamedValue& output : graph.outputs()) outputs_.insert(output.value), output_roots_.insert(Root(output.value));
}

const Node* GraphFacts::Producer(ValueId v) const {
  const NodeId producer = graph_.value(v).producer;
  return producer == kNone ? nullptr : &graph_.node(producer);
}

ValueId GraphFacts::Root(ValueId v) const {
  while (const Node* node = Producer(v)) {
    if (node->op->kind != OpKind::kView) break;
    v = node->inputs[0];
  }
  return v;
}

bool GraphFacts::IsWhole(ValueId v) const {
  const int64_t elements = graph_.desc(v).elements();
  while (const Node* node = Producer(v)) {
    if (node->op->kind != OpKind::kView) break;
    v = node->inputs[0];
    if (graph_.desc(v).elements() != elements) return false;
  }
  return true;
}

bool GraphFacts::CanLieSideBySide(const std::vector<ValueId>& parts, int64_t dim) {
  const auto is_input = [&](ValueId v) { return graph_.value(Root(v)).is_input; };
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    const TensorDesc& desc = graph_.desc(parts[i]);
    if (desc.shape[dim] * SizeOf(desc.dtype) % kVector != 0) return false;
  }
  if (std::all_of(parts.begin(), parts.end(), is_input)) return true;
  std::set<ValueId> roots;
  return std::all_of(parts.begin(), parts.end(), [&](ValueId v) {
    const ValueId root = Root(v);
    const auto taken = places_.find(root);
    const bool free = taken == places_.end() || taken->second == Place(dim, parts);
    return Producer(root) != nullptr && IsWhole(v) && free && !output_roots_.count(root) && roots.insert(root).second;
  });
}

bool GraphFacts::Needs(const std::vector<ValueId>& from, const std::set<NodeId>& nodes) const {
  std::set<NodeId> seen;
  std::vector<NodeId> work;
  const auto push = [&](ValueId v) {
    const NodeId producer = v == kNone ? kNone : graph_.value(v).producer;
    if (producer != kNone && seen.insert(producer).second) work.push_back(producer);
  };
  for (ValueId v : from) push(v);
  while (!work.empty()) {
    const NodeId n = work.back();
    work.pop_back();
    if (nodes.count(n)) return true;
    for (ValueId v : graph_.node(n).inputs) push(v);
    const auto group = united_.find(n);
    if (group == united_.end()) continue;
    for (NodeId other : group->second) {
      for (ValueId v : graph_.node(other).inputs) push(v);
    }
  }
  return false;
}

void GraphFacts::Unite(const std::vector<NodeId>& nodes) {
  for (NodeId n : nodes) united_[n] = nodes;
}

void GraphFacts::Claim(const std::vector<ValueId>& parts, int64_t dim) {
  if (dim < 0) dim += graph_.desc(parts[0]).rank();
  for (ValueId v : parts) places_[Root(v)] = {dim, parts};
}

}  // namespace athanor
