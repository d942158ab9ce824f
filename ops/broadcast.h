#pragma once

#include <string_view>
#include <vector>

#include "ops/host_tensor.h"
#include "ops/layout.h"

namespace athanor {

// NumPy's broadcasting of two shapes; throws Error naming the op where they do not fit.
Shape BroadcastShapes(std::string_view op, const Shape& a, const Shape& b);

// The elements of `tensor` at the addresses of `map`, in row-major order of its index space.
std::vector<double> ReadThrough(const HostTensor& tensor, const Layout& map);
// The elements of `tensor` broadcast to `shape`.
std::vector<double> ReadBroadcast(const HostTensor& tensor, const Shape& shape);

}  // namespace athanor
