#pragma once

#include <cstdint>

namespace athanor {

// REQUIRES: a >= 0, b > 0.
inline int64_t Ceil(int64_t a, int64_t b) { return (a + b - 1) / b; }           // of a / b
inline int64_t RoundUp(int64_t a, int64_t b) { return Ceil(a, b) * b; }         // to a multiple of b

}  // namespace athanor
