// No environment does more than be refused with an error that names the variable, or be read. One variable a line: NAME=VALUE.
#include <cstdint>
#include <cstdlib>
#include <sstream>

#include "ops/error.h"
#include "runtime/options.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace athanor;
  std::istringstream lines(std::string(reinterpret_cast<const char*>(data), size));
  std::vector<std::pair<std::string, std::string>> variables;
  for (std::string line; std::getline(lines, line);) {
    const size_t equals = std::min(line.find('='), line.size());
    variables.emplace_back(line.substr(0, equals), line.substr(std::min(equals + 1, line.size())));
  }
  try {
    const Options options = Options::FromVariables(variables, [](const std::string&) {});
    if (options.threads < 0 || options.threads > 1024 || !(options.tune_budget_seconds >= 0)) std::abort();
  } catch (const Error& error) {
    if (!std::string_view(error.what()).starts_with("environment variable ATHANOR_")) std::abort();
  }
  return 0;
}
