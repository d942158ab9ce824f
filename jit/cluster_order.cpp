#include "jit/cluster_order.h"

#include <algorithm>
#include <set>
#include <string>

#include "ops/error.h"

namespace athanor {
namespace {

struct Needs {
  std::set<int> clusters;
  std::set<ValueId> inputs;                                  // of the graph
};

// What `work`, nodes of cluster `c`, need of others, looking through inlined nodes and concatenations.
Needs NeedsOf(int c, std::vector<NodeId> work, const Graph& graph, const std::vector<ViewOf>& views, const Fusion& fusion) {
  Needs needs;
  std::set<NodeId> seen;
  while (!work.empty()) {
    const NodeId n = work.back();
    work.pop_back();
    for (ValueId v : graph.node(n).inputs) {
      if (v == kNone) continue;
      const ValueId root = views[v].root;
      const NodeId producer = graph.value(root).producer;
      if (producer == kNone) needs.inputs.insert(root);
      if (producer == kNone || !seen.insert(producer).second) continue;
      const int cluster = fusion.cluster_of[producer];
      if (cluster < 0) work.push_back(producer);
      else if (cluster != c) needs.clusters.insert(cluster);
    }
  }
  return needs;
}

// Without overwrites clusters form no cycle: some reader of an overwritten input waits, in the end, for what overwrites it.
[[noreturn]] void FailFor(const Overwrite& overwrite, const Graph& graph, const std::vector<ViewOf>& views) {
  const auto output = std::find_if(graph.outputs().begin(), graph.outputs().end(),
                                   [&](const NamedValue& o) { return views[o.value].root == overwrite.output; });
  const std::string& input = graph.value(overwrite.input).name;
  Fail("in place: output '{}' would overwrite input '{}', which is still needed for what is computed from it", output->name, input);
}

[[noreturn]] void FailForCycle(const Graph& graph, const std::vector<ViewOf>& views, const std::vector<Overwrite>& overwrites, const Fusion& fusion,
                               const std::vector<int>& position) {
  for (const Overwrite& overwrite : overwrites) {
    const NodeId producer = graph.value(views[overwrite.output].root).producer;
    const int writer = producer == kNone ? -1 : fusion.cluster_of[producer];
    if (writer < 0 || position[writer] >= 0) continue;
    FailFor(overwrite, graph, views);
  }
  throw InternalError("clusters form a cycle");
}

}  // namespace

void SortClusters(const Graph& graph, const std::vector<ViewOf>& views, const std::vector<Overwrite>& overwrites, Fusion* fusion) {
  std::vector<Cluster>& clusters = fusion->clusters;
  const int count = static_cast<int>(clusters.size());
  std::vector<std::set<int>> before(count);
  for (int c = 0; c < count; ++c) {
    const Cluster& cluster = clusters[c];
    const Needs needs = NeedsOf(c, cluster.Members(), graph, views, *fusion);
    // A product reads its operands again and again while it stores; its epilogue, and loops, read what they are about to overwrite.
    std::set<ValueId> operands;
    if (cluster.kind == Cluster::Kind::kContract && !overwrites.empty()) {
      std::vector<NodeId> product = cluster.prologue;
      product.push_back(cluster.anchor);
      operands = NeedsOf(c, std::move(product), graph, views, *fusion).inputs;
    }
    before[c].insert(needs.clusters.begin(), needs.clusters.end());
    for (const Overwrite& overwrite : overwrites) {
      const NodeId producer = graph.value(views[overwrite.output].root).producer;
      const int writer = producer == kNone ? -1 : fusion->cluster_of[producer];
      if (writer == c && operands.count(overwrite.input)) FailFor(overwrite, graph, views);
      if (writer >= 0 && writer != c && needs.inputs.count(overwrite.input)) before[writer].insert(c);
    }
  }
  std::vector<int> position(count, -1);
  std::vector<Cluster> sorted;
  const auto first_node = [&](int c) { return clusters[c].nodes.front(); };
  while (static_cast<int>(sorted.size()) < count) {
    int next = -1;
    for (int c = 0; c < count; ++c) {
      if (position[c] >= 0 || (next >= 0 && first_node(c) > first_node(next))) continue;
      if (std::all_of(before[c].begin(), before[c].end(), [&](int b) { return position[b] >= 0; })) next = c;
    }
    if (next < 0) FailForCycle(graph, views, overwrites, *fusion, position);
    position[next] = static_cast<int>(sorted.size());
    sorted.push_back(clusters[next]);
  }
  for (int& c : fusion->cluster_of) c = c < 0 ? c : position[c];
  clusters = std::move(sorted);
  for (Cluster& cluster : clusters) std::sort(cluster.nodes.begin(), cluster.nodes.end());
}

}  // namespace athanor
