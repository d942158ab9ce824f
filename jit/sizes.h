#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace athanor {

// The numbers in which kernels differ that share a routine (jit/routines.h): each is an argument of type long, called s0, s1, ... in the order of first use.
class Sizes {
 public:
  // `value` as C++ text: its argument, which equal strides share, but for 0 and 1, which code is simpler without.
  std::string Text(int64_t value);
  // Of a number that equals another by chance only: always an argument of its own.
  std::string Add(int64_t value);
  // To end the parameters of a definition and the arguments of a call: ", long s0, long s1" and ", 48, 3072".
  std::string Parameters() const;
  std::string Arguments() const;

 private:
  std::vector<int64_t> values_;
};

}  // namespace athanor
