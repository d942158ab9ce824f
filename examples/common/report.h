#pragma once

#include <string>
#include <vector>

#include "runtime/executable.h"

// The loss of each step as a table, FOLDER/loss.csv, and with its running mean as a picture, FOLDER/loss.svg. Throws
// athanor::Error naming the file that can't be written.
void WriteLosses(const std::string& folder, const std::vector<float>& losses);

// "products 71 %, attention 18 %, ...": share of the time of a profiled run of `graph` by kind of kernel. A convolution whose
// windows don't overlap is a product.
std::string TimeByKind(const athanor::Report& report, const athanor::Graph& graph);

// A line that is overwritten on a terminal, and printed now and then elsewhere.
class Progress {
 public:
  Progress(int64_t first, int64_t total, int64_t items_per_step, std::string items);
  void Show(int64_t done, float loss);
  void Finish();

 private:
  int64_t first_, total_, items_per_step_;
  std::string items_;
  bool terminal_;
  double start_, shown_ = 0, loss_ = 0;
};

double Now();  // seconds
