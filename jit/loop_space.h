#pragma once

#include <optional>
#include <vector>

#include "jit/body.h"

namespace athanor {

// Rewrites of a body's iteration space that keep its meaning. None of them touches a dimension that a partial store range
// (always on the last dimension) or a reduction names.

// Splits dimensions at the digits' borders, where these divide each other, so that every access has one stride a dimension.
Body SplitDims(const Body& body);
// Drops dimensions of extent 1 and joins neighbours that all accesses step through evenly.
Body CoalesceDims(const Body& body);
// Dimension i of the result is dimension order[i].
Body PermuteDims(const Body& body, const std::vector<int>& order);

// SplitDims and the order of loops that suits memory: the last dimension is the one that most accesses are contiguous along
// (vectors, or the threads of a warp, run along it), the others follow the access that touches most. At least one dimension.
Body LoopOrder(const Body& body);

// The stride along `dim` when the map has one there (0 for extent 1); nothing when it has several digits.
std::optional<int64_t> StrideAlong(const Layout& map, int dim);
bool HasPartialRange(const Body& body);

}  // namespace athanor
