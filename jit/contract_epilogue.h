#pragma once

#include "jit/contract_moments.h"
#include "jit/plan.h"
#include "jit/prelude.h"
#include "jit/source_writer.h"

namespace athanor {

// Writes the function that finishes a block of a contraction's results and stores it,
//   epilogue(args, b, m0, rows, n0, n1, c)
// rows [m0, m0 + rows) and columns [n0, n1) of batch b, `c` where the first of them lies and `c_row` elements from row to row. Where results
// lie contiguously along m (StoresAlongRows), squares of C are transposed in registers. Where `moments` are taken by parts, [n0, n1) is a part.
void WriteContractEpilogue(const KernelPlan& plan, int64_t c_row, ContractMoments* moments, Prelude* prelude, SourceWriter* out);

}  // namespace athanor
