#pragma once

namespace athanor {

// Rows picked by index: embedding(indices, weight), index_select(x, index; dim), gather(x, index; dim) and one_hot(x; num_classes),
// meaning as in torch.nn.functional and torch. Indices are i64 or i32. They become the core ops
// _gather_rows(table [V, D...], indices i64 [S...]) -> [S..., D...] and
// _scatter_add_rows(rows [S..., D...], indices i64 [S...]; table_rows = V) -> [V, D...], the sum of the rows of each index.
// _scatter_rows(rows [S..., D...], indices i64 [S...], table [V, D...]) is the table with these rows at their indices, the last one where
// several have the same; kv_append is made of it.
// An index outside of [0, V) is an Error when the op runs.
void RegisterEmbeddingOps();

}  // namespace athanor
