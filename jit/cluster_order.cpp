#include "jit/cluster_order.h"

#include <algorithm>
#include <set>
#include <utility>

#include "jit/in_place.h"
#include "ops/error.h"
#include "ops/op.h"

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

// The clusters that write a stored value: its producer's, or those of the parts of a concatenation.
std::set<int> WritersOf(ValueId root, const Graph& graph, const std::vector<ViewOf>& views, const Fusion& fusion) {
  std::set<int> writers;
  std::vector<ValueId> work{root};
  while (!work.empty()) {
    const NodeId producer = graph.value(work.back()).producer;
    work.pop_back();
    if (producer == kNone) continue;
    if (fusion.cluster_of[producer] >= 0) writers.insert(fusion.cluster_of[producer]);
    if (graph.node(producer).op->kind != OpKind::kConcat) continue;
    for (ValueId part : graph.node(producer).inputs) work.push_back(views[part].root);
  }
  return writers;
}

// Whether cluster `c` comes after `other`, given what each directly comes after.
bool ComesAfter(int c, int other, const std::vector<std::set<int>>& before) {
  std::vector<bool> seen(before.size());
  std::vector<int> work{c};
  while (!work.empty()) {
    const int next = work.back();
    work.pop_back();
    if (next == other) return true;
    if (seen[next]) continue;
    seen[next] = true;
    work.insert(work.end(), before[next].begin(), before[next].end());
  }
  return false;
}

}  // namespace

void SortClusters(const Graph& graph, const std::vector<ViewOf>& views, const std::vector<Overwrite>& overwrites, Fusion* fusion) {
  std::vector<Cluster>& clusters = fusion->clusters;
  const int count = static_cast<int>(clusters.size());
  std::vector<std::set<int>> before(count);
  std::vector<Needs> needs;
  for (int c = 0; c < count; ++c) {
    needs.push_back(NeedsOf(c, clusters[c].Members(), graph, views, *fusion));
    before[c] = needs[c].clusters;
  }
  for (const Overwrite& overwrite : overwrites) {
    for (int writer : WritersOf(views[overwrite.output].root, graph, views, *fusion)) {
      for (int c = 0; c < count; ++c) {
        if (c == writer || !needs[c].inputs.count(overwrite.input)) continue;
        if (ComesAfter(c, writer, before)) {                 // a reader of the input waits for what would overwrite it
          const auto output = std::find_if(graph.outputs().begin(), graph.outputs().end(),
                                           [&](const NamedValue& o) { return views[o.value].root == overwrite.output; });
          throw NeedsCopyOfOutput{output->name};
        }
        before[writer].insert(c);
      }
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
    if (next < 0) throw InternalError("clusters form a cycle");
    position[next] = static_cast<int>(sorted.size());
    sorted.push_back(clusters[next]);
  }
  for (int& c : fusion->cluster_of) c = c < 0 ? c : position[c];
  clusters = std::move(sorted);
  for (Cluster& cluster : clusters) std::sort(cluster.nodes.begin(), cluster.nodes.end());
}

}  // namespace athanor
