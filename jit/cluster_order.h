#pragma once

#include <vector>

#include "jit/fuse.h"

namespace athanor {

// Puts clusters in an order in which each comes after what it reads, and an overwritten input's readers before its writer; of those that
// are ready, the one that comes first in the graph, which keeps values short-lived. Sorts each cluster's nodes. Throws NeedsCopyOfOutput where an overwritten
// input has a reader that needs what overwrites it.
void SortClusters(const Graph& graph, const std::vector<ViewOf>& views, const std::vector<Overwrite>& overwrites, Fusion* fusion);

}  // namespace athanor
