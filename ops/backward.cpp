#include "ops/backward.h"

#include <deque>
#include <map>
#include <string>

#include "ops/emit.h"
#include "ops/error.h"
#include "ops/reference.h"

namespace athanor {
namespace {

const OpDef& ForwardOf(const OpDef& backward) { return *FindOp(backward.name.substr(0, backward.name.size() - kBackwardSuffix.size())); }

Attrs ForwardAttrs(const Attrs& attrs) {
  Attrs result = attrs;
  result.erase("wanted");
  return result;
}

std::vector<TensorDesc> Infer(const OpCall& call) {
  const OpDef& forward = ForwardOf(call.op);
  if (!call.has(0)) Fail("{}: the gradient of the output is missing", call.op.name);
  const Attrs attrs = ForwardAttrs(call.attrs);
  const TensorDesc y = forward.infer({forward, call.graph, call.inputs.subspan(1), attrs})[0];
  if (call.in(0).dtype != y.dtype || call.in(0).shape != y.shape) {
    Fail("{}: the gradient of the output is {}, expected {}", call.op.name, ToString(call.in(0)), ToString(y));
  }
  std::vector<TensorDesc> results;
  for (const int64_t i : call.attr<std::vector<int64_t>>("wanted")) {
    const bool given = i >= 0 && i + 1 < static_cast<int64_t>(call.inputs.size()) && call.has(static_cast<int>(i) + 1);
    if (!given) Fail("{}: wanted holds {}, but {} has no such input here", call.op.name, i, forward.name);
    const TensorDesc& input = call.in(static_cast<int>(i) + 1);
    if (!IsFloat(input.dtype)) Fail("{}: wanted holds {}, an input of dtype {}, which has no gradient", call.op.name, i, Name(input.dtype));
    results.push_back({input.dtype, input.shape});
  }
  if (results.empty()) Fail("{}: wanted is empty, expected the numbers of inputs of {}", call.op.name, forward.name);
  return results;
}

std::vector<ValueId> Decompose(Graph& graph, const Node& node) {
  const OpDef& forward = ForwardOf(*node.op);
  const std::vector<ValueId> inputs(node.inputs.begin() + 1, node.inputs.end());
  const std::vector<ValueId> outputs = graph.Add(forward.name, inputs, ForwardAttrs(node.attrs));
  const Node added = graph.node(graph.value(outputs[0]).producer);
  std::vector<ValueId> grads = NoValues(added.outputs.size());
  grads[0] = node.inputs[0];
  const auto& numbers = Get<std::vector<int64_t>>(node.attrs, "wanted");
  std::vector<bool> wanted(added.inputs.size());
  for (const int64_t i : numbers) wanted[static_cast<size_t>(i)] = true;
  const std::vector<ValueId> gradients = forward.gradient(graph, added, grads, wanted);
  std::vector<ValueId> results;
  for (const int64_t i : numbers) {
    const TensorDesc desc = {graph.desc(inputs[static_cast<size_t>(i)]).dtype, graph.desc(inputs[static_cast<size_t>(i)]).shape};
    const ValueId gradient = gradients[static_cast<size_t>(i)];
    results.push_back(gradient == kNone ? Emit(graph).Zeros(desc) : gradient);
  }
  return results;
}

// By interpreting what the call decomposes to.
void Reference(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  Graph graph("backward");
  Node node = {.op = &call.op, .attrs = call.attrs};
  std::vector<HostTensor> given;
  for (size_t i = 0; i < in.size(); ++i) {
    node.inputs.push_back(in[i] ? graph.AddInput(fmt::format("x{}", i), in[i]->desc()) : kNone);
    if (in[i]) given.push_back(*in[i]);
  }
  const std::vector<ValueId> values = Decompose(graph, node);
  for (size_t i = 0; i < values.size(); ++i) graph.AddOutput(fmt::format("y{}", i), values[i]);
  std::vector<HostTensor> results = Interpret(graph, given);
  for (size_t i = 0; i < out.size(); ++i) out[i] = std::move(results[i]);
}

// The backward ops of all ops that have a gradient, by name.
struct BackwardTable {
  std::deque<std::string> names;                             // what the views below point to
  std::map<std::string_view, OpDef> ops;

  BackwardTable() {
    for (const OpDef* op : AllOps()) {
      if (op->gradient == nullptr || op->internal) continue;
      const std::string_view name = names.emplace_back(std::string(op->name) + std::string(kBackwardSuffix));
      OpDef backward = {.name = name,
                        .min_inputs = op->min_inputs + 1,
                        .max_inputs = op->max_inputs < 0 ? -1 : op->max_inputs + 1,
                        .attrs = op->attrs,
                        .infer = Infer,
                        .reference = Reference,
                        .decompose = Decompose};
      backward.attrs.push_back({"wanted", AttrSpec::Type::kInts});
      ops.emplace(name, std::move(backward));
    }
  }
};

}  // namespace

const OpDef* FindBackwardOp(std::string_view name) {
  if (!name.ends_with(kBackwardSuffix)) return nullptr;
  static const BackwardTable table;
  const auto found = table.ops.find(name);
  return found == table.ops.end() ? nullptr : &found->second;
}

}  // namespace athanor
