#pragma once

#include <string>
#include <vector>

namespace athanor {

// A function of the prelude that is the same in all kernels: its sizes and strides are arguments. Sources hold it as a definition marked ROUTINE, and are
// whole that way; our compiler takes it out, compiles it once and has the linker place it.
struct Routine {
  std::string name, definition;
  std::string prelude;                                       // what the definition needs, and more
};

// The routines of `source`, in which declarations are left.
std::vector<Routine> TakeRoutines(std::string* source);

}  // namespace athanor
