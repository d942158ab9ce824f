#include "ops/decompose.h"

#include "ops/error.h"
#include "ops/op.h"
#include "ops/rewrite/rebuilder.h"
#include "ops/rewrite/rewrite.h"
#include "ops/rewrite/simplify.h"

namespace athanor {
namespace {

// Replaces every node that has a decompose rule and is not in core form; false in `changed` when there was none.
Graph DecomposeOnce(const Graph& graph, bool* changed) {
  Rebuilder rebuilder(graph);
  return rebuilder.Run([&](NodeId n) {
    const Node& node = graph.node(n);
    const Node mapped = rebuilder.Mapped(node);
    std::vector<ValueId> values;
    if (node.op->decompose) values = node.op->decompose(rebuilder.graph(), mapped);
    ATHANOR_CHECK(node.op->kind != OpKind::kComposite || !values.empty());
    *changed |= !values.empty();
    rebuilder.Define(node, values.empty() ? rebuilder.Copy(node, mapped) : values);
    return true;
  });
}

}  // namespace

Graph Decompose(const Graph& graph) {
  Graph result = Simplify(graph);
  for (bool changed = true; changed;) {
    changed = false;
    result = DecomposeOnce(result, &changed);
  }
  return Rewrite(result);
}

}  // namespace athanor
