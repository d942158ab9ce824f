#include "cache/background_writer.h"

#include <algorithm>
#include <span>
#include <utility>

namespace athanor {
namespace {

constexpr size_t kTogether = 32;                             // files that are open at a time

}  // namespace

BackgroundWriter::~BackgroundWriter() { Join(); }

void BackgroundWriter::Finish() {
  Join();
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void BackgroundWriter::Join() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void BackgroundWriter::Put(CacheKey key, std::vector<std::byte> payload) {
  {
    const std::lock_guard lock(mutex_);
    entries_.push_back({std::move(key), std::move(payload)});
    if (!thread_.joinable()) thread_ = std::thread([this] { Work(); });
  }
  changed_.notify_one();
}

void BackgroundWriter::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return closing_ || !entries_.empty(); });
    if (entries_.empty()) return;
    const std::vector<Cache::NewEntry> entries = std::exchange(entries_, {});
    lock.unlock();
    try {
      for (size_t done = 0; done < entries.size(); done += kTogether) {
        cache_->PutAll(std::span(entries).subspan(done, std::min(kTogether, entries.size() - done)));
      }
    } catch (...) {
      failure_ = std::current_exception();
      return;
    }
    lock.lock();
  }
}

}  // namespace athanor
