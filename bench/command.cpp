#include <fmt/ranges.h>

#include <memory>

#include "bench/compare.h"
#include "bench/harness.h"
#include "bench/models/registry.h"
#include "bench/peers.h"
#include "bench/report.h"
#include "bench/suites.h"
#include "ops/error.h"
#include "runtime/program/commands.h"
#include "runtime/replace_file.h"
#include "runtime/worker_pool.h"

namespace athanor {
namespace {

struct Arguments {
  std::vector<std::string> fragments, peers;
  std::string suite, mode = "perf", json, csv, html, compare, python;
  bool grad = false;
  int threads = 0;
};

std::string Quoted(const std::string& text) {
  if (text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=-") == std::string::npos) return text;
  std::string quoted = "'";
  for (char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

// What to type to see one failure again: the environment's switches that may bear on it, and the command.
std::string Repro(const bench::Result& r) {
  std::string line;
  for (const auto& [name, value] : EnvironmentVariables()) {
    if (name.starts_with("ATHANOR_") && name != "ATHANOR_LOG" && name != "ATHANOR_THREADS") line += fmt::format("{}={} ", name, Quoted(value));
  }
  return line + fmt::format("athanor bench {}{} --mode correctness --threads {}", Quoted(r.item.path), r.item.grad ? " --grad" : "", r.threads);
}

int ReportWrong(const std::vector<bench::Result>& results) {
  int wrong = 0;
  for (const bench::Result& r : results) {
    if (!r.wrong()) continue;
    ++wrong;
    const bench::Judgement& j = *r.judgement;
    const std::string noise = j.sensitivity > 0 ? fmt::format(", and rounding of intermediates moves results by at most {:.1e}", j.sensitivity) : "";
    fmt::print(stderr, "athanor: error: {}: output '{}' has a relative error of {:.1e}, at most {:.0e} expected{}; again: {}\n", r.item.name, j.worst, j.error, j.allowed,
               noise, Repro(r));
  }
  return wrong;
}

// Perf mode runs the interpreter a few times only.
void ReportUndecided(const std::vector<bench::Result>& results) {
  std::vector<std::string> names;
  for (const bench::Result& r : results) {
    if (r.judgement && !r.judgement->decided) names.push_back(r.item.name);
  }
  if (!names.empty()) fmt::print(stderr, "athanor: warning: rounding may explain the errors of {} or not: --mode correctness decides\n", fmt::join(names, ", "));
}

void PrintCorrectness(const std::vector<bench::Result>& results) {
  for (const bench::Result& r : results) {
    const bench::Judgement& j = *r.judgement;
    fmt::print("{:<36} {} {:.1e}{}\n", r.item.name, r.wrong() ? "WRONG" : "ok   ", j.error,
               !r.wrong() && j.error > j.allowed ? fmt::format(": rounding of intermediates moves it by up to {:.1e}", j.sensitivity) : "");
  }
}

// How many got slower.
int PrintComparison(const std::string& path, const std::vector<bench::OldResult>& old, const std::vector<bench::Result>& results) {
  int slower = 0;
  for (const bench::Comparison& c : bench::Compare(path, old, results)) {
    fmt::print("{:<36} {:.2f} times the fraction in {}: {}\n", c.name, c.ratio, path, bench::Name(c.change));
    slower += c.change == bench::Change::kSlow;
  }
  return slower;
}

void WriteFile(const std::string& path, const std::string& text) {
  ReplaceFile(path, [&](std::ostream& file) { file << text; });
}

void CheckArguments(const Arguments& a) {
  if (a.fragments.empty() == a.suite.empty()) Fail("bench: {}, fragments or --suite expected", a.suite.empty() ? "nothing to measure is given" : "both are given");
  if (a.mode != "perf" && !(a.compare.empty() && a.peers.empty() && a.csv.empty() && a.html.empty())) {
    Fail("bench: --mode {} measures no time, so --compare, --peers, --csv and --html have nothing to tell", a.mode);
  }
  if (a.mode == "list" && !a.json.empty()) Fail("bench: --mode list has no results for --json");
  bench::CheckPeers(a.peers);
}

int Bench(const Arguments& a) {
  CheckArguments(a);
  const std::vector<bench::OldResult> old = a.compare.empty() ? std::vector<bench::OldResult>() : bench::ReadResults(a.compare);
  const std::vector<bench::Case> cases = bench::FindCases(a.suite.empty() ? a.fragments : bench::SuitePaths(a.suite), a.grad);
  for (const bench::Case& item : cases) models::LoadGraph(item.path, item.grad);  // a bad one is refused at once, not after minutes
  if (a.mode == "list") {
    for (const bench::Case& item : cases) fmt::print("{}{}\n", item.name, item.grad ? " --grad" : "");
    return 0;
  }
  bench::Settings settings;
  settings.options = ProgramOptions(a.threads);
  settings.threads = settings.options.threads > 0 ? settings.options.threads : DefaultThreads();
  settings.options.threads = settings.threads;
  settings.time = a.mode == "perf";
  settings.check_all = a.mode == "correctness";
  settings.peers = a.peers;
  settings.python = a.python;
  bench::Report report{DetectCpu(), MeasurePeak(settings.threads), settings.threads, {}};
  report.results = bench::Measure(cases, settings, report.peak);

  if (!a.json.empty()) WriteFile(a.json, bench::ToJson(report));
  if (!a.csv.empty()) WriteFile(a.csv, bench::ToCsv(report));
  if (!a.html.empty()) WriteFile(a.html, bench::ToHtml(report));
  settings.time ? fmt::print("{}", bench::ToTable(report)) : PrintCorrectness(report.results);
  ReportUndecided(report.results);
  const int slower = a.compare.empty() ? 0 : PrintComparison(a.compare, old, report.results);
  return ReportWrong(report.results) + slower > 0 ? 1 : 0;
}

}  // namespace

void AddBench(CLI::App& program, int* status) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand("bench", "Measures fragments against the peak of this machine and checks their results");
  command->add_option("FRAGMENT", arguments->fragments, "Fragment files, folders of them, or model:NAME");
  command->add_option("--suite", arguments->suite, fmt::format("Fragments by a common name: {}", fmt::join(bench::SuiteNames(), ", ")));
  command->add_flag("--grad", arguments->grad, "With gradients; a name that ends in .train asks for them itself");
  command->add_option("--mode", arguments->mode, "What to do")->check(CLI::IsMember({"perf", "correctness", "list"}));
  command->add_option("--peers", arguments->peers, "PyTorch, timed in turns with us: eager, inductor")->delimiter(',')->allow_extra_args(false);
  command->add_option("--peer-python", arguments->python, "The Python that has PyTorch; that of the build's virtual environment when not given");
  command->add_option("--threads", arguments->threads, "Threads; all cores when not given")->check(CLI::Range(1, 1024));
  command->add_option("--json", arguments->json, "Writes the results as JSON");
  command->add_option("--csv", arguments->csv, "Writes the results as CSV");
  command->add_option("--html", arguments->html, "Writes the results as one HTML page with a picture of the roofline");
  command->add_option("--compare", arguments->compare, "JSON of an earlier run to compare with; status 1 where something is slower");
  command->callback([arguments, status] { *status = Bench(*arguments); });
}

}  // namespace athanor
