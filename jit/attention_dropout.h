#pragma once

#include <string>

#include "jit/plan.h"
#include "jit/prelude.h"
#include "jit/source_writer.h"

namespace athanor {

// Dropout of attention's weights, in blocks of keys by queries as the scores are, `row` elements between two keys. The random
// words of four keys come from one counter (ops/philox.h), so keys are done in fours.

// Writes `drop`, for the queries that are numbers row, row + 1, ... of the counter and the keys [begin, end).
// Forward: "drop(T* p, long seed, long offset, long row, long begin, long end)": p[j] *= m[j].
// Backward: "drop(T* p, T* ds, vector delta, long seed, long offset, long row, long k0, long begin, long end)" with keys counted
// from k0: from
//   the weights in p and dP in ds, ds[j] = scale * p[j] * (m[j] ds[j] - delta), p[j] *= m[j].
void WriteDropout(const AttentionPlan& plan, int64_t row, Prelude* prelude, SourceWriter* out);

std::string DropoutKey(const AttentionPlan& plan);  // "seed, offset" as arguments of a call
// The number of a query in the counter.
std::string DropoutRow(const AttentionPlan& plan, const std::string& batch, const std::string& head, const std::string& query);

}  // namespace athanor
