#pragma once

namespace athanor {

// conv2d(x [N, C, H, W], weight [CO, C/groups, KH, KW], bias? [CO]; stride = 1, padding = 0, dilation = 1, groups = 1) as in
// torch.nn.functional. It becomes products that read x through windows (ops/window.h): implicit GEMM, without an im2col buffer.
// A kernel equal to its stride (patch embedding) is one product over the patches. The gradient of x is a convolution of dy for
// each phase of the stride (the decomposition of transposed convolutions in Dumoulin and Visin, "A guide to convolution arithmetic
// for deep learning", 2016), that of the weight a product over all pixels.
void RegisterConvOps();

}  // namespace athanor
