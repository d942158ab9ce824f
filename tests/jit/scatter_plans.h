#pragma once

#include <random>
#include <utility>
#include <vector>

#include "tests/jit/body_evaluator.h"

namespace athanor::testing {

// A scatter with random operands, and what it should leave in arg 2.
struct ScatterCase {
  ScatterCase(int64_t rows, int64_t columns, int64_t table_rows, DType dtype = DType::kF32, DType index_dtype = DType::kI64, int64_t gap = 5,
              bool adds = true)
      : want(table_rows * columns, 0) {
    ScatterPlan scatter{.adds = adds, .rows = rows, .columns = columns, .table_rows = table_rows, .dtype = dtype, .index_dtype = index_dtype};
    scatter.source = {0, Layout(gap, {{{rows, columns + gap}}, {{columns, 1}}})};
    scatter.index = {1, Layout::Contiguous({rows})};
    scatter.out = {2, Layout::Contiguous({table_rows, columns})};
    plan = {.skeleton = Skeleton::kScatter, .detail = scatter, .nodes = {"test"}};
    std::mt19937 random(7);
    const std::pair<DType, int64_t> args[] = {{dtype, rows * (columns + gap) + gap}, {index_dtype, rows}, {dtype, table_rows * columns}};
    for (auto [type, elements] : args) {
      plan.args.push_back({.dtype = type, .written = plan.args.size() == 2, .elements = elements});
      memories.emplace_back(type, elements);
      memories.back().Fill(&random, 0, type == index_dtype ? static_cast<double>(table_rows) : 1);
    }
    for (int64_t i = 0; i < table_rows * columns && !adds; ++i) want[i] = memories[2].Get(i);
    for (int64_t s = 0; s < rows; ++s) {
      for (int64_t j = 0; j < columns; ++j) {
        double& element = want[static_cast<int64_t>(memories[1].Get(s)) * columns + j];
        element = (adds ? element : 0) + memories[0].Get(gap + s * (columns + gap) + j);
      }
    }
  }

  KernelPlan plan;
  std::vector<Memory> memories;
  std::vector<double> want;
};

}  // namespace athanor::testing
