#pragma once

namespace athanor {

// sum, mean and amax over `dim` (a number or a list; omitted or empty: all dimensions), with `keepdim`; meaning as in torch. Sums of
// integers and booleans are i64; sums and means of f16 and bf16 are accumulated in f32. The gradient of amax is shared evenly among
// equal elements. amax over no elements is refused.
void RegisterReduceOps();

}  // namespace athanor
