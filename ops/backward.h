#pragma once

#include <string_view>

#include "ops/op.h"

namespace athanor {

// For frameworks that differentiate by themselves: for each op F with a gradient there is a composite op
//   F_backward(grad, inputs of F...; attributes of F, wanted) -> the gradients of F's inputs number `wanted` (a list), in its order,
// grad being the gradient of F's first output. What the gradient needs of the forward is computed anew, and only that: an input of which
// it needs no more than the shape may be a broadcast constant. An op registered under such a name takes precedence.
inline constexpr std::string_view kBackwardSuffix = "_backward";
// Null when `name` is no such op.
const OpDef* FindBackwardOp(std::string_view name);

}  // namespace athanor
