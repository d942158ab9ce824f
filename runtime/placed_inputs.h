#pragma once

#include <cstddef>
#include <vector>

#include "ops/graph.h"
#include "ops/host_tensor.h"

namespace athanor {

// A graph's inputs in memory as an executable reads them: those with strides spread out, the others used where they lie, which they have to outlive
// this for. Throws Error where strides let elements overlap to which `dense` gives different values.
class PlacedInputs {
 public:
  PlacedInputs(const Graph& graph, const std::vector<HostTensor>& dense);
  const std::vector<const void*>& pointers() const { return pointers_; }

 private:
  std::vector<std::vector<std::byte>> memory_;
  std::vector<const void*> pointers_;
};

}  // namespace athanor
