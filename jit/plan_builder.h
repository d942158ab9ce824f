#pragma once

#include <string>
#include <utility>
#include <vector>

#include "jit/plan.h"
#include "ops/graph.h"

namespace athanor {

// An output that is written where an input lives: a parameter updated in place.
struct InPlace {
  std::string output, input;
};

// Cuts a core graph (see Decompose) into kernel plans and places every stored value. Kernels that write an in-place output run
// after every other reader of its input. Throws Error when an in-place pair does not exist, differs in dtype or shape, or is read
// by the kernel that writes it other than element by element.
Program BuildProgram(const Graph& core, const std::vector<InPlace>& in_place = {});

}  // namespace athanor
