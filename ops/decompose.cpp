#include "ops/decompose.h"

#include <algorithm>
#include <map>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

// Copies a graph node by node; `map` takes old values to new ones.
class Rebuilder {
 public:
  explicit Rebuilder(const Graph& from) : from_(from), to_(from.name()), map_(from.values().size(), kNone) {
    for (ValueId input : from.inputs()) {
      const Value& value = from.value(input);
      map_[input] = to_.AddInput(value.name, value.desc, value.wants_grad);
    }
  }

  Graph& graph() { return to_; }

  // What is added from now on takes the place of `node`.
  Node Mapped(const Node& node) {
    to_.SetOrigin(node.origin);
    Node mapped = node;
    for (ValueId& v : mapped.inputs) v = v == kNone ? kNone : Map(v);
    mapped.outputs.clear();
    return mapped;
  }

  ValueId Map(ValueId v) {
    const Value& value = from_.value(v);
    if (value.constant && map_[v] == kNone) map_[v] = to_.AddConstant(*value.constant, value.desc.dtype);
    ATHANOR_CHECK(map_[v] != kNone);
    return map_[v];
  }

  void Define(const Node& node, const std::vector<ValueId>& values) {
    ATHANOR_CHECK(values.size() == node.outputs.size());
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i] == kNone) continue;                      // an output that the rule left out because nothing needs it
      ATHANOR_CHECK(to_.desc(values[i]).shape == from_.desc(node.outputs[i]).shape &&
                    to_.desc(values[i]).dtype == from_.desc(node.outputs[i]).dtype);
      map_[node.outputs[i]] = values[i];
    }
  }

  // Keeps the names that the graph's author gave.
  std::vector<ValueId> Copy(const Node& node, const Node& mapped) {
    std::vector<std::string> names;
    for (ValueId output : node.outputs) names.push_back(to_.Find(from_.value(output).name) ? "" : from_.value(output).name);
    return to_.Add(node.op->name, mapped.inputs, mapped.attrs, names);
  }

  Graph Finish() {
    for (const NamedValue& output : from_.outputs()) to_.AddOutput(output.name, Map(output.value));
    return std::move(to_);
  }

 private:
  const Graph& from_;
  Graph to_;
  std::vector<ValueId> map_;
};

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

std::string ToText(const Attr& attr) {
  return std::visit([](const auto& value) {
    if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::vector<int64_t>>) return fmt::format("[{}]", fmt::join(value, ","));
    else return fmt::format("{}", value);
  }, attr);
}

// The factor of an addition's or subtraction's second operand.
double Alpha(const Node& node) {
  const auto found = node.attrs.find("alpha");
  return found == node.attrs.end() ? 1 : std::get<double>(found->second);
}

// Equal keys, equal results.
std::string KeyOf(const Node& node) {
  std::vector<ValueId> inputs = node.inputs;
  const bool sum = node.op->fn == Fn::kAdd && Alpha(node) == 1;
  const bool commutes = node.op->kind == OpKind::kPointwise && (sum || node.op->fn == Fn::kMul);
  if (commutes) std::sort(inputs.begin(), inputs.end());
  std::string key = fmt::format("{}({})", node.op->name, fmt::join(inputs, ","));
  for (const auto& [name, attr] : node.attrs) key += fmt::format(" {}={}", name, ToText(attr));
  return key;
}

// The literal that a pointwise node over literals yields.
std::optional<double> Fold(const Graph& graph, const Node& node, DType result) {
  if (node.op->kind != OpKind::kPointwise) return std::nullopt;
  double args[3] = {};
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Value& value = graph.value(node.inputs[i]);
    if (!value.constant) return std::nullopt;
    args[i] = *value.constant;
  }
  return RoundTo(result, Apply(node.op->fn, args[0], Alpha(node) * args[1], args[2]));
}

bool IsLiteral(const Graph& graph, ValueId v, double literal) { return graph.value(v).constant == literal; }

// The operand that a node passes through unchanged (x * 1, x + 0, ...); kNone when there is none.
ValueId PassedThrough(const Graph& graph, const Node& node, const TensorDesc& result) {
  ValueId same = kNone;
  if (node.op->kind == OpKind::kPointwise && node.inputs.size() == 2) {
    const ValueId a = node.inputs[0], b = node.inputs[1];
    const Fn fn = node.op->fn;
    if ((fn == Fn::kMul || fn == Fn::kDiv) && IsLiteral(graph, b, 1)) same = a;
    if ((fn == Fn::kAdd || fn == Fn::kSub) && IsLiteral(graph, b, 0)) same = a;
    if (fn == Fn::kMul && IsLiteral(graph, a, 1)) same = b;
    if (fn == Fn::kAdd && Alpha(node) == 1 && IsLiteral(graph, a, 0)) same = b;
  }
  if (node.op->kind == OpKind::kPointwise && node.op->fn == Fn::kCast) same = node.inputs[0];
  if (same == kNone || graph.desc(same).shape != result.shape || graph.desc(same).dtype != result.dtype) return kNone;
  return same;
}

// True when nothing is computed: no output has an element.
bool IsEmpty(const Graph& graph, const Node& node) {
  return std::all_of(node.outputs.begin(), node.outputs.end(), [&](ValueId v) { return graph.desc(v).elements() == 0; });
}

// Stand-ins for the outputs of a node that computes nothing.
std::vector<ValueId> EmptyOutputs(const Graph& from, const Node& node, Graph* to) {
  std::vector<ValueId> values;
  for (const ValueId v : node.outputs) values.push_back(Emit(*to).Zeros({from.desc(v).dtype, from.desc(v).shape}));
  return values;
}

// Replaces every node that has a decompose rule and is not in core form; false in `changed` when there was none.
Graph DecomposeOnce(const Graph& graph, bool* changed) {
  Rebuilder rebuilder(graph);
  const std::vector<bool> live = LiveNodes(graph);
  for (size_t n = 0; n < graph.nodes().size(); ++n) {
    if (!live[n]) continue;
    const Node& node = graph.nodes()[n];
    const Node mapped = rebuilder.Mapped(node);
    std::vector<ValueId> values;
    if (node.op->decompose) values = node.op->decompose(rebuilder.graph(), mapped);
    ATHANOR_CHECK(node.op->kind != OpKind::kComposite || !values.empty());
    *changed |= !values.empty();
    rebuilder.Define(node, values.empty() ? rebuilder.Copy(node, mapped) : values);
  }
  return rebuilder.Finish();
}

}  // namespace

Graph Simplify(const Graph& graph) {
  Rebuilder rebuilder(graph);
  const std::vector<bool> live = LiveNodes(graph);
  std::map<std::string, std::vector<ValueId>> known;
  for (size_t n = 0; n < graph.nodes().size(); ++n) {
    if (!live[n]) continue;
    const Node& node = graph.nodes()[n];
    const Node mapped = rebuilder.Mapped(node);
    const TensorDesc& result = graph.desc(node.outputs[0]);
    if (IsEmpty(graph, node)) {
      rebuilder.Define(node, EmptyOutputs(graph, node, &rebuilder.graph()));
    } else if (std::optional<double> literal = Fold(rebuilder.graph(), mapped, result.dtype)) {
      rebuilder.Define(node, {rebuilder.graph().AddConstant(*literal, result.dtype)});
    } else if (ValueId same = PassedThrough(rebuilder.graph(), mapped, result); same != kNone) {
      rebuilder.Define(node, {same});
    } else {
      auto [found, fresh] = known.try_emplace(KeyOf(mapped));
      if (fresh) found->second = rebuilder.Copy(node, mapped);
      rebuilder.Define(node, found->second);
    }
  }
  return rebuilder.Finish();
}

Graph Decompose(const Graph& graph) {
  Graph result = Simplify(graph);
  for (bool changed = true; changed;) {
    changed = false;
    result = DecomposeOnce(result, &changed);
  }
  return Simplify(result);
}

}  // namespace athanor
