#pragma once

namespace athanor {

// Matrix products: matmul(a, b) as torch.matmul (vectors, matrices, broadcast batches), linear(x [..., K], weight [N, K],
// bias? [N]) as torch.nn.functional.linear, and the core op both become:
// _contract(a [batch..., M, K], b [batch..., K, N]) -> [batch..., M, N], equal batch extents.
void RegisterContractOps();

}  // namespace athanor
