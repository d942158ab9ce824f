#pragma once

#include <functional>
#include <span>
#include <vector>

#include "ops/graph.h"
#include "ops/host_tensor.h"

namespace athanor {

// Computes a graph op by op with the ops' own reference implementations: slow, plain, and the oracle of every test. `inputs` are
// dense tensors in the order of graph.inputs() (strides of descs do not matter here); returns the outputs in order. Throws Error
// when an input's dtype or shape differs from its desc.
std::vector<HostTensor> Interpret(const Graph& graph, std::span<const HostTensor> inputs);

// The same, but `visit` sees the outputs of each node before anyone reads them, and may change their elements.
using NodeVisitor = std::function<void(const Node& node, std::span<HostTensor> outputs)>;
std::vector<HostTensor> Interpret(const Graph& graph, std::span<const HostTensor> inputs, const NodeVisitor& visit);

// The same without rounding: every floating-point result is f64, whatever its desc says, and so are the outputs. What a graph over bf16 means.
std::vector<HostTensor> InterpretUnrounded(const Graph& graph, std::span<const HostTensor> inputs, const NodeVisitor& visit = nullptr);

}  // namespace athanor
