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

Addition AddCanonical(const CacheKey& key, std::span<const std::byte> payload, Cache& into) {
  const auto present = into.Get(key);
  if (present && !ComesFirst(payload, *present)) return Addition::kKept;
  if (!into.Put(key, payload)) return Addition::kFailed;
  return present ? Addition::kReplaced : Addition::kAdded;
}

MergeResult Merge(const Cache& from, Cache& into) {
  MergeResult result;
  from.ForEach([&](const Cache::Info& info) {
    if (!info.entry) {
      ++result.unusable;
      return;
    }
    switch (AddCanonical(info.entry->key, info.entry->payload, into)) {
      case Addition::kAdded:
        ++result.added;
        break;
      case Addition::kReplaced:
        ++result.replaced;
        break;
      case Addition::kKept:
        ++result.kept;
        break;
      case Addition::kFailed:
        throw CacheError(fmt::format("cache directory {}: {} can't be written", into.directory(), info.name));
    }
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
