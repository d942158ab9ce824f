#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "cache/cache.h"

namespace athanor {

// Stores entries in a cache on a thread of its own, so that who makes them does not wait for the disk.
class BackgroundWriter {
 public:
  explicit BackgroundWriter(Cache* cache) : cache_(cache) {}
  // Returns when all entries are stored, or could not be (Cache::Put warned).
  ~BackgroundWriter();
  BackgroundWriter(const BackgroundWriter&) = delete;
  BackgroundWriter& operator=(const BackgroundWriter&) = delete;

  // Thread-safe.
  void Put(CacheKey key, std::vector<std::byte> payload);

 private:
  void Work();

  Cache* cache_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<CacheKey, std::vector<std::byte>>> entries_;
  bool closing_ = false;
  std::thread thread_;                                       // started at the first entry
};

}  // namespace athanor
