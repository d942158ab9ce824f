#pragma once

#include "ops/graph.h"

namespace athanor {

// Products of one operand become one product:
//   A B1, A B2, ...      = columns of A [B1 B2 ...]       Q, K and V, with their biases, from one pass over A
//   A1' B, A2' B, ...    = rows of [A1 A2 ...]' B         the gradients of their weights
// The concatenated operands are inputs, which the product reads in pieces, or results that are written where the concatenation lies. Results
// that only pointwise nodes read stay apart: the product that computes one of them carries those nodes. True when something changed.
bool MergeProducts(Graph* graph);

}  // namespace athanor
