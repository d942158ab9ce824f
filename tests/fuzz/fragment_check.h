#pragma once

#include <string>
#include <string_view>

#include "ops/decompose.h"
#include "ops/error.h"
#include "ops/fragment.h"
#include "ops/gradient.h"

namespace athanor {

// What must hold for every text given as a fragment file: it is refused with an Error that begins with where it stands, or it is read,
// written and read again unchanged, and then differentiated and decomposed, or refused with an Error. Returns what is wrong, "" if nothing;
// `accepted` tells whether it was read.
inline std::string CheckFragmentText(std::string_view text, bool* accepted = nullptr) {
  constexpr std::string_view kWhere = "fragment under test";
  if (accepted) *accepted = false;
  Graph graph;
  try {
    graph = ReadFragment(text, kWhere);
  } catch (const Error& error) {
    if (!std::string_view(error.what()).starts_with(kWhere)) return std::string("the error does not say where: ") + error.what();
    return "";
  } catch (const std::exception& error) {
    return std::string("reading: ") + error.what();
  }
  if (accepted) *accepted = true;
  try {
    const std::string written = WriteFragment(graph);
    if (WriteFragment(ReadFragment(written, "rewritten fragment")) != written) return "writing it twice differs: " + written;
  } catch (const std::exception& error) {
    return std::string("writing and reading again: ") + error.what();
  }
  try {
    Decompose(graph);
    Decompose(Gradient(graph));
  } catch (const Error&) {                                   // for example an op without a gradient
  } catch (const std::exception& error) {
    return std::string("decomposing: ") + error.what();
  }
  return "";
}

}  // namespace athanor
