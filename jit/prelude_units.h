#pragma once

#include <string>
#include <vector>

#include "jit/target.h"

namespace athanor {

// A piece of the prelude's text and the pieces it needs. Texts are in order of definition.
struct PreludeUnit {
  std::string name;                                          // "exp.f32"
  std::vector<std::string> needs;
  std::string text;
};

// jit/prelude_math.cpp. `native` says whether a vf32 (vf64) fills exactly one register.
void AppendMathUnits(Isa isa, int lanes, std::vector<PreludeUnit>* units);

// `text` with every "$name" of the pairs replaced.
std::string Substitute(std::string text, const std::vector<std::pair<std::string, std::string>>& values);

}  // namespace athanor
