#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "jit/body.h"
#include "ops/graph.h"

namespace athanor {

// A kernel plan: what one launch computes, independent of target and schedule. One skeleton, an access map for each operand,
// and the expressions woven in before and after the heavy loop.

// Loops over Body::extents. `skeleton` says which generator fits best:
//   kPointwise  no reductions; dimensions are coalesced, the last one is the contiguous one where there is a choice
//   kReduce     extents are [rows, cols]; every kReduce has axes == cols (bit 1: row statistics, any number of passes over a row)
//               or axes == rows (bit 0: column sums, only as a store's expression)
//   kLoopNest   anything else
struct LoopPlan {
  Body body;
  // kPointwise only: the body runs once an instance (one AdamW over all parameters). Instance i has extent
  // instance_elements[i] along the body's only dimension, and uses args [i*n, (i+1)*n), n = args / instances. Operands whose map has
  // stride 0 are shared scalars and come from the args of instance 0.
  std::vector<int64_t> instance_elements;
  bool operator==(const LoopPlan&) const = default;
};

// Of each row of what an epilogue computes and stores: the sum, and the sum of squared distances from the row's mean. Operands are in the
// epilogue's space; the result lies contiguously along n.
struct RowMoments {
  int expr = -1;                                             // of the epilogue, in the accumulator's type
  Operand result, sums, squares;
  bool operator==(const RowMoments&) const = default;
};

// C[b,m,n] = sum over k of A[b,m,k] * B[b,k,n], then the epilogue.
struct ContractPlan {
  int64_t batch = 1, m = 1, n = 1, k = 1;
  Body a;                                                    // space [batch, m, k]; reductions over k (bit 2) are row statistics.
  int a_result = -1;                                         //   Its stores are side outputs (row statistics, bias gradients).
  Body b;                                                    // space [batch, k, n]; no reductions, no stores
  int b_result = -1;
  Body epilogue;                                             // space [batch, m, n]; kAccumulator is C; no reductions
  DType accumulator = DType::kF32;
  std::optional<RowMoments> moments;                         // of what the epilogue stores; in the accumulator's type
  bool operator==(const ContractPlan&) const = default;
};

// Flash attention over Q [batch, heads, lq, d], K [batch, kv_heads, lk, d], V [batch, kv_heads, lk, dv]; every operand's map has rank 4.
// Query head h reads head h / (heads / kv_heads) of K and V. Query i sees key j when i - left <= j <= i + right (negative: no bound) and
// j < lengths[b].
// Forward: y = softmax(scale * Q K^T + mask) V, lse[b,h,i] (rank 3 map) the natural log-sum-exp of the scores.
// Backward: dq, dk, dv, dmask from dy, q, k, v, y, lse.
struct AttentionPlan {
  bool backward = false;
  int64_t batch = 1, heads = 1, kv_heads = 1, lq = 1, lk = 1, d = 1, dv = 1;
  double scale = 1;
  int64_t left = -1, right = -1;
  DType dtype = DType::kF32;                                 // of the arithmetic; operands may be narrower in memory
  DType mask_dtype = DType::kBool;                           // kBool: false is not seen; else added to the scores
  Operand q, k, v, y, lse;                                   // forward writes y and lse (lse.arg == -1: not wanted)
  Operand mask, lengths;                                     // [batch, heads, lq, lk]; i64 [batch]; arg == -1: none
  double dropout_p = 0;                                      // of P, as ops/philox.h has it; with it, seed and offset are i64 scalars
  Operand seed, offset;
  Operand dy, dq, dk, dv_out, dmask;                         // backward only; dmask.arg == -1: not wanted

  int64_t group() const { return heads / kv_heads; }
  bool operator==(const AttentionPlan&) const = default;
};

// out[index[s], j] += rows[s, j], out zeroed first; or, where it does not add, out[index[s], j] = rows[s, j] over what out holds. In increasing
// s. rows' map has rank 2 [s, j], index's rank 1, out's rank 2.
struct ScatterPlan {
  bool adds = true;
  int64_t rows = 1, columns = 1, table_rows = 1;
  DType dtype = DType::kF32, index_dtype = DType::kI64;
  Operand source, index, out;
  bool operator==(const ScatterPlan&) const = default;
};

enum class Skeleton : uint8_t { kPointwise, kReduce, kLoopNest, kContract, kAttention, kScatter };
std::string_view Name(Skeleton skeleton);

struct KernelArg {
  DType dtype = DType::kF32;
  bool written = false;
  int64_t elements = 0;                                      // addressed storage
  int buffer = -1;                                           // in Program::buffers; not part of the structural identity
  int64_t offset = 0;                                        // elements of the buffer in front of the argument; neither
  bool read = false;                                         // something that is there before the kernel runs; neither
};

struct KernelPlan {
  Skeleton skeleton = Skeleton::kPointwise;
  std::variant<LoopPlan, ContractPlan, AttentionPlan, ScatterPlan> detail;
  std::vector<KernelArg> args;
  std::vector<std::string> nodes;                            // the graph nodes computed, for people: "linear fc1", "gelu"
  Origin origin;                                             // of its heaviest node
  double flops = 0;                                          // as INTERFACES counts them
  double bytes = 0;                                          // compulsory: each arg once

  // Equal text, equal kernel: everything generated code depends on, and neither buffers nor names.
  std::string Structure() const;
};

// What a graph compiles to: kernels in execution order over buffers.
struct Program {
  struct Buffer {
    enum class Role : uint8_t { kInput, kOutput, kTemporary };
    Role role = Role::kTemporary;
    std::string name;                                        // of the graph's input or output
    DType dtype = DType::kF32;
    int64_t elements = 0;                                    // of storage
    int alias = -1;                                          // an output updated in place: the input buffer it shares
  };
  std::vector<Buffer> buffers;
  std::vector<KernelPlan> kernels;
};

}  // namespace athanor
