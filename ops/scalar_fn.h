#pragma once

#include <cstdint>
#include <string_view>

#include "ops/tensor_desc.h"

namespace athanor {

// The scalar functions every pointwise operation is made of. Booleans are DType::kBool; comparisons yield them.
enum class Fn : uint8_t {
  kNeg, kAbs, kExp, kLog, kSqrt, kRsqrt, kTanh, kErf, kSigmoid,     // unary
  kNot,                                                             // unary on booleans
  kAdd, kSub, kMul, kDiv, kPow, kMax, kMin,                         // binary; kMax and kMin propagate NaN as PyTorch does
  kEq, kLt, kGt, kAnd,                                              // binary, boolean result
  kWhere,                                                           // condition, then, else
  kRandom,                                                          // index, seed, offset (i64): RandomWord of ops/philox.h, i32
  kCast,                                                            // unary; the result dtype is the node's
};

int Arity(Fn fn);
std::string_view Name(Fn fn);                                       // "add", "exp", ...
// The reference meaning, computed in double. Absent arguments are ignored.
double Apply(Fn fn, double a, double b = 0, double c = 0);

}  // namespace athanor
