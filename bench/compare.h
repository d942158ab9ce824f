#pragma once

#include <string>
#include <vector>

#include "bench/harness.h"

namespace athanor::bench {

// A result of an earlier run, as its JSON has it.
struct OldResult {
  std::string name;
  bool grad = false;
  int threads = 1;
  double fraction = 0;  // of the roofline that run measured
  double noise = 0;
};

// Reads what `athanor bench --json` wrote. Throws Error that names the file and the row.
std::vector<OldResult> ReadResults(const std::string& path);

// kSame: the difference is within the noise of the two runs, and the noise is small. kFast, kSlow: it is more than twice the
// noise. kAmbiguous: neither; measure again on a quieter machine.
enum class Change { kSame, kFast, kSlow, kAmbiguous };
std::string_view Name(Change change);  // "SAME", "FAST", "SLOW", "AMBIGUOUS"
// By fraction of the roofline, which both runs measured for themselves: a slower clock is no change.
Change CompareFractions(double before, double before_noise, double now, double now_noise);

struct Comparison {
  std::string name;
  double ratio = 1;  // of the fractions: above 1, it got faster
  Change change = Change::kSame;
};
// Of those that both runs have. Throws Error where there is none.
std::vector<Comparison> Compare(const std::string& path, const std::vector<OldResult>& before, const std::vector<Result>& now);

}  // namespace athanor::bench
