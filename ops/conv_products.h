#pragma once

#include "ops/graph.h"

namespace athanor {

// A convolution of x [batch, channels, height, width] with weight [out_channels, channels / groups, kernel_h, kernel_w], which yields
// y [batch, out_channels, out_height, out_width]. Positions that the windows reach outside of x are zeros; what no window reaches
// has no part in y.
struct ConvForm {
  int64_t batch, channels, height, width;                    // of the input
  int64_t out_channels, kernel_h, kernel_w, out_height, out_width;
  int64_t stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w, groups;
};

// Each appends to `graph` the products that a convolution and its gradients are: they read x and dy through windows (ops/window.h),
// implicit GEMM without an im2col buffer. A kernel equal to its stride (patch embedding) is one product over the patches. The
// gradient of x is a convolution of dy for each phase of the stride (the decomposition of transposed convolutions in Dumoulin
// and Visin, "A guide to convolution arithmetic for deep learning", 2016), that of the weight a product over all pixels.
ValueId EmitConv(Graph& graph, const ConvForm& form, ValueId x, ValueId weight, ValueId bias = kNone);
ValueId EmitConvInputGradient(Graph& graph, const ConvForm& form, ValueId weight, ValueId dy);  // at most kMostPhases
ValueId EmitConvWeightGradient(Graph& graph, const ConvForm& form, ValueId x, ValueId dy);

// Phases of the stride that have pixels: each is a product of its own.
int64_t PhasesOf(const ConvForm& form);
inline constexpr int64_t kMostPhases = 1024;

}  // namespace athanor
