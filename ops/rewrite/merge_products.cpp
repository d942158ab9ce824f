#include "ops/rewrite/merge_products.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "ops/emit.h"
#include "ops/op.h"
#include "ops/rewrite/graph_facts.h"
#include "ops/rewrite/rebuilder.h"

namespace athanor {
namespace {

constexpr int64_t kFewRows = 32;                             // a product of fewer reads rows of B where they lie, if they are whole

struct Member {
  NodeId product = kNone;
  ValueId part = kNone;                                      // what is concatenated: B, or the transpose of A
  NodeId addition = kNone;                                   // of the bias, and the bias: of the columns of a product
  ValueId bias = kNone;

  bool operator<(const Member& other) const { return std::tie(part, product) < std::tie(other.part, other.product); }
};

struct Group {
  bool of_rows = false;                                      // the products share B
  ValueId shared = kNone;
  std::vector<Member> members;
};

class GroupFinder {
 public:
  explicit GroupFinder(const Graph& graph) : graph_(graph), facts_(graph) {}

  std::vector<Group> Run() {
    // By what they share: along which side, the operand, whether the rest are inputs, whether there are biases.
    std::map<std::tuple<bool, ValueId, bool, bool>, Group> candidates;
    for (NodeId n = 0; n < static_cast<NodeId>(graph_.nodes().size()); ++n) {
      const Node& node = graph_.node(n);
      if (node.op->kind != OpKind::kContract || graph_.desc(node.outputs[0]).rank() != 2) continue;
      const ValueId a = node.inputs[0], b = node.inputs[1];
      const Member columns = WithBias({n, b});
      Add(&candidates[{false, a, IsInput(b), columns.bias != kNone}], false, a, columns);
      if (const ValueId part = Transposed(a); part != kNone) Add(&candidates[{true, b, IsInput(part), false}], true, b, {n, part});
    }
    std::vector<Group> groups;
    for (auto& [key, group] : candidates) {
      if (Choose(&group)) groups.push_back(std::move(group));
    }
    return groups;
  }

 private:
  void Add(Group* group, bool of_rows, ValueId shared, const Member& member) {
    group->of_rows = of_rows, group->shared = shared;
    group->members.push_back(member);
  }

  bool IsInput(ValueId v) const { return graph_.value(facts_.Root(v)).is_input; }
  ValueId Result(const Member& member) const {
    return graph_.node(member.addition == kNone ? member.product : member.addition).outputs[0];
  }

  // The value that `v` is the transpose of; kNone when it is none.
  ValueId Transposed(ValueId v) const {
    const Node* node = facts_.Producer(v);
    return node && node->op->name == "permute" ? node->inputs[0] : kNone;
  }

  bool ReadOnce(ValueId v) const { return facts_.readers(v).size() == 1 && !facts_.IsOutput(v); }

  // A vector that is added to each row of the product's result, if that is all that happens to it.
  Member WithBias(Member member) const {
    ValueId y = graph_.node(member.product).outputs[0];
    const int64_t columns = graph_.desc(y).shape[1];
    if (!ReadOnce(y)) return member;
    NodeId reader = facts_.readers(y)[0];
    if (graph_.node(reader).op->name == "reshape") {         // rows are several dimensions again
      y = graph_.node(reader).outputs[0];
      if (!ReadOnce(y) || graph_.desc(y).shape.empty() || graph_.desc(y).shape.back() != columns) return member;
      reader = facts_.readers(y)[0];
    }
    const Node& node = graph_.node(reader);
    if (node.op->kind != OpKind::kPointwise || node.op->fn != Fn::kAdd || node.inputs[0] != y || node.inputs[1] == y) return member;
    const auto alpha = node.attrs.find("alpha");
    if (alpha != node.attrs.end() && std::get<double>(alpha->second) != 1) return member;
    if (graph_.desc(node.inputs[1]).shape != Shape{columns} || !IsInput(node.inputs[1])) return member;
    member.addition = reader, member.bias = node.inputs[1];
    return member;
  }

  // What a product that computes `v` would store if it carried all pointwise nodes behind it: values that others read as well.
  void FindStored(ValueId v, std::set<ValueId>* seen, std::set<ValueId>* stored) const { FindStored(v, v, seen, stored); }

  // `v` is `root`, or a view of it.
  void FindStored(ValueId v, ValueId root, std::set<ValueId>* seen, std::set<ValueId>* stored) const {
    if (!seen->insert(v).second) return;
    if (facts_.IsOutput(v)) stored->insert(root);
    for (NodeId reader : facts_.readers(v)) {
      const Node& node = graph_.node(reader);
      const bool view = node.op->kind == OpKind::kView, follows = view || node.op->kind == OpKind::kPointwise;
      for (ValueId output : node.outputs) {
        if (!follows || graph_.desc(output).elements() != graph_.desc(v).elements()) {
          stored->insert(root);
        } else {
          FindStored(output, view ? root : output, seen, stored);
        }
      }
    }
  }

  // Nothing is lost when the product does not carry what is behind it. Gradients of weights are stored where several results depend on
  // them (an optimizer's).
  bool IsStored(ValueId v, bool gradient) const {
    std::set<ValueId> seen, stored;
    FindStored(v, &seen, &stored);
    return stored.count(v) > 0 || (gradient && stored.size() > 1);
  }

  // A member that may lie beside others.
  bool Suits(const Group& group, const Member& member) const {
    const bool whole_rows = !group.of_rows && Transposed(member.part) == kNone;
    if (whole_rows && graph_.desc(group.shared).shape[0] < kFewRows) return false;
    return !taken_.count(member.product) && IsStored(Result(member), group.of_rows || !IsInput(member.part));
  }

  bool Choose(Group* group) {
    if (group->members.size() < 2) return false;
    std::vector<Member> members;
    for (const Member& member : group->members) {
      if (Suits(*group, member)) members.push_back(member);
    }
    if (members.size() < 2) return false;
    std::sort(members.begin(), members.end());
    std::vector<ValueId> parts, biases, operands = {group->shared};
    std::set<NodeId> products;
    std::vector<NodeId> united;
    for (const Member& member : members) {
      parts.push_back(member.part);
      if (member.bias != kNone) biases.push_back(member.bias);
      products.insert(member.product);
      united.push_back(member.product);
      const Node& node = graph_.node(member.product);
      operands.insert(operands.end(), node.inputs.begin(), node.inputs.end());
    }
    if (!facts_.CanLieSideBySide(parts, 1) || (!biases.empty() && !facts_.CanLieSideBySide(biases, 0))) return false;
    if (facts_.Needs(operands, products)) return false;
    facts_.Claim(parts, 1);
    facts_.Unite(united);
    taken_.insert(products.begin(), products.end());
    group->members = std::move(members);
    return true;
  }

  const Graph& graph_;
  GraphFacts facts_;
  std::set<NodeId> taken_;
};

// Appends the one product, and defines each member's result as a slice of it.
void Emplace(const Graph& graph, const Group& group, Rebuilder* rebuilder) {
  std::vector<ValueId> parts, biases;
  for (const Member& member : group.members) {
    parts.push_back(rebuilder->Map(member.part));
    if (member.bias != kNone) biases.push_back(rebuilder->Map(member.bias));
  }
  const ValueId shared = rebuilder->Map(group.shared);
  rebuilder->graph().SetOrigin(graph.node(group.members[0].product).origin);
  Emit emit(rebuilder->graph());
  const ValueId side_by_side = emit.Cat(parts, 1);
  ValueId y = group.of_rows ? emit.Contract(emit.Transpose(side_by_side), shared) : emit.Contract(shared, side_by_side);
  if (!biases.empty()) y = emit.Add(y, emit.Cat(biases, 0));
  const int64_t dim = group.of_rows ? 0 : 1;
  int64_t begin = 0;
  for (const Member& member : group.members) {
    const ValueId result = graph.node(member.addition == kNone ? member.product : member.addition).outputs[0];
    const int64_t end = begin + graph.desc(member.part).shape[1];
    rebuilder->Define(result, emit.Reshape(emit.Slice(y, dim, begin, end), graph.desc(result).shape));
    begin = end;
  }
}

}  // namespace

bool MergeProducts(Graph* graph) {
  const std::vector<Group> groups = GroupFinder(*graph).Run();
  if (groups.empty()) return false;
  std::map<NodeId, const Group*> group_of;
  for (const Group& group : groups) {
    for (const Member& member : group.members) group_of[member.addition == kNone ? member.product : member.addition] = &group;
  }
  Rebuilder rebuilder(*graph);
  *graph = rebuilder.Run([&](NodeId n) {
    const auto found = group_of.find(n);
    if (found == group_of.end()) return false;
    Emplace(*graph, *found->second, &rebuilder);
    return true;
  });
  return true;
}

}  // namespace athanor
