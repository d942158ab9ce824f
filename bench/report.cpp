#include "bench/report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

namespace athanor::bench {
namespace {

using Json = nlohmann::ordered_json;

Json ToJson(const Result& r) {
  Json peers = Json::object();
  for (const auto& [name, time] : r.peers)
    peers[name] = {{"ms_median", time.ms_median}, {"ms_min", time.ms_min}, {"noise", time.noise}};
  const auto timed = [&](double value) {
    return r.time.ms_median > 0 ? Json(value) : Json();
  };  // null where only correctness was asked for
  Json json = {{"name", r.item.name},
               {"target", "cpu"},
               {"dtype", r.dtype},
               {"grad", r.item.grad},
               {"threads", r.threads},
               {"ms_median", timed(r.time.ms_median)},
               {"ms_min", timed(r.time.ms_min)},
               {"noise", timed(r.time.noise)},
               {"gflops", timed(r.gflops())},
               {"gbs", timed(r.gbs())},
               {"roofline_ms", r.roofline_ms},
               {"roofline_fraction", timed(r.roofline_fraction())},
               {"max_rel_error", Json()},
               {"kernels", r.kernels},
               {"first_call_ms", r.first_call_ms},
               {"peers", peers}};
  if (r.judgement) {
    json["max_rel_error"] = r.judgement->error;
    json["allowed_rel_error"] = r.judgement->allowed;
    json["noise_sensitivity"] = r.judgement->sensitivity;
    json["right"] = r.judgement->decided ? Json(r.judgement->right) : Json();
  }
  return json;
}

std::string Verdict(const Result& r) {
  if (!r.judgement) return "unchecked";
  return fmt::format("{:.1e}{}", r.judgement->error,
                     r.wrong()                                   ? " WRONG"
                     : !r.judgement->decided                     ? " undecided"
                     : r.judgement->error > r.judgement->allowed ? " by rounding"
                                                                 : "");
}

}  // namespace

std::string ToJson(const Report& report) {
  Json json = {{"machine",
                {{"cpu", report.cpu.model},
                 {"isa", Name(report.cpu.isa)},
                 {"cores", report.cpu.cores},
                 {"peak_gflops_f32", report.peak.gflops_f32},
                 {"peak_gflops_f64", report.peak.gflops_f64},
                 {"peak_gflops_bf16", report.peak.gflops_bf16},
                 {"read_gbs", report.peak.read_gbs}}},
               {"results", Json::array()}};
  for (const Result& r : report.results) json["results"].push_back(ToJson(r));
  return json.dump(1) + "\n";
}

std::string ToCsv(const Report& report) {
  std::set<std::string> peers;
  for (const Result& r : report.results) {
    for (const auto& [name, time] : r.peers) peers.insert(name);
  }
  std::string text = "name,grad,threads,ms_median,ms_min,noise,gflops,gbs,roofline_fraction,max_rel_error,kernels,first_call_ms";
  for (const std::string& peer : peers) text += fmt::format(",{}_ms_median", peer);
  text += '\n';
  for (const Result& r : report.results) {
    text += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{}", r.item.name, r.item.grad, r.threads, r.time.ms_median,
                        r.time.ms_min, r.time.noise, r.gflops(), r.gbs(), r.roofline_fraction(),
                        r.judgement ? fmt::format("{}", r.judgement->error) : "", r.kernels, r.first_call_ms);
    for (const std::string& peer : peers) text += r.peers.contains(peer) ? fmt::format(",{}", r.peers.at(peer).ms_median) : ",";
    text += '\n';
  }
  return text;
}

std::string ToTable(const Report& report) {
  std::string text = fmt::format("{} thread(s); measured peak {:.1f} GFLOP/s f32, {:.1f} bf16, reading {:.1f} GB/s\n",
                                 report.threads, report.peak.gflops_f32, report.peak.gflops_bf16, report.peak.read_gbs);
  text += fmt::format("{:<36} {:>10} {:>6} {:>9} {:>8} {:>9} {:>8}  {}\n", "fragment", "ms", "noise", "GFLOP/s", "GB/s",
                      "roofline", "kernels", "error");
  for (const Result& r : report.results) {
    text += fmt::format("{:<36} {:>10.3f} {:>5.1f}% {:>9.1f} {:>8.1f} {:>9.2f} {:>8}  {}\n", r.item.name, r.time.ms_median,
                        100 * r.time.noise, r.gflops(), r.gbs(), r.roofline_fraction(), r.kernels, Verdict(r));
    for (const auto& [name, time] : r.peers) {
      text += fmt::format("{:>36} {:>10.3f} {:>5.1f}% {:>37.2f} times ours\n", name, time.ms_median, 100 * time.noise,
                          time.ms_median / r.time.ms_median);
    }
  }
  return text;
}

}  // namespace athanor::bench
