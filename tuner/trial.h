#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace athanor {

// Memory that a trial's process shares with this one, between pages that nobody may touch: what lies far outside is a crash.
class SharedBuffer {
 public:
  explicit SharedBuffer(int64_t bytes);                      // zeros, on a page's boundary. Throws Error when there is no memory
  ~SharedBuffer();
  SharedBuffer(const SharedBuffer&) = delete;
  SharedBuffer& operator=(const SharedBuffer&) = delete;
  char* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  char* data_ = nullptr;
  int64_t bytes_ = 0, mapped_ = 0;
};

// Runs `run` in a forked child and waits for it. Empty when it came to its end, else what became of it: a signal, or more than
// `cpu_seconds` of processor time (so a loaded machine does not change the verdict). `run` sees this process's memory as it is now;
// what it writes is kept in SharedBuffers only. REQUIRES: `run` allocates nothing, takes no lock and prints nothing, for the
// threads that might hold one do not exist in the child.
std::string Try(const std::function<void()>& run, double cpu_seconds);

}  // namespace athanor
