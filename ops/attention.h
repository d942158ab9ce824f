#pragma once

#include <cstdint>

#include "ops/graph.h"

namespace athanor {

// scaled_dot_product_attention(query [..., Hq, Lq, D], key [..., H, Lk, D], value [..., H, Lk, DV], attn_mask = null,
//   key_lengths = null, seed = null, offset = 0; is_causal = false, scale = 1 / sqrt(D), enable_gqa = false, dropout_p = 0,
//   window = [-1, -1]) as in torch.nn.functional.
// - The leading dimensions broadcast; with enable_gqa, Hq is a multiple of H and query head h reads head h / (Hq / H).
// - attn_mask broadcasts to [..., Hq, Lq, Lk]: boolean (true: seen), or added to the scaled scores (f32 or the query's dtype;
//   differentiable).
// - is_causal keeps key j <= query i (top left, as in PyTorch); it excludes attn_mask.
// - A query that sees no key gives zeros.
// Beyond PyTorch: window = [left, right] keeps the keys i - left <= j <= i + right (a sliding window; -1: no bound), and
// key_lengths [B] (i32 or i64) keeps the keys j < key_lengths[b], so that a cache may be longer than what is in it; the rest is
// never read. dropout_p needs seed, and may have offset, i64 scalars: ops/philox.h says which weights are dropped, row being the
// query's number in [B, Hq, Lq] and column the key. bf16 and f16 are computed in f32, and only stored in their own dtype.
//
// It becomes the core ops, on rank 4 [B, H, L, D]; `left` and `right` are the bounds of the band:
//   _attention(q, k, v, mask?, lengths?, (seed, offset)?; left, right, scale, masked, ragged, dropout_p) -> y [B, Hq, Lq, DV],
//     lse [B, Hq, Lq] (in the dtype of the arithmetic), the natural logarithm of the sum of the exponentials of the scaled,
//     masked scores;
//   _attention_backward(dy, q, k, v, y, lse, mask?, lengths?, (seed, offset)?; ..., mask_gradient) -> dq, dk, dv, and dmask
//     [B, Hq, Lq, Lk] where asked for.
// mask is [B, Hq, Lq, Lk], usually through a broadcast view; lengths i64 [B].
void RegisterAttentionOps();

// Where the optional inputs of a core call stand among its inputs; -1: absent.
struct AttentionInputs {
  int q = 0;                               // then k and v
  int mask = -1, lengths = -1, seed = -1;  // the offset follows the seed
  int count = 0;
};
AttentionInputs AttentionInputsOf(const OpDef& core, const Attrs& attrs);

}  // namespace athanor
