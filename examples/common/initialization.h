#pragma once

#include <cstdint>

#include "examples/common/named_tensors.h"

// The first values of an image network's parameters, drawn from `seed` in the order of `model`'s inputs, as torch.nn.Linear and
// torch.nn.Conv2d draw them: uniform within 1 / sqrt(fan-in). Learned positions ("pos") are small. What has "norm" in its name
// starts as the identity, its running statistics as mean 0 and variance 1.
void InitializeAsTorch(const athanor::Graph& model, uint64_t seed, NamedTensors& tensors);
