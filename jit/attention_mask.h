#pragma once

#include "jit/plan.h"
#include "jit/prelude.h"
#include "jit/source_writer.h"

namespace athanor {

// A mask of scores and its gradient, in blocks, transposed on the way because scores are kept keys by queries: a row of a block
// is one key, its lanes are queries. `row` is the number of elements between two keys of a block. Fast where keys lie side by
// side in memory or all queries share them; any other access map goes element by element.

// Writes "add_mask(T* scores, const M* mask, long query, long key, long keys, long queries)":
//   scores[j][l] = scale * scores[j][l] + mask[query + l][key + j] for j < keys and l < queries (at most a vector of them), minus
//   infinity where it is false. Other lanes of the vector may change too.
void WriteAddMask(const AttentionPlan& plan, int64_t row, Prelude* prelude, SourceWriter* out);

// Writes "add_mask(T* scores, const M* mask, long query, long key, long keys)" for the scores of one query side by side:
//   scores[j] += mask[query][key + j] for j < keys.
void WriteAddMaskRow(const AttentionPlan& plan, Prelude* prelude, SourceWriter* out);

// Writes "store_mask_gradient(T* ds, T* dmask, long query, long key, long keys, long queries)": dmask[query + l][key + j] =
// ds[j][l], after which ds is multiplied by the scale.
void WriteStoreMaskGradient(const AttentionPlan& plan, int64_t row, Prelude* prelude, SourceWriter* out);

// The address of one head's part: "a3 + 0 + b / 1 % 2 * 64 + ...".
std::string HeadAddress(const Operand& operand, const std::string& batch, const std::string& head);

}  // namespace athanor
