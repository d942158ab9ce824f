#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace athanor {

// The numbers in which kernels differ that share a routine (jit/routines.h): arguments of type long behind the others, in the order of first use.
class Sizes {
 public:
  // `value` as C++ text: its argument, s0, s1, ..., which equal ones share, but for 0 and 1, which code is simpler without.
  std::string Text(int64_t value);
  // An argument with a name of its own, whatever it equals.
  std::string Named(std::string_view name, int64_t value);
  // To end the parameters of a definition and the arguments of a call: ", long s0, long rows" and ", 48, 3072".
  std::string Parameters() const;
  std::string Arguments() const;

 private:
  struct Size {
    std::string name;
    int64_t value;
    bool shared;                                             // by all that equal it
  };

  std::vector<Size> sizes_;
};

}  // namespace athanor
