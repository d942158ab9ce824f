#pragma once

namespace athanor {

// Ops that move no data of their own: reshape permute transpose flatten unsqueeze squeeze select slice narrow unbind split chunk
// expand contiguous, meaning as in torch.Tensor. Each has one rule, the layouts of its outputs given that of its input; its shape
// rule is what the rule makes of a contiguous layout. `contiguous` is the identity: where values lie is for the compiler to decide.
void RegisterViewOps();

}  // namespace athanor
