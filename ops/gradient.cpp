#include "ops/gradient.h"

#include <string>
#include <vector>

#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

// Values through which a wanted gradient flows.
std::vector<bool> OnTheWay(const Graph& graph) {
  std::vector<bool> on_the_way(graph.values().size());
  for (ValueId input : graph.inputs()) on_the_way[input] = graph.value(input).wants_grad;
  for (const Node& node : graph.nodes()) {
    bool any = false;
    for (ValueId v : node.inputs) any |= v != kNone && on_the_way[v];
    for (ValueId v : node.outputs) on_the_way[v] = any && IsFloat(graph.desc(v).dtype);
  }
  return on_the_way;
}

class Differentiator {
 public:
  explicit Differentiator(const Graph& forward)
      : forward_(forward), joint_(forward), on_the_way_(OnTheWay(forward)), grads_(forward.values().size(), kNone) {}

  Graph Run() {
    for (const NamedValue& output : forward_.outputs()) {
      const TensorDesc& desc = forward_.desc(output.value);
      if (!IsFloat(desc.dtype)) continue;
      const ValueId grad = joint_.AddInput("grad." + output.name, {desc.dtype, desc.shape});
      if (on_the_way_[output.value]) Accumulate(output.value, grad);
    }
    for (int n = static_cast<int>(forward_.nodes().size()) - 1; n >= 0; --n) {
      joint_.SetOrigin(Origin{n, true});
      Differentiate(forward_.node(n));
    }
    joint_.SetOrigin(std::nullopt);
    for (ValueId input : forward_.inputs()) {
      const Value& value = forward_.value(input);
      if (value.wants_grad) joint_.AddOutput("grad." + value.name, grads_[input] != kNone ? grads_[input] : Zeros(value.desc));
    }
    return std::move(joint_);
  }

 private:
  void Accumulate(ValueId v, ValueId grad) {
    grads_[v] = grads_[v] == kNone ? grad : joint_.Add1("add", {grads_[v], grad});
  }

  ValueId Zeros(const TensorDesc& desc) { return Emit(joint_).Expand(joint_.AddConstant(0, desc.dtype), desc.shape); }

  void Differentiate(const Node& node) {
    std::vector<bool> wanted;
    std::vector<ValueId> grads;
    bool reached = false, any = false;
    for (ValueId v : node.inputs) wanted.push_back(v != kNone && on_the_way_[v]), any |= wanted.back();
    for (ValueId v : node.outputs) grads.push_back(grads_[v]), reached |= grads_[v] != kNone;
    if (!reached || !any) return;
    if (node.op->gradient == nullptr) Fail("{}: has no gradient", node.op->name);
    const std::vector<ValueId> result = node.op->gradient(joint_, node, grads, wanted);
    ATHANOR_CHECK(result.size() == node.inputs.size());
    for (size_t i = 0; i < result.size(); ++i) {
      if (!wanted[i] || result[i] == kNone) continue;
      ATHANOR_CHECK(joint_.desc(result[i]).shape == forward_.desc(node.inputs[i]).shape);
      Accumulate(node.inputs[i], result[i]);
    }
  }

  const Graph& forward_;
  Graph joint_;
  std::vector<bool> on_the_way_;
  std::vector<ValueId> grads_;                               // by forward value
};

}  // namespace

Graph Gradient(const Graph& forward) { return Differentiator(forward).Run(); }

}  // namespace athanor
