#pragma once

namespace athanor {

// dropout(x, seed, offset = 0; p = 0.5, training = true): y = x * m / (1 - p), where each element of the mask m is 0 with probability p,
// else 1. seed and offset are i64 scalars: equal ones give equal masks, in any order of evaluation and on any target, so the
// backward draws its mask again instead of keeping it. A caller that takes another offset for each call and step gets fresh masks.
// Element i of x (row-major) is dropped where RandomWord(i, seed, offset) of ops/philox.h is below -2^31 + p * 2^32. With p = 1 the
// result is x * 0; with p = 0, or when not training, x itself.
//
// Its core form is `_random`(seed, offset; shape): those words, i32.
void RegisterDropoutOps();

}  // namespace athanor
