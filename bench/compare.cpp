#include "bench/compare.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "ops/error.h"

namespace athanor::bench {
namespace {

using Json = nlohmann::json;

// The peaks are measured too: a fraction is never better known than this. Noise beyond kMostBand can't be told from a change.
constexpr double kLeastBand = 0.03, kMostBand = 0.15, kUnknownNoise = 0.02;

OldResult ReadRow(const std::string& path, size_t number, const Json& row) {
  const auto expect = [&](const char* key, bool good) {
    if (!good) Fail("--compare {}: results[{}]: \"{}\" is missing or of another type", path, number, key);
  };
  expect("name", row.is_object() && row.contains("name") && row["name"].is_string());
  expect("threads", row.contains("threads") && row["threads"].is_number_integer());
  expect("grad", row.contains("grad") && row["grad"].is_boolean());
  expect("roofline_fraction",
         row.contains("roofline_fraction") && row["roofline_fraction"].is_number() && row["roofline_fraction"].get<double>() > 0);
  expect("noise", !row.contains("noise") || row["noise"].is_number());
  return {row["name"], row["grad"], row["threads"], row["roofline_fraction"], row.value("noise", kUnknownNoise)};
}

}  // namespace

std::vector<OldResult> ReadResults(const std::string& path) {
  std::ifstream file(path);
  if (!file) Fail("--compare {}: can't be read", path);
  const Json document = Json::parse(file, nullptr, false);
  if (!document.is_object() || !document.contains("results") || !document["results"].is_array())
    Fail("--compare {}: is no result of athanor bench --json", path);
  std::vector<OldResult> results;
  for (const Json& row : document["results"]) results.push_back(ReadRow(path, results.size(), row));
  return results;
}

std::string_view Name(Change change) {
  switch (change) {
    case Change::kSame:
      return "SAME";
    case Change::kFast:
      return "FAST";
    case Change::kSlow:
      return "SLOW";
    case Change::kAmbiguous:
      return "AMBIGUOUS";
  }
  throw InternalError("unknown change");
}

Change CompareFractions(double before, double before_noise, double now, double now_noise) {
  const double band = std::max(kLeastBand, before_noise + now_noise), change = std::log(now / before);
  if (std::abs(change) <= band) return band <= kMostBand ? Change::kSame : Change::kAmbiguous;
  if (std::abs(change) <= 2 * band) return Change::kAmbiguous;
  return change > 0 ? Change::kFast : Change::kSlow;
}

std::vector<Comparison> Compare(const std::string& path, const std::vector<OldResult>& before, const std::vector<Result>& now) {
  std::vector<Comparison> comparisons;
  for (const Result& r : now) {
    const auto old = std::find_if(before.begin(), before.end(), [&](const OldResult& o) {
      return o.name == r.item.name && o.grad == r.item.grad && o.threads == r.threads;
    });
    if (old == before.end()) continue;
    comparisons.push_back({r.item.name, r.roofline_fraction() / old->fraction,
                           CompareFractions(old->fraction, old->noise, r.roofline_fraction(), r.time.noise)});
  }
  if (comparisons.empty())
    Fail("--compare {}: has none of these fragments with {} thread(s)", path, now.empty() ? 1 : now[0].threads);
  return comparisons;
}

}  // namespace athanor::bench
