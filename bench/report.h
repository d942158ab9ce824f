#pragma once

#include <string>
#include <vector>

#include "bench/harness.h"
#include "jit/target.h"
#include "runtime/machine_peak.h"

namespace athanor::bench {

// Everything a run of the benchmark found.
struct Report {
  CpuTarget cpu;
  MachinePeak peak;
  int threads = 1;
  std::vector<Result> results;
};

std::string ToJson(const Report& report);
std::string ToCsv(const Report& report);
std::string ToTable(const Report& report);
// One page that needs no other file: the roofline as a picture, the fractions of it as bars, the numbers as a table.
std::string ToHtml(const Report& report);

}  // namespace athanor::bench
