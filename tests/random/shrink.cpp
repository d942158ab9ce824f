#include "tests/random/shrink.h"

#include <set>

#include "ops/op.h"

namespace athanor {
namespace {

// What to leave out of a graph.
struct Edit {
  std::vector<NamedValue> outputs;
  std::set<ValueId> cut;                                     // computed values that become inputs
  std::set<ValueId> plain;                                   // inputs that want no gradient and have no strides
  bool widen = false;
};

class Editor {
 public:
  Editor(const Graph& from, const Edit& edit) : from_(from), edit_(edit), to_(from.name()), map_(from.values().size(), kNone) {}

  Graph Run() {
    if (edit_.widen) {                                       // all inputs, in their order
      for (const ValueId input : from_.inputs()) Map(input);
    }
    for (const NamedValue& output : edit_.outputs) {
      const ValueId value = Map(output.value);
      to_.AddOutput(output.name, value);
    }
    return std::move(to_);
  }

 private:
  DType Type(DType dtype) const { return edit_.widen && dtype == DType::kF32 ? DType::kF64 : dtype; }

  // Only what an output needs is copied, inputs in the order of their first use.
  ValueId Map(ValueId v) {
    if (v == kNone || map_[v] != kNone) return v == kNone ? kNone : map_[v];
    const Value& value = from_.value(v);
    if (value.constant) return map_[v] = to_.AddConstant(*value.constant, Type(value.desc.dtype));
    TensorDesc desc = value.desc;
    desc.dtype = Type(desc.dtype);
    if (value.is_input || edit_.cut.count(v)) {
      if (edit_.plain.count(v)) desc.strides.clear();
      const bool grad = value.is_input ? value.wants_grad && !edit_.plain.count(v) : IsFloat(desc.dtype);
      return map_[v] = to_.AddInput(value.name, desc, grad);
    }
    const Node& node = from_.node(value.producer);
    std::vector<ValueId> inputs;
    for (const ValueId input : node.inputs) inputs.push_back(Map(input));
    Attrs attrs = node.attrs;
    if (auto dtype = attrs.find("dtype"); dtype != attrs.end() && edit_.widen && std::get<std::string>(dtype->second) == "f32") {
      dtype->second = std::string("f64");
    }
    std::vector<std::string> names;
    for (const ValueId output : node.outputs) names.push_back(from_.value(output).name);
    const std::vector<ValueId> outputs = to_.Add(node.op->name, inputs, attrs, names);
    for (size_t i = 0; i < outputs.size(); ++i) map_[node.outputs[i]] = outputs[i];
    return map_[v];
  }

  const Graph& from_;
  const Edit& edit_;
  Graph to_;
  std::vector<ValueId> map_;
};

Graph Edited(const Graph& graph, const Edit& edit) { return Editor(graph, edit).Run(); }

// The next smaller graph in which it still fails.
std::optional<Graph> ShrinkOnce(const Graph& graph, const std::function<bool(const Graph&)>& fails, const std::function<bool()>& keep_on) {
  std::vector<Edit> edits;
  const auto add = [&](auto change) {
    Edit edit;
    edit.outputs = graph.outputs();
    change(&edit);
    edits.push_back(std::move(edit));
  };
  for (const Node& node : graph.nodes()) {                   // an earlier value as the only output: the first is the smallest
    for (const ValueId v : node.outputs) {
      const bool same = graph.outputs().size() == 1 && graph.outputs()[0].value == v;
      if (!same) add([&](Edit* edit) { edit->outputs = {{"y", v}}; });
    }
  }
  for (size_t n = graph.nodes().size(); n-- > 0;) {          // an input in the place of a late value: the first cuts most
    for (const ValueId v : graph.nodes()[n].outputs) {
      bool output = false;
      for (const NamedValue& named : graph.outputs()) output |= named.value == v;
      if (!output) add([&](Edit* edit) { edit->cut = {v}; });
    }
  }
  for (const ValueId v : graph.inputs()) {
    if (graph.value(v).wants_grad || !graph.desc(v).strides.empty()) add([&](Edit* edit) { edit->plain = {v}; });
  }
  for (const Edit& edit : edits) {
    if (!keep_on()) return std::nullopt;
    Graph smaller = Edited(graph, edit);
    const bool less = smaller.nodes().size() < graph.nodes().size() || !edit.plain.empty();
    if (less && fails(smaller)) return smaller;
  }
  return std::nullopt;
}

}  // namespace

Graph Shrink(const Graph& graph, const std::function<bool(const Graph&)>& fails, const std::function<bool()>& keep_on) {
  Graph smallest = graph;
  while (std::optional<Graph> smaller = ShrinkOnce(smallest, fails, keep_on)) smallest = std::move(*smaller);
  return smallest;
}

Graph Widened(const Graph& graph) {
  Edit edit;
  edit.outputs = graph.outputs();
  edit.widen = true;
  return Edited(graph, edit);
}

}  // namespace athanor
