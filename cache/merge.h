#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cache/cache.h"

namespace athanor {

// Which of two payloads of one key caches agree on: the one that comes first in byte order. Both are good (the machine and
// everything else that matters is in the key); what counts is that in whatever order caches are merged, all end with the same.
bool ComesFirst(std::span<const std::byte> a, std::span<const std::byte> b);

struct Additions {
  int64_t added = 0, replaced = 0, kept = 0;
};
// Stores an entry unless the cache has that key with a payload that comes first, or is the same; counts what became of it.
// Throws CacheError when `into` can't be written.
void AddCanonical(const CacheKey& key, std::span<const std::byte> payload, Cache& into, Additions& additions);

struct MergeResult : Additions {
  int64_t unusable = 0;  // entries of `from`, left out
};
// Makes `into` the union of both. Throws CacheError when `into` can't be written.
MergeResult Merge(const Cache& from, Cache& into);

struct CacheDifference {
  std::vector<std::string> only_first, only_second, different;  // names of entries; an unusable one differs from everything
  int64_t same = 0;
};
CacheDifference Compare(const Cache& first, const Cache& second);

}  // namespace athanor
