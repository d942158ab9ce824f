#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "jit/plan.h"
#include "jit/target.h"

namespace athanor {

// How a kernel plan is carried out. A plain struct for each skeleton; results may differ in rounding between schedules, never
// between thread counts under one schedule.

struct LoopSchedule {
  int64_t task_elements = 1 << 15;                           // iteration points handed out at once
  int unroll = 1;                                            // vectors per iteration of the inner loop
  bool streaming = false;                                    // non-temporal stores for outputs
  int row_chunks = 16;                                       // kReduce with column sums: partial sums, combined in order
  bool operator==(const LoopSchedule&) const = default;
};

struct ContractSchedule {
  enum class Maker : uint8_t { kCpp, kAsmjit };
  enum class Pack : uint8_t {
    kNone,   // used where it lies
    kPhase,  // copied as a whole before the products
    kTask,   // copied block by block by the task that uses it
  };
  int mr = 8;                                                // rows of the register tile
  // Vectors of columns of the register tile. 0: one operand is a vector, vectors run along k, and `mr` rows (m = 1: columns) are multiplied by it at once.
  int nv = 3;
  int64_t mc = 128, nc = 192, kc = 512;                      // blocks: mc rows a task, nc columns at a time, kc steps at a time
  Pack pack_a = Pack::kNone, pack_b = Pack::kPhase;
  int64_t k_split = 1;                                       // parallel partial sums over k, combined in order
  int unroll = 4;                                            // k steps of the micro-kernel's loop
  Maker maker = Maker::kAsmjit;                              // of the micro-kernels; asmjit's cost clang no time
  bool pairs = false;                                        // bf16 operands stay bf16, packed in pairs of k
  bool operator==(const ContractSchedule&) const = default;
};

// A contraction that is a convolution of stride 1 or the gradient of its weights (jit/winograd.h), by minimal filtering: its operands are
// transformed, multiplied point by point, and the products transformed back.
struct WinogradSchedule {
  int tile = 4;                                              // pixels of a tile in each direction
  int mr = 8, nv = 3;                                        // register tile of the products: rows, and vectors of tiles (gradient: of out channels)
  int64_t mc = 64, mb = 32;                                  // rows a task, and rows multiplied before they are transformed back (gradient: mc)
  // Channels (gradient: tiles) that are added up before the sum joins the others: for precision. Of a gradient a task transforms so many at once.
  int64_t kc = 32;
  int64_t k_split = 1;                                       // gradient: parallel partial sums over the tiles, combined in order
  ContractSchedule::Maker maker = ContractSchedule::Maker::kAsmjit;
  // Weights (gradient: pixels) are transformed as a whole before, or weights by each task, kc channels of mb rows at a time, as it needs them.
  ContractSchedule::Pack weights = ContractSchedule::Pack::kPhase;
  bool streaming = false;                                    // transformed weights (gradient: pixels) go past the caches
  bool operator==(const WinogradSchedule&) const = default;
};

struct AttentionSchedule {
  int64_t block_q = 64;
  int64_t block_k = 64;                                      // forward: whose values are added up at a time
  int mr = 8, nv = 3;                                        // register tile of the products
  bool pairs = false;                                        // bf16 operands stay bf16, and P and dS become it: products of pairs
  bool operator==(const AttentionSchedule&) const = default;
};

struct ScatterSchedule {
  int64_t column_block = 64;
  bool operator==(const ScatterSchedule&) const = default;
};

using Schedule = std::variant<LoopSchedule, ContractSchedule, AttentionSchedule, ScatterSchedule, WinogradSchedule>;

std::string ToString(const Schedule& schedule);              // "contract mr=8 nv=3 mc=128 ..."
// The inverse of ToString. Throws Error on anything else.
Schedule ParseSchedule(std::string_view text);
// Empty when `schedule` can carry out `plan` on `cpu`; otherwise the reason, and the tuner skips it.
std::string Validate(const Schedule& schedule, const KernelPlan& plan, const CpuTarget& cpu);
// A good first guess, without measuring.
Schedule DefaultSchedule(const KernelPlan& plan, const CpuTarget& cpu);

}  // namespace athanor
