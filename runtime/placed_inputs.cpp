#include "runtime/placed_inputs.h"

#include <algorithm>

#include "ops/error.h"
#include "runtime/strided_copy.h"

namespace athanor {
namespace {

std::vector<std::byte> Spread(const Value& value, const HostTensor& dense) {
  const TensorDesc& desc = value.desc;
  const std::vector<int64_t> steps = ContiguousStrides(desc.shape);
  const int64_t size = SizeOf(desc.dtype);
  std::vector<std::byte> memory(static_cast<size_t>(desc.storage_elements() * size));
  StridedCopy(desc.shape, size, dense.data(), steps, memory.data(), desc.strides);
  // Where elements share memory their values must agree.
  std::vector<std::byte> back(static_cast<size_t>(dense.bytes()));
  StridedCopy(desc.shape, size, memory.data(), desc.strides, back.data(), steps);
  if (!std::equal(back.begin(), back.end(), dense.data())) {
    Fail("input '{}': its strides let elements overlap to which different values are given", value.name);
  }
  return memory;
}

}  // namespace

PlacedInputs::PlacedInputs(const Graph& graph, const std::vector<HostTensor>& dense) {
  for (size_t i = 0; i < dense.size(); ++i) {
    const Value& value = graph.value(graph.inputs()[i]);
    const bool spread = !value.desc.contiguous();
    if (spread) memory_.push_back(Spread(value, dense[i]));
    pointers_.push_back(spread ? memory_.back().data() : dense[i].data());
  }
}

}  // namespace athanor
