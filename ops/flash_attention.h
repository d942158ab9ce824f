#pragma once

namespace athanor {

// Attention in two halves, for frameworks that differentiate by themselves and keep what the backward needs:
//   flash_attention(query [B, Hq, Lq, D], key [B, H, Lk, D], value [B, H, Lk, DV], attn_mask?; is_causal = false, scale = 1 / sqrt(D))
//     -> y [B, Hq, Lq, DV], lse [B, Hq, Lq] in the dtype of the arithmetic (f32 for bf16 and f16): the natural logarithm of the sum of the
//     exponentials of the scaled, masked scores;
//   flash_attention_backward(dy, query, key, value, y, lse, attn_mask?; ...) -> dquery, dkey, dvalue.
// Hq is a multiple of H. Masks as in scaled_dot_product_attention (ops/attention.h). They are the core ops by other names.
void RegisterFlashAttentionOps();

}  // namespace athanor
