#include "ops/rewrite/sum_products.h"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "ops/emit.h"
#include "ops/op.h"
#include "ops/rewrite/graph_facts.h"
#include "ops/rewrite/rebuilder.h"

namespace athanor {
namespace {

// A tree of additions whose inner values nobody else reads.
struct Sum {
  NodeId top = kNone;
  std::vector<ValueId> rest;                                 // addends that stay
  std::vector<const Node*> products;                         // in the order of their A
};

class SumFinder {
 public:
  explicit SumFinder(const Graph& graph) : graph_(graph), facts_(graph) {}

  std::map<NodeId, Sum> Run() {
    std::map<NodeId, Sum> sums;
    for (NodeId n = static_cast<NodeId>(graph_.nodes().size()) - 1; n >= 0; --n) {
      if (!IsSum(n) || inner_.count(n)) continue;
      Sum sum{n, {}, {}};
      for (ValueId v : graph_.node(n).inputs) Collect(v, &sum);
      if (Choose(&sum)) sums[n] = std::move(sum);
    }
    return sums;
  }

 private:
  bool IsSum(NodeId n) const {
    const Node& node = graph_.node(n);
    if (node.op->kind != OpKind::kPointwise || node.op->fn != Fn::kAdd || node.inputs.size() != 2) return false;
    const auto alpha = node.attrs.find("alpha");
    return alpha == node.attrs.end() || std::get<double>(alpha->second) == 1;
  }

  bool ReadOnce(ValueId v) const { return facts_.readers(v).size() == 1 && !facts_.IsOutput(v); }

  // The product that a value is, seen through reshapes; null when it is none, or when others read it.
  const Node* ProductOf(ValueId v) const {
    const Node* node = facts_.Producer(v);
    while (node && node->op->name == "reshape" && ReadOnce(v)) v = node->inputs[0], node = facts_.Producer(v);
    return node && node->op->kind == OpKind::kContract && graph_.desc(v).rank() == 2 && ReadOnce(v) ? node : nullptr;
  }

  void Collect(ValueId v, Sum* sum) {
    const NodeId producer = graph_.value(v).producer;
    const bool same = graph_.desc(v).shape == graph_.desc(graph_.node(sum->top).outputs[0]).shape;
    if (same && producer != kNone && IsSum(producer) && ReadOnce(v)) {
      inner_.insert(producer);
      for (ValueId input : graph_.node(producer).inputs) Collect(input, sum);
    } else if (const Node* product = same ? ProductOf(v) : nullptr; product && Suits(*product)) {
      sum->products.push_back(product);
    } else {
      sum->rest.push_back(v);
    }
  }

  // A that is stored in any case: a product's result, an input, or what products read along both dimensions (a gradient).
  bool Suits(const Node& product) const {
    const ValueId a = product.inputs[0];
    if (!graph_.value(facts_.Root(product.inputs[1])).is_input) return false;
    const Node* producer = facts_.Producer(facts_.Root(a));
    if (!producer || producer->op->kind != OpKind::kPointwise) return true;
    return std::any_of(facts_.readers(a).begin(), facts_.readers(a).end(), [&](NodeId reader) {
      const Node& node = graph_.node(reader);
      if (node.op->name != "permute") return false;
      const std::vector<NodeId>& next = facts_.readers(node.outputs[0]);
      return std::any_of(next.begin(), next.end(), [&](NodeId n) {
        return graph_.node(n).op->kind == OpKind::kContract && graph_.node(n).inputs[0] == node.outputs[0];
      });
    });
  }

  bool Choose(Sum* sum) {
    auto& products = sum->products;
    if (products.size() < 2) return false;
    std::sort(products.begin(), products.end(), [](const Node* x, const Node* y) { return x->inputs[0] < y->inputs[0]; });
    std::vector<ValueId> a, b;
    for (const Node* product : products) a.push_back(product->inputs[0]), b.push_back(product->inputs[1]);
    if (!facts_.CanLieSideBySide(a, 1) || !facts_.CanLieSideBySide(b, 0)) return false;
    facts_.Claim(a, 1);
    return true;
  }

  const Graph& graph_;
  GraphFacts facts_;
  std::set<NodeId> inner_;
};

}  // namespace

bool SumProducts(Graph* graph) {
  const std::map<NodeId, Sum> sums = SumFinder(*graph).Run();
  if (sums.empty()) return false;
  Rebuilder rebuilder(*graph);
  *graph = rebuilder.Run([&](NodeId n) {
    const auto found = sums.find(n);
    if (found == sums.end()) return false;
    const Sum& sum = found->second;
    std::vector<ValueId> a, b, rest;
    for (const Node* product : sum.products) a.push_back(rebuilder.Map(product->inputs[0])), b.push_back(rebuilder.Map(product->inputs[1]));
    for (ValueId v : sum.rest) rest.push_back(rebuilder.Map(v));
    const Node& node = graph->node(n);
    rebuilder.graph().SetOrigin(sum.products[0]->origin);
    Emit emit(rebuilder.graph());
    ValueId total = emit.Reshape(emit.Contract(emit.Cat(a, 1), emit.Cat(b, 0)), graph->desc(node.outputs[0]).shape);
    rebuilder.graph().SetOrigin(node.origin);
    for (ValueId v : rest) total = emit.Add(v, total);
    rebuilder.Define(node, {total});
    return true;
  });
  return true;
}

}  // namespace athanor
