#pragma once

namespace athanor {

// One step of an optimiser over several parameters. New values are outputs: nothing is changed in place here.
//
// adamw(step, lr, then param, grad, exp_avg, exp_avg_sq of each parameter; beta1 = 0.9, beta2 = 0.999, eps = 1e-8,
// weight_decay = 0.01, decay) -> new_param, new_exp_avg, new_exp_avg_sq of each parameter: torch.optim.AdamW.
// sgd(lr, then param, grad of each parameter, and momentum_buffer where momentum != 0; momentum = 0, nesterov = false,
// weight_decay = 0, decay) -> new_param of each parameter, and new_momentum_buffer: torch.optim.SGD, its buffers starting at zero.
//
// step (the number of this step, from 1) and lr are f32 scalars. `decay` has a 0 or 1 for each parameter, saying whether it is subject
// to weight_decay; empty: all are.
void RegisterOptimizerOps();

}  // namespace athanor
