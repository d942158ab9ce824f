// No text given as a schedule does more than be refused, or be read; what was read is written as a text that reads as the same.
#include <cstdint>
#include <cstdlib>

#include "jit/schedule.h"
#include "ops/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace athanor;
  try {
    const std::string text = ToString(ParseSchedule({reinterpret_cast<const char*>(data), size}));
    if (ToString(ParseSchedule(text)) != text) std::abort();
  } catch (const Error&) {
  }
  return 0;
}
