// No text given as a fragment file does more than be refused, or be read, written, differentiated and decomposed.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/fragment_check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string wrong = athanor::CheckFragmentText({reinterpret_cast<const char*>(data), size});
  if (!wrong.empty()) {
    std::fprintf(stderr, "%s\n", wrong.c_str());
    std::abort();
  }
  return 0;
}
