#include "cache/background_writer.h"

namespace athanor {

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
    entries_.emplace_back(std::move(key), std::move(payload));
    if (!thread_.joinable()) thread_ = std::thread([this] { Work(); });
  }
  changed_.notify_one();
}

void BackgroundWriter::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return closing_ || !entries_.empty(); });
    if (entries_.empty()) return;
    const auto [key, payload] = std::move(entries_.front());
    entries_.pop_front();
    lock.unlock();
    try {
      cache_->Put(key, payload);
    } catch (...) {
      failure_ = std::current_exception();
      return;
    }
    lock.lock();
  }
}

}  // namespace athanor
