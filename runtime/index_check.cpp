#include "runtime/index_check.h"

#include <cstdint>
#include <map>
#include <optional>

#include "ops/error.h"
#include "ops/layout.h"
#include "ops/backward.h"
#include "ops/op.h"

namespace athanor {
namespace {

// Which argument of an op holds indices, and what they index.
struct IndexRule {
  int indices;
  int64_t (*extent)(const OpCall&);
  const char* ignore_attr = nullptr;
};

const std::map<std::string_view, IndexRule>& Rules() {
  static const auto along_dim = [](const OpCall& call) {
    const int64_t dim = call.attr<int64_t>("dim");
    return call.in(0).shape[dim < 0 ? dim + call.in(0).rank() : dim];
  };
  static const auto classes = [](const OpCall& call) { return call.in(0).shape[call.in(0).rank() == 1 ? 0 : 1]; };
  static const std::map<std::string_view, IndexRule> rules = {
      {"embedding", {0, [](const OpCall& call) { return call.in(1).shape[0]; }}},
      {"_gather_rows", {1, [](const OpCall& call) { return call.in(0).shape[0]; }}},
      {"gather", {1, along_dim}},
      {"index_select", {1, along_dim}},
      {"one_hot", {0, [](const OpCall& call) { return call.attr<int64_t>("num_classes"); }}},
      {"rope", {3, [](const OpCall& call) { return call.in(1).shape[0]; }}},
      {"kv_append", {2, [](const OpCall& call) { return call.in(0).shape[2] - call.in(1).shape[2] + 1; }}},
      {"cross_entropy", {1, classes, "ignore_index"}},
      {"nll_loss", {1, classes, "ignore_index"}},
  };
  return rules;
}

template <typename T>
void CheckOne(const TensorDesc& desc, const std::string& name, const IndexUse& use, const void* data) {
  const auto strides = desc.strides.empty() ? ContiguousStrides(desc.shape) : desc.strides;
  Digits flat;
  for (int d = desc.rank() - 1; d >= 0; --d) flat.push_back({desc.shape[d], strides[d]});
  const int64_t elements = desc.elements();
  const bool contiguous = desc.contiguous();
  for (int64_t i = 0; i < elements; ++i) {
    const int64_t index = static_cast<const T*>(data)[contiguous ? i : Offset(flat, i)];
    if ((index < 0 || index >= use.extent) && index != use.ignored) {
      Fail("{}: index {} at position {} of input '{}' is out of range: 0 to {} expected", use.op, index, i, name, use.extent - 1);
    }
  }
}

}  // namespace

std::vector<IndexUse> FindIndexUses(const Graph& graph) {
  std::map<ValueId, int> input_of;                           // values that are views of an input
  for (size_t i = 0; i < graph.inputs().size(); ++i) input_of[graph.inputs()[i]] = static_cast<int>(i);
  std::vector<IndexUse> uses;
  for (const Node& node : graph.nodes()) {
    if (node.op->kind == OpKind::kView && input_of.count(node.inputs[0])) {
      for (ValueId output : node.outputs) input_of[output] = input_of[node.inputs[0]];
    }
    // F_backward has F's inputs behind the gradient (ops/backward.h).
    const bool backward = FindBackwardOp(node.op->name) == node.op;
    const std::string_view name = node.op->name.substr(0, backward ? node.op->name.size() - kBackwardSuffix.size() : std::string::npos);
    const std::span<const ValueId> inputs = std::span(node.inputs).subspan(backward ? 1 : 0);
    auto rule = Rules().find(name);
    if (rule == Rules().end() || static_cast<int>(inputs.size()) <= rule->second.indices) continue;   // optional, and not given
    auto input = input_of.find(inputs[rule->second.indices]);
    if (input == input_of.end()) continue;
    const OpCall call{*node.op, graph, inputs, node.attrs};
    IndexUse use{input->second, rule->second.extent(call), std::nullopt, std::string(node.op->name)};
    if (rule->second.ignore_attr != nullptr) use.ignored = call.attr<int64_t>(rule->second.ignore_attr);
    uses.push_back(use);
  }
  return uses;
}

void CheckIndices(const Graph& graph, const std::vector<IndexUse>& uses, std::span<const void* const> inputs) {
  for (const IndexUse& use : uses) {
    const Value& value = graph.value(graph.inputs()[use.input]);
    if (value.desc.dtype == DType::kI64) CheckOne<int64_t>(value.desc, value.name, use, inputs[use.input]);
    if (value.desc.dtype == DType::kI32) CheckOne<int32_t>(value.desc, value.name, use, inputs[use.input]);
  }
}

}  // namespace athanor
