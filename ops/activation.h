#pragma once

namespace athanor {

// relu, gelu (approximate = "none" or "tanh"), silu and clamp, meaning as in PyTorch; f16 and bf16 are computed in f32.
// clamp(x, min?, max?; min, max) takes its bounds as tensors that broadcast or as attributes; at least one is needed.
void RegisterActivationOps();

}  // namespace athanor
