#pragma once

namespace athanor {

// Registers max_pool2d and avg_pool2d over [batch, channels, height, width] or [channels, height, width].
//
// Core form: a pool is a pointwise function of its taps, one shifted window each; windows of more than a few taps are pooled along one
// axis after the other. max_pool2d's gradient follows PyTorch: to the first maximum of a window in row-major order, to its last NaN
// where it has one. Forward and backward share the maxima; the backward remembers where each lies within its window, then gathers:
// a pixel looks at the windows that contain it.
void RegisterPoolOps();

}  // namespace athanor
