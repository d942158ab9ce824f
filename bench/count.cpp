// The FLOPs and bytes that the roofline is made of. Everything but products, convolutions and attention counts as free.
#include <string>
#include <vector>

#include "bench/harness.h"
#include "ops/op.h"

namespace athanor::bench {
namespace {

// FLOPs of the forward of one node, and how many operands of its product may want a gradient.
struct Work {
  double flops = 0;
  std::vector<int> operands;
};

Work WorkOf(const Graph& graph, const Node& node) {
  auto shape = [&](int i) { return graph.desc(node.inputs[i]).shape; };
  const double outputs = static_cast<double>(graph.desc(node.outputs[0]).elements());
  if (node.op->name == "matmul" || node.op->name == "linear") return {2 * outputs * static_cast<double>(shape(0).back()), {0, 1}};
  const bool transposed = node.op->name == "conv_transpose2d";                   // each element of its input meets the whole kernel
  if (node.op->name == "conv2d" || transposed) {
    const Shape w = shape(1);
    return {2 * (transposed ? static_cast<double>(Product(shape(0))) : outputs) * static_cast<double>(w[1] * w[2] * w[3]), {0, 1}};
  }
  if (node.op->name != "scaled_dot_product_attention") return {};
  const Shape q = shape(0), k = shape(1);
  const double scores = static_cast<double>(Product(q) / q.back()) * static_cast<double>(k[k.size() - 2]);
  const bool causal = Get<bool>(node.attrs, "is_causal");
  return {4 * scores * static_cast<double>(q.back()) / (causal ? 2 : 1), {0, 1, 2}};
}

std::vector<bool> WantsGradient(const Graph& graph) {
  std::vector<bool> wants(graph.values().size());
  for (ValueId v : graph.inputs()) wants[v] = graph.value(v).wants_grad;
  for (const Node& node : graph.nodes()) {
    bool any = false;
    for (ValueId v : node.inputs) any |= v != kNone && wants[v];
    for (ValueId v : node.outputs) wants[v] = any;
  }
  return wants;
}

}  // namespace

double CountFlops(const Graph& forward, bool grad) {
  const std::vector<bool> wants = WantsGradient(forward);
  double flops = 0;
  for (const Node& node : forward.nodes()) {
    const Work product = WorkOf(forward, node);
    int wanted = 0;
    for (int i : product.operands) wanted += wants[node.inputs[i]];
    const bool attention = product.operands.size() == 3;
    flops += product.flops * (1 + (!grad ? 0 : attention ? (wanted > 0 ? 2 : 0) : wanted));
  }
  return flops;
}

double CountBytes(const Graph& forward, bool grad) {
  double bytes = 0;
  auto add = [&](ValueId v) { bytes += static_cast<double>(forward.desc(v).elements() * SizeOf(forward.desc(v).dtype)); };
  for (ValueId input : forward.inputs()) {
    add(input);
    if (grad && forward.value(input).wants_grad) add(input);
  }
  for (const NamedValue& output : forward.outputs()) {
    add(output.value);
    if (grad && IsFloat(forward.desc(output.value).dtype)) add(output.value);
  }
  return bytes;
}

}  // namespace athanor::bench
