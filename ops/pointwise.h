#pragma once

namespace athanor {

// The core pointwise ops, one for each scalar function: add sub (with `alpha`) mul div neg abs exp log sqrt rsqrt pow tanh erf sigmoid
// maximum minimum where eq lt gt cast, and the internal _not and _and. Operands broadcast as in NumPy. Mixed dtypes are promoted as
// PyTorch does (see promotion.h) by casts that decomposition inserts; division and the transcendental functions of integers are
// computed in f32. Arithmetic on booleans is refused.
void RegisterPointwiseOps();

}  // namespace athanor
