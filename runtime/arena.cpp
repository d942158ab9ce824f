#include "runtime/arena.h"

#include <algorithm>
#include <numeric>

namespace athanor {

ArenaPlan PlanLifetimes(const std::vector<Lifetime>& lifetimes) {
  std::vector<int> order(lifetimes.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return lifetimes[a].bytes > lifetimes[b].bytes; });
  ArenaPlan plan;
  plan.offsets.assign(lifetimes.size(), -1);
  std::vector<int> placed;                                   // by offset
  for (int i : order) {
    const Lifetime& life = lifetimes[i];
    if (life.bytes == 0) continue;
    int64_t offset = 0;
    for (int other : placed) {
      const Lifetime& taken = lifetimes[other];
      if (taken.last < life.first || life.last < taken.first) continue;
      if (offset + life.bytes <= plan.offsets[other]) break;
      offset = std::max(offset, plan.offsets[other] + taken.bytes);
      offset = (offset + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
    }
    plan.offsets[i] = offset;
    plan.bytes = std::max(plan.bytes, offset + life.bytes);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i, [&](int a, int b) { return plan.offsets[a] < plan.offsets[b]; }), i);
  }
  return plan;
}

ArenaPlan PlanArena(const Program& program, const std::vector<std::vector<int64_t>>& kernel_temporaries) {
  std::vector<Lifetime> lifetimes(program.buffers.size());
  std::vector<bool> used(program.buffers.size());
  for (int k = 0; k < static_cast<int>(program.kernels.size()); ++k) {
    for (const KernelArg& arg : program.kernels[k].args) {
      const Program::Buffer& buffer = program.buffers[arg.buffer];
      if (buffer.role != Program::Buffer::Role::kTemporary) continue;
      Lifetime& life = lifetimes[arg.buffer];
      if (!used[arg.buffer]) life = {buffer.elements * SizeOf(buffer.dtype), k, k};
      life.last = k;
      used[arg.buffer] = true;
    }
  }
  for (int k = 0; k < static_cast<int>(kernel_temporaries.size()); ++k) {
    for (int64_t bytes : kernel_temporaries[k]) lifetimes.push_back({bytes, k, k});
  }
  return PlanLifetimes(lifetimes);
}

}  // namespace athanor
