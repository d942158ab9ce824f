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
// after every other reader of its input. Where the input is read other than element by element by the kernel that writes the output, or by
// one that needs the output, the output is computed elsewhere and copied at the end. Throws Error when an in-place pair does not exist,
// differs in dtype or shape, or names an output or an input that another pair names.
Program BuildProgram(const Graph& core, const std::vector<InPlace>& in_place = {}, Fusing fusing = Fusing::kAll);

}  // namespace athanor
