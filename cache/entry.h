#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "cache/key.h"

namespace athanor {

// One entry as it lies on disk; docs/cache-format.md describes the bytes. It says everything about itself: its full key, so
// that a miss can be explained, and a checksum over all that comes before.
struct CacheEntry {
  CacheKey key;
  std::vector<std::byte> payload;
};

// Larger entries are neither written nor read.
inline constexpr int64_t kMaxEntryBytes = int64_t{1} << 30;

std::vector<std::byte> EncodeEntry(const CacheKey& key, std::span<const std::byte> payload);
// The entry, or what is wrong with the bytes. Bounded: never reads or allocates more than a small multiple of the input.
std::variant<CacheEntry, std::string> DecodeEntry(std::span<const std::byte> bytes);

}  // namespace athanor
