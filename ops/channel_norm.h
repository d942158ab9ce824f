#pragma once

namespace athanor {

// Registers the normalisations of [batch, channels, ...] with a weight and a bias for each channel: batch_norm, whose statistics are
// those of a channel over the batch, and group_norm, whose statistics are those of a group of channels of one sample.
//
// batch_norm in training yields y and, where running statistics are given, new_running_mean and new_running_var (a fragment need not
// name these); they carry no gradient, as in PyTorch. Its statistics are taken plane by plane and merged (Chan, Golub and LeVeque,
// "Updating formulae and a pairwise algorithm for computing sample variances", 1979): one pass over memory, no cancellation.
void RegisterChannelNormOps();

}  // namespace athanor
