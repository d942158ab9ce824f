#pragma once

#include "ops/graph.h"

namespace athanor {

// A1 B1 + A2 B2 + ... = [A1 A2 ...] [B1; B2; ...]: one product over a longer k, instead of products that each read and write the sum. The
// gradient of what Q, K and V are projections of is such a sum. Weights (B) are inputs, which the product reads in pieces; the parts of A
// are inputs as well, or results that are written where the concatenation lies. True when something changed.
bool SumProducts(Graph* graph);

}  // namespace athanor
