#pragma once

namespace athanor {

// scaled_dot_product_attention(query [..., Lq, D], key [..., Lk, D], value [..., Lk, DV]; is_causal = false,
// scale = 1 / sqrt(D)) as in torch.nn.functional, of rank 3 or 4. A causal mask keeps key j <= query i (top left, as in PyTorch).
// attn_mask, dropout and grouped queries are refused; bf16 and f16 are computed in f32. It becomes the core ops, on rank 4 [B, H, L, D]:
// _attention(q, k, v; is_causal, scale) -> y [B, H, Lq, DV], lse [B, H, Lq], the natural logarithm of the sum of the exponentials of
// the scaled, masked scores; and _attention_backward(dy, q, k, v, y, lse; is_causal, scale) -> dq, dk, dv.
void RegisterAttentionOps();

}  // namespace athanor
