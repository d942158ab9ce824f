#include "cache/merge.h"

#include <fmt/core.h>

#include <algorithm>

namespace athanor {
namespace {

bool Same(const Cache::Info& a, const Cache::Info& b) {
  return a.entry && b.entry && a.entry->key == b.entry->key && a.entry->payload == b.entry->payload;
}

}  // namespace

bool ComesFirst(std::span<const std::byte> a, std::span<const std::byte> b) {
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
}

void AddCanonical(const CacheKey& key, std::span<const std::byte> payload, Cache& into, Additions& additions) {
  const auto present = into.Get(key);
  if (present && !ComesFirst(payload, *present)) {
    ++additions.kept;
    return;
  }
  if (!into.Put(key, payload)) {
    throw CacheError(fmt::format("cache directory {}: {} can't be written", into.directory(), key.kind() + "-" + key.digest()));
  }
  ++(present ? additions.replaced : additions.added);
}

MergeResult Merge(const Cache& from, Cache& into) {
  MergeResult result;
  from.ForEach([&](const Cache::Info& info) {
    if (!info.entry) {
      ++result.unusable;
      return;
    }
    AddCanonical(info.entry->key, info.entry->payload, into, result);
  });
  return result;
}

CacheDifference Compare(const Cache& first, const Cache& second) {
  CacheDifference difference;
  first.ForEach([&](const Cache::Info& info) {
    const auto other = second.Find(info.name);
    if (!other) {
      difference.only_first.push_back(info.name);
    } else if (Same(info, *other)) {
      ++difference.same;
    } else {
      difference.different.push_back(info.name);
    }
  });
  second.ForEach([&](const Cache::Info& info) {
    if (!first.Find(info.name)) difference.only_second.push_back(info.name);
  });
  return difference;
}

}  // namespace athanor
