#pragma once

#include <string>

namespace athanor {

// The GNU build ID of the library's code, in hexadecimal: it changes with any change of it. Empty where it was linked without one.
const std::string& BuildId();

}  // namespace athanor
