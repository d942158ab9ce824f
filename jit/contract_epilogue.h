#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "jit/contract_moments.h"
#include "jit/plan.h"
#include "jit/prelude.h"
#include "jit/source_writer.h"

namespace athanor {

// The output where it is all that the epilogue stores, and nothing but the results with one stride along each dimension; else null.
const Operand* PlainOutput(const KernelPlan& plan);
// The same, where micro-kernels may write their tiles to it: in rows of whole vectors.
const Operand* OutputOfTiles(const KernelPlan& plan, int lanes);

// The blocks of C that an epilogue is called for: elements from row to row, what `rows` is a multiple of and the most rows, whether n0 and n1 are
// multiples of the lanes, and what m0 is a multiple of.
struct EpilogueBlocks {
  int64_t c_row = 0, row_multiple = 1, most_rows = std::numeric_limits<int64_t>::max();
  bool whole_columns = false;
  int64_t begin_multiple = 1;
};

// Writes the function that finishes a block of a contraction's results and stores it, and gives the numbers that end each call of it,
//   epilogue(args, b, m0, rows, n0, n1, c<numbers>)
// rows [m0, m0 + rows) and columns [n0, n1) of batch b, `c` where the first of them lies and `c_row` elements from row to row. Where results
// lie contiguously along m (StoresAlongRows), squares of C are transposed in registers. Where `moments` are taken by parts, [n0, n1) is a part.
std::string WriteContractEpilogue(const KernelPlan& plan, const EpilogueBlocks& blocks, ContractMoments* moments, Prelude* prelude, SourceWriter* out);

}  // namespace athanor
