#include "tuner/search_space.h"

#include <algorithm>

#include "jit/contract_space.h"

namespace athanor {
namespace {

std::vector<Schedule> AttentionSpace(const AttentionSchedule& first, const CpuTarget& cpu) {
  std::vector<Schedule> space = {first};
  const std::vector<std::pair<int, int>> tiles = cpu.isa == Isa::kAvx512
      ? std::vector<std::pair<int, int>>{{6, 4}, {8, 3}, {12, 2}, {12, 1}} : std::vector<std::pair<int, int>>{{4, 2}, {6, 2}, {4, 3}};
  for (auto [mr, nv] : tiles) {
    for (int64_t block_q : {first.block_q, int64_t{64}, int64_t{32}}) {
      for (int64_t block_k : {first.block_k, int64_t{64}, int64_t{32}}) {
        AttentionSchedule schedule = first;
        schedule.mr = mr, schedule.nv = nv;
        schedule.block_q = std::min(block_q, first.block_q), schedule.block_k = std::min(block_k, first.block_k);
        space.push_back(schedule);
      }
    }
  }
  AttentionSchedule other = first;
  other.pairs = !first.pairs;
  space.push_back(other);
  return space;
}

std::vector<Schedule> LoopSpace(const LoopSchedule& first) {
  std::vector<Schedule> space = {first};
  for (bool streaming : {first.streaming, !first.streaming}) {
    for (int unroll : {first.unroll, 2, 4}) {
      LoopSchedule schedule = first;
      schedule.streaming = streaming, schedule.unroll = unroll;
      space.push_back(schedule);
    }
  }
  return space;
}

}  // namespace

std::vector<Schedule> SearchSpace(const KernelPlan& plan, const CpuTarget& cpu) {
  const Schedule first = DefaultSchedule(plan, cpu);
  std::vector<Schedule> candidates = {first};
  if (plan.skeleton == Skeleton::kContract) {
    for (const ContractSchedule& schedule : ContractSpace(plan, cpu)) candidates.push_back(schedule);
    for (const WinogradSchedule& schedule : WinogradSpace(plan, cpu)) candidates.push_back(schedule);
  } else if (const auto* attention = std::get_if<AttentionSchedule>(&first)) {
    candidates = AttentionSpace(*attention, cpu);
  } else if (const auto* loop = std::get_if<LoopSchedule>(&first)) {
    candidates = LoopSpace(*loop);
  }
  std::vector<Schedule> space;
  for (const Schedule& schedule : candidates) {
    if (Validate(schedule, plan, cpu).empty() && std::find(space.begin(), space.end(), schedule) == space.end()) space.push_back(schedule);
  }
  return space;
}

}  // namespace athanor
