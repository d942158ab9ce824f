#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <new>

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

int Complain(int status, const char* what) {
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
  if (std::fflush(stdout) != 0) return Complain(kBadInput, "standard output can't be written");
  return status;
}

}  // namespace
}  // namespace athanor

// No exception leaves the program: what the user can mend is status 2, what we must mend is status 1.
int main(int argc, char** argv) {
  try {
    return athanor::Main(argc, argv);
  } catch (const athanor::Error& error) {
    return athanor::Complain(athanor::kBadInput, error.what());
  } catch (const athanor::CacheError& error) {
    return athanor::Complain(athanor::kBadInput, error.what());
  } catch (const std::bad_alloc&) {
    return athanor::Complain(athanor::kBadInput, "out of memory");
  } catch (const std::exception& error) {
    return athanor::Complain(athanor::kFoundWrong, error.what());
  } catch (...) {
    return athanor::Complain(athanor::kFoundWrong, "unknown exception");
  }
}
