#include "examples/common/guarded.h"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>

#include "ops/error.h"

int Guarded(std::string_view name, const std::function<int()>& run) {
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on the size of files is an error of writing, as a full disk is
  try {
    const int status = run();
    if (std::fflush(stdout) != 0) athanor::Fail("standard output can't be written: {}", std::strerror(errno));
    return status;
  } catch (const std::exception& error) {
    std::string what = error.what();
    std::replace(what.begin(), what.end(), '\n', ' ');
    fmt::print(stderr, "{}: error: {}\n", name, what);
    return 2;
  }
}
