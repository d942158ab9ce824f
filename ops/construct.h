#pragma once

namespace athanor {

// Ops that put a tensor together: cat(tensors...; dim = 0) and tril(x; diagonal = 0) as in torch, and the internal
// _iota(; shape, dim), the index along `dim` as an i64 tensor.
void RegisterConstructOps();

}  // namespace athanor
