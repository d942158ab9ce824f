#pragma once

namespace athanor {

// As in torch.nn.functional, on x [N, C, H, W]:
//   conv2d(x, weight [CO, C/groups, KH, KW], bias? [CO]; stride = 1, padding = 0, dilation = 1, groups = 1)
//   conv_transpose2d(x, weight [C, CO/groups, KH, KW], bias? [CO]; ..., output_padding = 0): the gradient of conv2d's input, x being
//     the gradient of its result; H' = (H - 1) stride - 2 padding + dilation (KH - 1) + output_padding + 1.
// Both become the products of ops/conv_products.h.
void RegisterConvOps();

}  // namespace athanor
