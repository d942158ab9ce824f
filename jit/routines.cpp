#include "jit/routines.h"

#include <string_view>

#include "ops/error.h"

namespace athanor {
namespace {

constexpr std::string_view kMark = "\nROUTINE ", kEnd = "\n}\n", kC = "extern \"C\" ";

}  // namespace

std::vector<Routine> TakeRoutines(std::string* source) {
  std::vector<Routine> routines;
  std::string rest;
  size_t at = 0;
  for (size_t begin; (begin = source->find(kMark, at)) != std::string::npos;) {
    rest.append(*source, at, begin + 1 - at);
    begin += kMark.size();
    const size_t body = source->find(" {\n", begin), name = source->find(' ', begin) + 1;
    at = source->find(kEnd, begin);
    ATHANOR_CHECK(body < at && at != std::string::npos);
    at += kEnd.size() - 1;                                   // the next may follow at once
    Routine& routine = routines.emplace_back();
    routine.name = source->substr(name, source->find('(', name) - name);
    routine.definition = std::string(kC) + source->substr(begin, at + 1 - begin);
    if (routines.size() == 1) routine.prelude = rest;
    rest += std::string(kC) + source->substr(begin, body - begin) + ";";
  }
  rest.append(*source, at);
  *source = std::move(rest);
  for (Routine& routine : routines) routine.prelude = routines[0].prelude;
  return routines;
}

}  // namespace athanor
