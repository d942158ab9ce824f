#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <memory>

#include <nlohmann/json.hpp>

#include "bench/harness.h"
#include "ops/error.h"
#include "runtime/program/commands.h"
#include "runtime/worker_pool.h"

namespace athanor {
namespace {

using Json = nlohmann::ordered_json;

// Beyond this a result counts as wrong. The interpreter rounds to the dtype after every op, as the kernels do not.
double Allowed(const std::string& dtype) {
  if (dtype == "bf16") return 2e-2;                          // a few roundings to 8 bits
  if (dtype == "f16") return 2e-3;
  return dtype == "f64" ? 1e-10 : 1e-4;
}

struct Arguments {
  std::vector<std::string> fragments;
  std::string mode = "perf", json, csv, compare;
  bool grad = false;
  int threads = 0;
};

Json ToJson(const MachinePeak& peak, const CpuTarget& cpu, const std::vector<bench::Result>& results) {
  Json json = {{"machine", {{"cpu", cpu.model}, {"isa", Name(cpu.isa)}, {"cores", cpu.cores}, {"peak_gflops_f32", peak.gflops_f32},
                            {"peak_gflops_f64", peak.gflops_f64}, {"peak_gflops_bf16", peak.gflops_bf16},
                            {"read_gbs", peak.read_gbs}}},
               {"results", Json::array()}};
  for (const bench::Result& r : results) {
    json["results"].push_back({{"name", r.name}, {"target", "cpu"}, {"dtype", r.dtype}, {"grad", r.grad}, {"threads", r.threads},
                               {"ms_median", r.ms_median}, {"ms_min", r.ms_min}, {"gflops", r.gflops()}, {"gbs", r.gbs()},
                               {"roofline_ms", r.roofline_ms}, {"roofline_fraction", r.roofline_fraction()},
                               {"max_rel_error", r.max_rel_error ? Json(*r.max_rel_error) : Json()}, {"kernels", r.kernels},
                               {"first_call_ms", r.first_call_ms}, {"peers", Json::object()}});
  }
  return json;
}

void PrintTable(const MachinePeak& peak, const std::vector<bench::Result>& results, int threads) {
  fmt::print("{} thread(s); measured peak {:.1f} GFLOP/s f32, {:.1f} bf16, reading {:.1f} GB/s\n", threads, peak.gflops_f32, peak.gflops_bf16,
             peak.read_gbs);
  fmt::print("{:<34} {:>10} {:>10} {:>9} {:>8} {:>9} {:>8} {:>10}\n", "fragment", "ms median", "ms min", "GFLOP/s", "GB/s", "roofline", "kernels", "error");
  for (const bench::Result& r : results) {
    fmt::print("{:<34} {:>10.3f} {:>10.3f} {:>9.1f} {:>8.1f} {:>9.2f} {:>8} {:>10}\n", r.name, r.ms_median, r.ms_min, r.gflops(), r.gbs(),
               r.roofline_fraction(), r.kernels, r.max_rel_error ? fmt::format("{:.1e}", *r.max_rel_error) : "unchecked");
  }
}

void Write(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  if (!file.flush()) Fail("{}: can't be written", path);
}

std::string Csv(const std::vector<bench::Result>& results) {
  std::string text = "name,threads,ms_median,ms_min,gflops,gbs,roofline_fraction,max_rel_error,kernels,first_call_ms\n";
  for (const bench::Result& r : results) {
    text += fmt::format("{},{},{},{},{},{},{},{},{},{}\n", r.name, r.threads, r.ms_median, r.ms_min, r.gflops(), r.gbs(), r.roofline_fraction(),
                        r.max_rel_error ? fmt::format("{}", *r.max_rel_error) : "", r.kernels, r.first_call_ms);
  }
  return text;
}

Json ReadResults(const std::string& path) {
  std::ifstream file(path);
  Json old = Json::parse(file, nullptr, false);
  if (old.is_discarded() || !old.contains("results") || !old["results"].is_array()) Fail("--compare {}: is no result of athanor bench", path);
  for (const Json& row : old["results"]) {
    const bool fits = row.is_object() && row.contains("name") && row["name"].is_string() && row.contains("threads") &&
                      row["threads"].is_number_integer() && row.contains("roofline_fraction") && row["roofline_fraction"].is_number();
    if (!fits) Fail("--compare {}: a row lacks name, threads or roofline_fraction", path);
  }
  return old;
}

// Against an older run: by fraction of the roofline, which both runs measured for themselves.
void Compare(const std::string& path, const Json& old, const std::vector<bench::Result>& results) {
  for (const bench::Result& r : results) {
    for (const Json& before : old["results"]) {
      if (before["name"] != r.name || before["threads"] != r.threads) continue;
      const double ratio = r.roofline_fraction() / before["roofline_fraction"].get<double>();
      fmt::print("{:<34} {:.2f} times the fraction of {}: {}\n", r.name, ratio, path, ratio > 1.05 ? "FASTER" : ratio < 0.95 ? "SLOWER" : "SAME");
    }
  }
}

int Bench(const Arguments& a) {
  const Json old = a.compare.empty() ? Json() : ReadResults(a.compare);
  const std::vector<bench::Case> cases = bench::FindCases(a.fragments, a.grad);
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
  const MachinePeak peak = MeasurePeak(settings.threads);
  const std::vector<bench::Result> results = bench::Measure(cases, settings, peak);

  if (!a.json.empty()) Write(a.json, ToJson(peak, DetectCpu(), results).dump(1) + "\n");
  if (!a.csv.empty()) Write(a.csv, Csv(results));
  if (settings.time) PrintTable(peak, results, settings.threads);
  if (!a.compare.empty()) Compare(a.compare, old, results);
  int wrong = 0;
  for (const bench::Result& r : results) {
    const bool bad = r.max_rel_error && !(*r.max_rel_error <= Allowed(r.dtype));
    wrong += bad;
    if (!settings.time) fmt::print("{:<34} {} {:.1e}\n", r.name, bad ? "WRONG" : "ok", r.max_rel_error.value_or(std::nan("")));
    if (bad) fmt::print(stderr, "athanor: error: {}: relative error {:.1e}, at most {:.0e} expected\n", r.name, *r.max_rel_error, Allowed(r.dtype));
  }
  return wrong > 0 ? 1 : 0;
}

}  // namespace

void AddBench(CLI::App& program, int* status) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand("bench", "Measures fragments against the peak of this machine and checks their results");
  command->add_option("FRAGMENT", arguments->fragments, "Fragment files, folders of them, or model:NAME")->required();
  command->add_flag("--grad", arguments->grad, "With gradients; a name that ends in .train asks for them itself");
  command->add_option("--mode", arguments->mode, "What to do")->check(CLI::IsMember({"perf", "correctness", "list"}));
  command->add_option("--threads", arguments->threads, "Threads; all cores when not given")->check(CLI::Range(1, 1024));
  command->add_option("--json", arguments->json, "Writes the results as JSON");
  command->add_option("--csv", arguments->csv, "Writes the results as CSV");
  command->add_option("--compare", arguments->compare, "JSON of an earlier run to compare with");
  command->callback([arguments, status] { *status = Bench(*arguments); });
}

}  // namespace athanor
