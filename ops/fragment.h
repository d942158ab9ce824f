#pragma once

#include <string>
#include <string_view>

#include "ops/graph.h"

namespace athanor {

// Fragment files, "athanor.fragment/1" (docs/fragment-format.md). Reading throws Error that begins with `where` and names the place
// in the file. Nodes may stand in any order that has no cycle.
Graph ReadFragment(std::string_view json, std::string_view where);
Graph LoadFragment(const std::string& path);
// The inverse. Throws Error for a graph with internal ops.
std::string WriteFragment(const Graph& graph);

}  // namespace athanor
