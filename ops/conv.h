#pragma once

namespace athanor {

// conv2d(x [N, C, H, W], weight [CO, C/groups, KH, KW], bias? [CO]; stride = 1, padding = 0, dilation = 1, groups = 1) as in
// torch.nn.functional. A convolution whose kernel equals its stride (patch embedding, 1x1) is one product over a view of x and is
// compiled and differentiated as that; any other one has a shape rule and a reference, and compiling it is an Error.
void RegisterConvOps();

}  // namespace athanor
