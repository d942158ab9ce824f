#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "jit/in_place.h"
#include "ops/graph.h"
#include "ops/layout.h"

namespace athanor {

// A value seen through its views: `layout` maps the value's own index space to flat row-major indices of `root`, which no view
// op produced.
struct ViewOf {
  ValueId root = kNone;
  Layout layout;
};

// Resolves every value of a core graph through its view ops. Before InsertCopies, a view without a separable form is its own root.
std::vector<ViewOf> ResolveViews(const Graph& graph);

// The inverse of a bijection between an index space and flat indices 0 .. n-1: maps flat indices (one dimension) to flat row-major
// indices of `layout`'s space. Nothing when `layout` is no such bijection.
std::optional<Layout> Invert(const Layout& layout, int64_t n);

// What has to be copied for reasons that show only when kernels are built, by names; see InsertCopies.
struct ExtraCopies {
  std::set<std::string> outputs;
  std::set<std::string> inputs;
  bool read_in_pieces = true;
};

// Adds a copy (a cast to the same dtype) wherever a value has to be stored anew:
//   - in front of a view that has no separable form over what is already a view,
//   - for a graph output that is an input, a constant, only a part of another value, or the same value as another output,
//   - in front of a window over dimensions, or a gather from rows, that have no single stride,
//   - for a part of a concatenation that its producer can't write in place,
//   - for the table of a _scatter_rows, whose result is then the copy with some rows overwritten. There is none where the table is an input
//     that nothing else reads and the result is the output that lives in its memory, by `in_place`,
//   - for `extra.outputs`, which must be computed elsewhere than where they are wanted,
//   - of `extra.inputs`, whose strides no access map leads through.
// A concatenation of inputs that only products and pointwise nodes read is left as it is, to be read in pieces; not so without
// `extra.read_in_pieces`.
Graph InsertCopies(const Graph& graph, const std::vector<InPlace>& in_place = {}, const ExtraCopies& extra = {});

// A concatenation (of a graph that has passed InsertCopies) that is never stored: its readers find the parts where these lie.
bool IsReadInPieces(const Graph& graph, const std::vector<ViewOf>& views, const Node& node);

}  // namespace athanor
