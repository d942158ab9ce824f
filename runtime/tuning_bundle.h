#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cache/merge.h"

namespace athanor {

// Tuned schedules on their way from one cache to another, in a JSON file ("athanor.tuning/1", docs/cache-format.md). Data only: a
// record names a kernel's structure by its digest, the machine it was tuned on, and a schedule. No machine code travels, so a
// bundle needs no trust: each record is checked when it is read, and again against the kernel when it is used; code is generated
// and compiled where it runs.
struct TuningRecord {
  CacheKey key;          // as ScheduleKey makes it
  std::string schedule;  // as ToString prints it
};

// All tuned schedules of a cache; those of another version of the search space, which nobody can use, are left out.
std::vector<TuningRecord> CollectTuning(const Cache& cache);

std::string WriteTuningBundle(const std::vector<TuningRecord>& records);
// Throws Error that begins with `where` and names the record.
std::vector<TuningRecord> ReadTuningBundle(std::string_view text, std::string_view where);

// Of two schedules of one kernel, the one that AddCanonical chooses stays. Throws CacheError when the cache can't be written.
Additions ImportTuning(const std::vector<TuningRecord>& records, Cache& cache);

}  // namespace athanor
