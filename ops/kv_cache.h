#pragma once

namespace athanor {

// Registers kv_append (cache [batch, heads, size, width], entries [batch, heads, length, width], lengths i64 or i32 [batch] or a
// scalar): the cache with sequence b's entries written behind its first lengths[b] ones. Nothing is changed in place. It needs
// 0 <= lengths[b] <= size - length.
void RegisterKvCacheOps();

}  // namespace athanor
