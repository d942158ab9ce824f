#pragma once

namespace athanor {

// Registers `_window`, the core form of everything that slides over a tensor: convolution, pooling, padding, unfold. Each
// dimension in `dim` (ascending) is replaced by two, [extent, kernel], and element (o, k) of them is the input's at
//
//   start + o * stride + k * dilation                      (stride and dilation of either sign; start is minus the padding)
//
// or `fill` where that lies outside the input. All attributes but `fill` are lists with one number for each entry of `dim`.
// It is never an im2col buffer by itself: the JIT reads through it, with bounds on the access.
void RegisterWindowOps();

}  // namespace athanor
