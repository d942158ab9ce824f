#pragma once

#include <fmt/core.h>

#include <stdexcept>
#include <string>

namespace athanor {

// Something the caller got wrong: a bad graph, file, option or tensor. The message names the place, what was found and
// what was expected; the program prints it and exits with status 2.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A broken promise inside Athanor. Never the user's fault.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

template <typename... Args>
[[noreturn]] void Fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

// Throws InternalError when `condition` does not hold.
#define ATHANOR_CHECK(condition)                                                                     \
  do {                                                                                               \
    if (!(condition)) {                                                                              \
      throw ::athanor::InternalError(fmt::format("{}:{}: check failed: {}", __FILE__, __LINE__, #condition)); \
    }                                                                                                \
  } while (false)

}  // namespace athanor
