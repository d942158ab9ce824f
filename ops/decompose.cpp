#include "ops/decompose.h"

#include <algorithm>

#include "ops/error.h"
#include "ops/op.h"
#include "ops/rewrite/rebuilder.h"
#include "ops/rewrite/rewrite.h"
#include "ops/rewrite/simplify.h"

namespace athanor {
namespace {

bool HasRule(const Node& node) { return node.op->decompose != nullptr; }

// Replaces every node that has a decompose rule and is not in core form; `more`: what came of it may not be in core form either.
Graph DecomposeOnce(const Graph& graph, bool* more) {
  int64_t kept = 0;                                          // nodes with rules, which are in core form
  Rebuilder rebuilder(graph);
  Graph result = rebuilder.Run([&](NodeId n) {
    const Node& node = graph.node(n);
    if (!HasRule(node)) return false;
    const Node mapped = rebuilder.Mapped(node);
    const std::vector<ValueId> values = node.op->decompose(rebuilder.graph(), mapped);
    ATHANOR_CHECK(node.op->kind != OpKind::kComposite || !values.empty());
    kept += values.empty();
    rebuilder.Define(node, values.empty() ? rebuilder.Copy(node, mapped) : values);
    return true;
  });
  *more = std::count_if(result.nodes().begin(), result.nodes().end(), HasRule) > kept;
  return result;
}

}  // namespace

Graph Decompose(const Graph& graph) {
  Graph result = Simplify(graph);
  for (bool more = true; more;) result = DecomposeOnce(result, &more);
  return Rewrite(result);
}

}  // namespace athanor
