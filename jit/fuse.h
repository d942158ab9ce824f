#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "jit/moments.h"
#include "jit/views.h"
#include "ops/graph.h"

namespace athanor {

// The graph nodes that one kernel computes. Nodes in no cluster are inlined: whoever reads them recomputes them.
struct Cluster {
  enum class Kind : uint8_t { kLoop, kContract, kAttention, kScatter };
  Kind kind = Kind::kLoop;
  NodeId anchor = kNone;                                     // the heavy node; kNone for loops
  std::vector<NodeId> nodes;                                 // in topological order: the anchor and its epilogue, or the loop's members
  std::vector<NodeId> prologue;                              // contract: row statistics of A
  std::vector<NodeId> side_sums;                             // contract: sums of A over k (bias gradients)
  std::optional<Moments> moments;                            // contract: of the rows of what it stores
  int64_t rows = 0, cols = 0;                                // loop: the row space; 0 for a plain pointwise space

  std::vector<NodeId> Members() const;
};

struct Fusion {
  std::vector<Cluster> clusters;                             // in execution order
  std::vector<int> cluster_of;                               // for each node, -1: inlined (or a view or a concatenation)
};

// Cuts a core graph (after InsertCopies) into kernels, by bytes moved:
//   1. a contraction carries the pointwise nodes behind it, down to the cut with the fewest stored bytes;
//   2. a contraction carries the row statistics in front of its A operand, the sums of A over k, and the moments of its result's rows;
//   3. a pointwise value is inlined into its readers unless storing it moves fewer bytes;
//   4. the remaining reductions and stored pointwise values join where they share a row space and operands.
// `stored` names values that must be in memory because an earlier attempt found no access map through them.
// `overwrites` orders clusters: an output that lives where an input lives is written after every other reader of that input. Throws
// NeedsCopyOfOutput where such a reader needs the output.
struct Overwrite {
  ValueId output = kNone, input = kNone;
};
Fusion Fuse(const Graph& graph, const std::vector<ViewOf>& views, const std::set<ValueId>& stored,
            const std::vector<Overwrite>& overwrites = {});

}  // namespace athanor
