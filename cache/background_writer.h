#pragma once

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "cache/cache.h"

namespace athanor {

// Stores entries in a cache on a thread of its own, so that who makes them does not wait for the disk. What comes while it is busy goes to the disk together.
class BackgroundWriter {
 public:
  explicit BackgroundWriter(Cache* cache) : cache_(cache) {}
  // As Finish, but keeps a failure to itself.
  ~BackgroundWriter();
  BackgroundWriter(const BackgroundWriter&) = delete;
  BackgroundWriter& operator=(const BackgroundWriter&) = delete;

  // Thread-safe.
  void Put(CacheKey key, std::vector<std::byte> payload);
  // Returns when all entries are stored, or could not be (the cache warned); nothing is put afterwards. Rethrows what Cache::PutAll threw.
  void Finish();

 private:
  void Work();
  void Join();

  Cache* cache_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Cache::NewEntry> entries_;
  bool closing_ = false;
  std::exception_ptr failure_;                               // the first; entries behind it are not stored
  std::thread thread_;                                       // started at the first entry
};

}  // namespace athanor
