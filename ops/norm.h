#pragma once

namespace athanor {

// layer_norm(x, weight?, bias?; normalized_shape, eps = 1e-5) and rms_norm(x, weight?; normalized_shape, eps = machine epsilon
// of the dtype), normalising over the last len(normalized_shape) dimensions; meaning as in torch.nn.functional. Statistics of bf16 and
// f16 tensors are computed in f32.
void RegisterNormOps();

}  // namespace athanor
