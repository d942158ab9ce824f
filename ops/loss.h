#pragma once

namespace athanor {

// softmax(x; dim), log_softmax(x; dim), cross_entropy(input [N, C, d...] or [C], target i64 [N, d...], weight? [C]; reduction,
// ignore_index = -100, label_smoothing = 0 only), nll_loss (the same over log-probabilities) and mse_loss(input, target; reduction),
// meaning as in torch. Class indices other than ignore_index must lie in [0, C): the references check, compiled kernels treat others as
// a class of no column.
void RegisterLossOps();

}  // namespace athanor
