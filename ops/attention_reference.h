#pragma once

#include <span>
#include <vector>

#include "ops/graph.h"
#include "ops/host_tensor.h"

namespace athanor {

// One problem of attention, batch dimensions folded: q [batch, heads, lq, d], k [batch, kv_heads, lk, d], v [batch, kv_heads, lk,
// dv]. Query head h reads head h / (heads / kv_heads) of k and v. Query i may see key j when i - left <= j <= i + right; a
// negative bound is none. A causal mask is right = 0.
struct AttentionForm {
  int64_t batch = 1, heads = 1, kv_heads = 1, lq = 1, lk = 1, d = 1, dv = 1;
  int64_t left = -1, right = -1;
  double scale = 1;
  double dropout_p = 0;  // of the weights; row = query of [batch, heads, lq], column = key

  int64_t group() const { return heads / kv_heads; }
};

// The operands in row-major order; what is absent is empty.
struct AttentionOperands {
  std::vector<double> q, k, v;
  std::vector<double> mask;       // [batch, heads, lq, lk], added to the scaled scores
  uint64_t seed = 0, offset = 0;  // of dropout
  std::vector<double> lengths;    // [batch]: keys from lengths[b] on are not seen
};

// The plain meaning of attention, in double. A query that sees no key (or only scores of -infinity) gives zeros and an lse of
// -infinity.
struct AttentionResult {
  std::vector<double> y, lse;  // [batch, heads, lq, dv] and [batch, heads, lq]
};
AttentionResult AttentionForward(const AttentionForm& form, const AttentionOperands& in);

// With p = exp(score - lse), m what dropout multiplies it by and delta = sum(dy * y): dv = (m p)^T dy, dmask = p * (m dy v^T -
// delta), dq = scale * dmask k, dk = scale * dmask^T q.
struct AttentionGradients {
  std::vector<double> dq, dk, dv, dmask;
};
AttentionGradients AttentionBackward(const AttentionForm& form, const AttentionOperands& in, const std::vector<double>& dy,
                                     const std::vector<double>& y, const std::vector<double>& lse);

}  // namespace athanor
