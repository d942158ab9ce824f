#pragma once

#include <string>
#include <utility>
#include <vector>

#include "jit/plan.h"
#include "jit/views.h"
#include "ops/graph.h"

namespace athanor {

enum class Fusing : uint8_t {
  kAll,
  kNothing,  // every op of the author's graph stores its results, forward and backward: to measure what fusion is worth
};

// Cuts a core graph (see Decompose) into kernel plans and places every stored value. Kernels that write an in-place output run
// after every other reader of its input. Throws Error when an in-place pair does not exist, differs in dtype or shape, is read
// by the kernel that writes it other than element by element, or by one that needs its output.
Program BuildProgram(const Graph& core, const std::vector<InPlace>& in_place = {}, Fusing fusing = Fusing::kAll);

}  // namespace athanor
