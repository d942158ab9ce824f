#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ops/graph.h"
#include "ops/host_tensor.h"

namespace athanor {

// Standard normal elements (booleans and integers: uniform in [0, below)), equal for equal seeds.
HostTensor RandomTensor(DType dtype, Shape shape, uint64_t seed, int64_t below = 2);
HostTensor TensorOf(DType dtype, Shape shape, const std::vector<double>& values);
std::vector<double> Values(const HostTensor& tensor);

// One call of an op. An absent input is an omitted optional argument.
struct OpExample {
  std::string op;
  std::vector<std::optional<HostTensor>> inputs;
  Attrs attrs = {};
};

// The fragment with just this op: inputs "x0", "x1", ..., outputs "y0", "y1", ... Floating-point inputs in `wanted` (all, when
// empty) ask for their gradients.
Graph GraphOf(const OpExample& test, const std::vector<int>& wanted = {});
std::vector<HostTensor> ResultsOf(const OpExample& test);             // through the op's reference

// The message of the Error that building the graph throws; "" when it throws none.
std::string ErrorOf(const OpExample& test);

// Every element of `got` is within `tolerance` of `expected`, relative to the tensor's largest element (at least 1).
void ExpectWithin(const HostTensor& got, const HostTensor& expected, double tolerance, const std::string& what);
void ExpectValues(const HostTensor& got, const std::vector<double>& expected, double tolerance = 1e-12);

// The op's decomposition computes what its reference computes, with only core ops.
void ExpectDecomposes(const OpExample& test, double tolerance = 1e-12);
// The op's gradients, before and after decomposition, are the central differences of its reference. f64 inputs only.
void ExpectGradients(const OpExample& test, const std::vector<int>& wanted = {}, double tolerance = 1e-6);
void ExpectAll(const OpExample& test);                          // both

}  // namespace athanor
