#include "ops/rewrite/rewrite.h"

#include "ops/rewrite/merge_products.h"
#include "ops/rewrite/simplify.h"
#include "ops/rewrite/sum_products.h"

namespace athanor {

Graph Rewrite(const Graph& core) {
  Graph graph = Simplify(core);
  const bool summed = SumProducts(&graph), merged = MergeProducts(&graph);
  return summed || merged ? Simplify(graph) : graph;
}

}  // namespace athanor
