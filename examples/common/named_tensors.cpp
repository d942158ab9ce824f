#include "examples/common/named_tensors.h"

float* Floats(athanor::HostTensor& tensor) { return reinterpret_cast<float*>(tensor.data()); }

std::vector<const void*> InputsOf(const athanor::Graph& graph, const NamedTensors& tensors) {
  std::vector<const void*> inputs;
  for (athanor::ValueId input : graph.inputs()) inputs.push_back(tensors.at(graph.value(input).name).data());
  return inputs;
}
