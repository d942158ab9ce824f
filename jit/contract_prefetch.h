#pragma once

#include "jit/plan.h"
#include "jit/prelude.h"
#include "jit/source_writer.h"

namespace athanor {

// The epilogue reads a tensor in lines along n, other ones for each row.
bool EpilogueReadsRows(const ContractPlan& contract);
// Writes fetch_c(args, b, m0, m1, n0), which asks for the cache lines that the epilogue of a product will read in rows [m0, m1),
// `columns` columns from n0 on: memory answers while the tile is computed. REQUIRES: EpilogueReadsRows.
void WriteFetchC(const KernelPlan& plan, const ContractPlan& contract, int64_t columns, Prelude* prelude, SourceWriter* out);

}  // namespace athanor
