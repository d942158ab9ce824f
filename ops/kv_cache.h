#pragma once

namespace athanor {

// Registers kv_append (cache [batch, heads, size, width], entries [batch, heads, length, width], lengths i64 or i32 [batch] or a
// scalar): the cache with sequence b's entries written behind its first lengths[b] ones. It needs
// 0 <= lengths[b] <= size - length. By itself it changes nothing in place; where the result is an output that lives in the cache's memory
// (InPlace), only the entries are written.
void RegisterKvCacheOps();

}  // namespace athanor
