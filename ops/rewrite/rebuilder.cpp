#include "ops/rewrite/rebuilder.h"

#include <algorithm>
#include <utility>

#include "ops/error.h"
#include "ops/op.h"

namespace athanor {

Rebuilder::Rebuilder(const Graph& from) : from_(from), to_(from.name()), map_(from.values().size(), kNone) {
  for (ValueId input : from.inputs()) {
    const Value& value = from.value(input);
    map_[input] = to_.AddInput(value.name, value.desc, value.wants_grad);
  }
}

Graph Rebuilder::Run(const std::function<bool(NodeId)>& replace) {
  replace_ = replace;
  const std::vector<bool> live = LiveNodes(from_);
  for (NodeId n = 0; n < static_cast<NodeId>(from_.nodes().size()); ++n) {
    if (live[n]) Rebuild(n);
  }
  for (const NamedValue& output : from_.outputs()) to_.AddOutput(output.name, Map(output.value));
  return std::move(to_);
}

void Rebuilder::Rebuild(NodeId n) {
  const Node& node = from_.node(n);
  const bool known = std::any_of(node.outputs.begin(), node.outputs.end(), [&](ValueId v) { return map_[v] != kNone; });
  if (known || replace_(n)) return;
  Define(node, Copy(node, Mapped(node)));
}

ValueId Rebuilder::Map(ValueId v) {
  const Value& value = from_.value(v);
  if (map_[v] != kNone) return map_[v];
  if (value.constant) return map_[v] = to_.AddConstant(*value.constant, value.desc.dtype);
  Rebuild(value.producer);
  ATHANOR_CHECK(map_[v] != kNone);
  return map_[v];
}

Node Rebuilder::Mapped(const Node& node) {
  Node mapped = node;
  for (ValueId& v : mapped.inputs) v = v == kNone ? kNone : Map(v);
  mapped.outputs.clear();
  to_.SetOrigin(node.origin);
  return mapped;
}

void Rebuilder::Define(const Node& node, const std::vector<ValueId>& values) {
  ATHANOR_CHECK(values.size() == node.outputs.size());
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] != kNone) Define(node.outputs[i], values[i]);   // else an output that the rule left out because nothing needs it
  }
}

void Rebuilder::Define(ValueId from, ValueId to) {
  ATHANOR_CHECK(to_.desc(to).shape == from_.desc(from).shape && to_.desc(to).dtype == from_.desc(from).dtype);
  map_[from] = to;
}

std::vector<ValueId> Rebuilder::Copy(const Node& node, Node mapped) {
  std::vector<std::string> names;
  for (ValueId output : node.outputs) names.push_back(to_.Find(from_.value(output).name) ? "" : from_.value(output).name);
  const auto same = [&](ValueId before, ValueId now) { return before == kNone ? now == kNone : from_.desc(before) == to_.desc(now); };
  if (!std::equal(node.inputs.begin(), node.inputs.end(), mapped.inputs.begin(), mapped.inputs.end(), same)) {
    return to_.Add(node.op->name, mapped.inputs, std::move(mapped.attrs), names);
  }
  std::vector<TensorDesc> descs;
  for (ValueId output : node.outputs) descs.push_back(from_.desc(output));
  return to_.Append(std::move(mapped), std::move(descs), names);
}

std::vector<bool> LiveNodes(const Graph& graph) {
  std::vector<bool> live(graph.nodes().size());
  auto mark = [&](ValueId v) {
    if (v != kNone && graph.value(v).producer != kNone) live[graph.value(v).producer] = true;
  };
  for (const NamedValue& output : graph.outputs()) mark(output.value);
  for (int n = static_cast<int>(graph.nodes().size()) - 1; n >= 0; --n) {
    if (live[n]) std::for_each(graph.node(n).inputs.begin(), graph.node(n).inputs.end(), mark);
  }
  return live;
}

}  // namespace athanor
