#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <system_error>

#include "cache/cache.h"
#include "ops/error.h"
#include "runtime/log.h"
#include "runtime/program/commands.h"

namespace athanor {

Options ProgramOptions(int threads) {
  Options options = Options::FromEnvironment(LogWarning);
  if (threads > 0) options.threads = threads;
  SetLogLevel(options.log_level);
  return options;
}

namespace {

constexpr int kFoundWrong = 1, kBadInput = 2;

int Complain(int status, std::string what) {
  std::replace(what.begin(), what.end(), '\n', ' ');         // one line
  fmt::print(stderr, "athanor: error: {}\n", what);
  return status;
}

int Main(int argc, char** argv) {
  CLI::App program("athanor: compiles and runs fragments of tensor operations", "athanor");
  program.set_version_flag("--version", "athanor " ATHANOR_VERSION);
  program.require_subcommand(1);
  int status = 0;
  for (auto* add : {AddRun, AddExplain, AddDump, AddBreakdown, AddExport, AddWarmup, AddBench, AddCache, AddInfo}) add(program, &status);
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return program.exit(error);  // --help, --version
    return Complain(kBadInput, error.what());
  }
  if (std::fflush(stdout) != 0) return Complain(kBadInput, fmt::format("standard output can't be written: {}", std::strerror(errno)));
  return status;
}

}  // namespace
}  // namespace athanor

// No exception leaves the program: what the user can mend is status 2, what we must mend is status 1.
int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);                             // a limit on the size of files is an error of writing, as a full disk is
  try {
    return athanor::Main(argc, argv);
  } catch (const athanor::Error& error) {
    return athanor::Complain(athanor::kBadInput, error.what());
  } catch (const athanor::CacheError& error) {
    return athanor::Complain(athanor::kBadInput, error.what());
  } catch (const std::system_error& error) {                 // the machine refuses: a full disk under standard output, a folder that can't be read
    return athanor::Complain(athanor::kBadInput, error.what());
  } catch (const std::bad_alloc&) {
    return athanor::Complain(athanor::kBadInput, "out of memory");
  } catch (const std::exception& error) {
    return athanor::Complain(athanor::kFoundWrong, error.what());
  } catch (...) {
    return athanor::Complain(athanor::kFoundWrong, "unknown exception");
  }
}
