#pragma once

#include "ops/graph.h"

namespace athanor {

// The joint graph of a fragment and its gradients, by reverse mode: all inputs and outputs of `forward`, and
//   inputs   grad.OUT   for each floating-point output OUT: the gradient of the loss with respect to it, of its dtype and shape;
//   outputs  grad.NAME  for each input NAME that wants its gradient; zeros where no output depends on it.
// Throws Error naming the op where one on the way has no gradient.
Graph Gradient(const Graph& forward);

}  // namespace athanor
