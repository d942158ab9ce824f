#pragma once

#include "jit/plan.h"

namespace athanor {

// Joins pointwise kernels over flat spaces that compute the same expressions on different tensors (the optimizer's step of each
// parameter) into one kernel with an instance for each. Only kernels whose results no other kernel reads are joined.
void MergeForeach(Program* program);

}  // namespace athanor
