#pragma once

#include <cstdint>

#include "ops/graph.h"

namespace athanor {

struct RandomGraphOptions {
  uint32_t seed = 0;
  int steps = 9;                                             // ops, about
  DType dtype = DType::kF32;
  bool smooth = false;                                       // without ops whose gradient jumps where rounding decides
};

// A random graph of the whole vocabulary but the optimizers and the ops of frameworks, over small tensors of odd sizes, some of whose extents are 0 or 1: broadcasts,
// view chains, reductions, products, convolutions, pools, attention. The same options give the same graph anywhere.
Graph RandomGraph(const RandomGraphOptions& options);

}  // namespace athanor
