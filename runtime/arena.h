#pragma once

#include <cstdint>
#include <vector>

#include "jit/plan.h"

namespace athanor {

// Where temporaries lie in one block of memory. Values whose lifetimes (first to last kernel that touches them) do not meet share
// bytes. Largest first, each at the lowest offset that is free over its lifetime ("greedy by size", Pisarchyk and Lee 2020).
struct ArenaPlan {
  std::vector<int64_t> offsets;                              // by buffer; -1: not a temporary, or never used
  int64_t bytes = 0;
};

inline constexpr int64_t kArenaAlignment = 64;

// A stretch of memory needed by the kernels first .. last.
struct Lifetime {
  int64_t bytes = 0;
  int first = 0, last = 0;
};
// Offsets for `lifetimes`, and the size of the whole.
ArenaPlan PlanLifetimes(const std::vector<Lifetime>& lifetimes);

// `kernel_temporaries`: for each kernel the bytes of each of its own temporaries; their offsets follow those of the buffers.
ArenaPlan PlanArena(const Program& program, const std::vector<std::vector<int64_t>>& kernel_temporaries);

}  // namespace athanor
