#pragma once

#include <map>
#include <string>
#include <vector>

#include "ops/graph.h"
#include "ops/host_tensor.h"

using NamedTensors = std::map<std::string, athanor::HostTensor>;

float* Floats(athanor::HostTensor& tensor);  // of an f32 tensor

// The pointers of `graph`'s inputs among `tensors`, which holds one for each of them.
std::vector<const void*> InputsOf(const athanor::Graph& graph, const NamedTensors& tensors);
