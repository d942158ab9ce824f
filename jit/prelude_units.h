#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "jit/target.h"

namespace athanor {

// A piece of the prelude's text and the pieces it needs. Texts are in order of definition.
struct PreludeUnit {
  std::string name;  // "exp.f32"
  std::vector<std::string> needs;
  std::string text;
};

struct ElementType {
  const char* tag;  // vector type v<tag>
  const char* scalar;
  int bytes;
};
inline constexpr ElementType kElementTypes[] = {{"f32", "float", 4}, {"f64", "double", 8},       {"i32", "int", 4},
                                                {"i64", "long", 8},  {"u8", "unsigned char", 1}, {"u16", "unsigned short", 2}};

void AppendMemoryUnits(Isa isa, int lanes, bool bf16_instructions, std::vector<PreludeUnit>* units);  // prelude_memory.cpp
void AppendMathUnits(Isa isa, int lanes, std::vector<PreludeUnit>* units);    // prelude_math.cpp

void AppendRandomUnits(int lanes, std::vector<PreludeUnit>* units);           // prelude_random.cpp
void AppendRoutineUnits(int lanes, std::vector<PreludeUnit>* units);          // prelude_routines.cpp

// "lane(0), lane(1), ..."
std::string LaneList(int lanes, const std::function<std::string(int)>& lane);

// `text` with every "$name" of the pairs replaced.
std::string Substitute(std::string text, const std::vector<std::pair<std::string, std::string>>& values);

}  // namespace athanor
