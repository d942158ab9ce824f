#include "runtime/arena_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "jit/integer_math.h"
#include "ops/error.h"

namespace athanor {
namespace {

constexpr int64_t kPage = 4096, kHugePage = 2 << 20;

// A compare-and-exchange writes what is there already, also beside a kernel's stores; a page has to be written to for being brought in.
void Touch(const std::stop_token& stop, char* data, int64_t bytes) {
  for (int64_t at = 0; at < bytes && !stop.stop_requested(); at += kPage) {
    char zero = 0;
    std::atomic_ref<char>(data[at]).compare_exchange_strong(zero, 0, std::memory_order_relaxed);
  }
}

}  // namespace

ArenaMemory::ArenaMemory(int64_t bytes, int64_t room) : asked_(bytes) {
  const bool huge = bytes >= kHugePage;
  const int64_t unit = huge ? kHugePage : kPage;
  mapped_ = RoundUp(std::max<int64_t>(1, bytes + room), unit);
  // Somewhere in a mapping that is longer by one unit lies an aligned one.
  void* mapping = mmap(nullptr, mapped_ + unit, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) Fail("out of memory: {} bytes for temporaries", bytes);
  char* const begin = static_cast<char*>(mapping);
  data_ = reinterpret_cast<char*>(RoundUp(reinterpret_cast<intptr_t>(begin), unit));
  if (data_ > begin) munmap(begin, data_ - begin);
  munmap(data_ + mapped_, begin + unit - data_);
  if (huge) madvise(data_, mapped_, MADV_HUGEPAGE);          // advice: without huge pages it is only slower
}

ArenaMemory::~ArenaMemory() { Release(); }

ArenaMemory::ArenaMemory(ArenaMemory&& other) noexcept { *this = std::move(other); }

ArenaMemory& ArenaMemory::operator=(ArenaMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(asked_, other.asked_);
  std::swap(mapped_, other.mapped_);
  std::swap(prefault_, other.prefault_);
  return *this;
}

void ArenaMemory::Prefault() { prefault_ = std::jthread(Touch, data_, asked_); }

void ArenaMemory::Settle(int64_t bytes) {
  const int64_t kept = RoundUp(std::max<int64_t>({bytes, asked_, 1}), kPage);
  if (kept > mapped_) {
    *this = ArenaMemory(bytes);
  } else if (kept < mapped_) {
    munmap(data_ + kept, mapped_ - kept);
    mapped_ = kept;
  }
}

void ArenaMemory::Release() {
  if (prefault_.joinable()) {
    prefault_.request_stop();
    prefault_.join();
  }
  if (data_ != nullptr) munmap(data_, mapped_);
}

}  // namespace athanor
