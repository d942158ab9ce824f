#include "ops/rewrite/simplify.h"

#include <algorithm>
#include <map>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ops/emit.h"
#include "ops/op.h"
#include "ops/rewrite/rebuilder.h"

namespace athanor {
namespace {

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

}  // namespace

Graph Simplify(const Graph& graph) {
  Rebuilder rebuilder(graph);
  std::map<std::string, std::vector<ValueId>> known;
  return rebuilder.Run([&](NodeId n) {
    const Node& node = graph.node(n);
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
    return true;
  });
}

}  // namespace athanor
