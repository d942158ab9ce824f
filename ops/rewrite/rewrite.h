#pragma once

#include "ops/graph.h"

namespace athanor {

// A core graph by the identities of this folder, one after the other. Each is a function of its own: it takes a core graph and changes it
// to an equal one, in which less is left to do.
Graph Rewrite(const Graph& core);

}  // namespace athanor
