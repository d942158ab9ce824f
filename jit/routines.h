#pragma once

#include <string>
#include <vector>

namespace athanor {

// A function that is the same in many kernels: its sizes and strides are arguments. Sources hold it as a definition marked ROUTINE,
//   ROUTINE void name(...) {
//   ...
//   }
// and are whole that way; our compiler takes it out, compiles it once and has the linker place it. What routines need, types and inline functions, stands
// before the first of them; one that is defined in the same words must mean the same.
struct Routine {
  std::string name, definition;
  std::string prelude;                                       // all that stands before the first
};

// The routines of `source`, in which declarations are left.
std::vector<Routine> TakeRoutines(std::string* source);

}  // namespace athanor
