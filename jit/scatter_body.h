#pragma once

#include "jit/plan.h"

namespace athanor {

// What the generators of the scatter skeleton loop over, over rows and columns.
Body ScatterZeros(const ScatterPlan& plan);                  // [table row, column]: zero into the table
Body ScatterRows(const ScatterPlan& plan);                   // [row of the source, column]: the source, or table + source, into the table
inline constexpr int kScatterTableRow = 1;                   // the expression of ScatterRows that says which row of the table, i64

}  // namespace athanor
