#include "jit/dependency_order.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace athanor {

DependencyOrder::DependencyOrder(const Graph& graph, const std::vector<ViewOf>& views)
    : needs_(graph.nodes().size()), group_of_(needs_.size()), members_(needs_.size()), rank_(needs_.size()), order_(needs_.size()) {
  std::iota(group_of_.begin(), group_of_.end(), 0);
  std::iota(rank_.begin(), rank_.end(), 0);
  std::iota(order_.begin(), order_.end(), 0);
  for (NodeId n = 0; n < static_cast<int>(needs_.size()); ++n) {
    members_[n].push_back(n);
    for (ValueId v : graph.node(n).inputs) {
      const NodeId producer = v == kNone ? kNone : graph.value(views[v].root).producer;
      if (producer != kNone) needs_[n].push_back(producer);
    }
  }
}

void DependencyOrder::Merge(NodeId a, NodeId b) {
  int first = group_of_[a], last = group_of_[b];
  if (first == last) return;
  if (rank_[first] > rank_[last]) std::swap(first, last);
  const int begin = rank_[first], end = rank_[last] + 1;
  std::vector<bool> needed(members_.size());                 // by the last
  Reaches({members_[last].front()}, begin, [&](NodeId n) {
    needed[group_of_[n]] = true;
    return false;
  });
  // From the first to the last: what the last needs comes before both, what needs the first besides joins them, the rest comes after.
  std::vector<int> mended, followers;
  for (int r = begin; r < end; ++r) {
    const int group = order_[r];
    if (group == kNone || group == first) continue;
    if (group == last || (needed[group] && Needs(group, first))) {
      for (NodeId n : members_[group]) group_of_[n] = first;
      members_[first].insert(members_[first].end(), members_[group].begin(), members_[group].end());
      members_[group].clear();
    } else {
      (needed[group] ? mended : followers).push_back(group);
    }
  }
  mended.push_back(first);
  mended.insert(mended.end(), followers.begin(), followers.end());
  mended.resize(end - begin, kNone);
  for (int r = begin; r < end; ++r) {
    order_[r] = mended[r - begin];
    if (order_[r] != kNone) rank_[order_[r]] = r;
  }
}

bool DependencyOrder::Needs(int group, int other) const {
  return std::any_of(members_[group].begin(), members_[group].end(), [&](NodeId n) {
    return std::any_of(needs_[n].begin(), needs_[n].end(), [&](NodeId before) { return group_of_[before] == other; });
  });
}

}  // namespace athanor
