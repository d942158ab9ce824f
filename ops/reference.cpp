#include "ops/reference.h"

#include <map>
#include <utility>

#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

enum class Rounding : uint8_t { kToDType, kNone };

// What holds values of `dtype`.
DType Holder(DType dtype, Rounding rounding) { return rounding == Rounding::kNone && IsFloat(dtype) ? DType::kF64 : dtype; }

HostTensor Scalar(const Value& constant, Rounding rounding) {
  HostTensor tensor(Holder(constant.desc.dtype, rounding), {});
  tensor.Set(0, *constant.constant);
  return tensor;
}

void CheckInput(const Value& value, const HostTensor& given) {
  if (given.desc().dtype != value.desc.dtype || given.desc().shape != value.desc.shape) {
    Fail("input '{}' is {}, expected {}", value.name, ToString(given.desc()), ToString(TensorDesc{value.desc.dtype, value.desc.shape}));
  }
}

// The node after which each value is read no more; kNone for those that no node reads. Outputs are kept to the end.
std::vector<NodeId> LastReaders(const Graph& graph) {
  std::vector<NodeId> last(graph.values().size(), kNone);
  for (NodeId n = 0; n < static_cast<NodeId>(graph.nodes().size()); ++n) {
    for (const ValueId v : graph.node(n).inputs) {
      if (v != kNone) last[v] = n;
    }
  }
  for (const NamedValue& output : graph.outputs()) last[output.value] = static_cast<NodeId>(graph.nodes().size());
  return last;
}

std::vector<HostTensor> Run(const Graph& graph, std::span<const HostTensor> inputs, const NodeVisitor& visit, Rounding rounding) {
  if (inputs.size() != graph.inputs().size()) Fail("{} inputs given, {} expected", inputs.size(), graph.inputs().size());
  std::map<ValueId, HostTensor> computed;
  std::vector<const HostTensor*> tensors(graph.values().size(), nullptr);
  for (size_t i = 0; i < inputs.size(); ++i) {
    CheckInput(graph.value(graph.inputs()[i]), inputs[i]);
    tensors[graph.inputs()[i]] = &inputs[i];
  }
  for (ValueId v = 0; v < static_cast<ValueId>(graph.values().size()); ++v) {
    if (graph.value(v).constant) tensors[v] = &(computed[v] = Scalar(graph.value(v), rounding));
  }
  const std::vector<NodeId> last = LastReaders(graph);
  for (NodeId n = 0; n < static_cast<NodeId>(graph.nodes().size()); ++n) {
    const Node& node = graph.node(n);
    std::vector<const HostTensor*> in;
    for (ValueId v : node.inputs) in.push_back(v == kNone ? nullptr : tensors[v]);
    std::vector<HostTensor> out;
    for (ValueId v : node.outputs) out.emplace_back(Holder(graph.desc(v).dtype, rounding), graph.desc(v).shape);
    node.op->reference({*node.op, graph, node.inputs, node.attrs}, in, out);
    if (visit) visit(node, out);
    for (size_t i = 0; i < out.size(); ++i) {
      if (last[node.outputs[i]] != kNone) tensors[node.outputs[i]] = &(computed[node.outputs[i]] = std::move(out[i]));
    }
    for (const ValueId v : node.inputs) {
      if (v != kNone && last[v] == n) computed.erase(v);
    }
  }
  std::vector<HostTensor> outputs;
  for (const NamedValue& output : graph.outputs()) outputs.push_back(*tensors[output.value]);
  return outputs;
}

}  // namespace

std::vector<HostTensor> Interpret(const Graph& graph, std::span<const HostTensor> inputs) { return Interpret(graph, inputs, nullptr); }

std::vector<HostTensor> Interpret(const Graph& graph, std::span<const HostTensor> inputs, const NodeVisitor& visit) {
  return Run(graph, inputs, visit, Rounding::kToDType);
}

std::vector<HostTensor> InterpretUnrounded(const Graph& graph, std::span<const HostTensor> inputs, const NodeVisitor& visit) {
  return Run(graph, inputs, visit, Rounding::kNone);
}

}  // namespace athanor
