#include "runtime/options.h"

#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <map>

#include "ops/error.h"

extern char** environ;

namespace athanor {
namespace {

constexpr std::string_view kPrefix = "ATHANOR_";

[[noreturn]] void Refuse(const std::string& name, const std::string& value, std::string_view expected) {
  Fail("environment variable {}: '{}' given, {} expected", name, value, expected);
}

template <typename T>
T Number(const std::string& name, const std::string& value, T least, T most, std::string_view expected) {
  T number{};
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || !(number >= least && number <= most)) Refuse(name, value, expected);
  return number;
}

template <typename T>
T Choice(const std::string& name, const std::string& value, const std::map<std::string, T>& choices) {
  if (auto found = choices.find(value); found != choices.end()) return found->second;
  std::string expected;
  for (const auto& [choice, meaning] : choices) expected += (expected.empty() ? "one of " : ", ") + choice;
  Refuse(name, value, expected);
}

using Setter = void (*)(Options& options, const std::string& name, const std::string& value);

const std::map<std::string, Setter>& Setters() {
  static const std::map<std::string, bool> kFlag = {{"0", false}, {"1", true}};
  static const std::map<std::string, Setter> setters = {
      {"ATHANOR_CACHE_DIR", [](Options& o, const std::string&, const std::string& v) { o.cache_directory = v; }},
      {"ATHANOR_TUNE", [](Options& o, const std::string& n, const std::string& v) {
         o.tune = Choice<TuneMode>(n, v, {{"off", TuneMode::kOff}, {"first", TuneMode::kFirst}, {"cached", TuneMode::kCached}});
       }},
      {"ATHANOR_TUNE_BUDGET", [](Options& o, const std::string& n, const std::string& v) {
         o.tune_budget_seconds = Number<double>(n, v, 0.0, 1e6, "seconds from 0 to 1000000");
       }},
      {"ATHANOR_THREADS", [](Options& o, const std::string& n, const std::string& v) {
         o.threads = Number<int>(n, v, 1, 1024, "a number of threads from 1 to 1024");
       }},
      {"ATHANOR_LOG", [](Options& o, const std::string& n, const std::string& v) {
         o.log_level = Choice<std::string>(n, v, {{"trace", "trace"}, {"debug", "debug"}, {"info", "info"}, {"warn", "warn"},
                                                  {"error", "error"}, {"off", "off"}});
       }},
      {"ATHANOR_DUMP", [](Options& o, const std::string&, const std::string& v) { o.dump_directory = v; }},
      {"ATHANOR_NO_JIT", [](Options& o, const std::string& n, const std::string& v) { o.no_jit = Choice(n, v, kFlag); }},
      {"ATHANOR_NVRTC", [](Options& o, const std::string&, const std::string& v) { o.nvrtc_library = v; }},
      {"ATHANOR_ISA", [](Options& o, const std::string& n, const std::string& v) {
         o.isa = Choice<Isa>(n, v, {{"avx2", Isa::kAvx2}, {"avx512", Isa::kAvx512}});
       }},
      {"ATHANOR_PERF_MAP", [](Options& o, const std::string& n, const std::string& v) { o.perf_map = Choice(n, v, kFlag); }},
  };
  return setters;
}

std::string FromEnv(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

std::string DefaultCacheDirectory() {
  const std::string xdg = FromEnv("XDG_CACHE_HOME"), home = FromEnv("HOME");
  if (!xdg.empty() && xdg[0] == '/') return xdg + "/athanor";
  return home.empty() ? "" : home + "/.cache/athanor";
}

Options Options::FromVariables(const std::vector<std::pair<std::string, std::string>>& variables,
                               const std::function<void(const std::string&)>& warn) {
  Options options;
  options.cache_directory = DefaultCacheDirectory();
  for (const auto& [name, value] : variables) {
    if (!name.starts_with(kPrefix)) continue;
    auto setter = Setters().find(name);
    if (setter == Setters().end()) {
      warn(fmt::format("environment variable {} is not known", name));
    } else {
      setter->second(options, name, value);
    }
  }
  return options;
}

std::vector<std::pair<std::string, std::string>> EnvironmentVariables() {
  std::vector<std::pair<std::string, std::string>> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const size_t equals = text.find('=');
    if (equals != std::string::npos) variables.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

Options Options::FromEnvironment(const std::function<void(const std::string&)>& warn) {
  return FromVariables(EnvironmentVariables(), warn);
}

}  // namespace athanor
