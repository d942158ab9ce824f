#pragma once

#include <cstdint>
#include <thread>

namespace athanor {

// Memory for temporaries, zeroed by the system page by page as it is first touched: whole huge pages where it is worth it. A page costs more
// to bring in than to fill, so that a thread can do it while kernels are still being loaded.
class ArenaMemory {
 public:
  ArenaMemory() = default;
  // At least `bytes`, and addresses for `room` more, which cost nothing until they are touched. Throws Error where there is no memory.
  explicit ArenaMemory(int64_t bytes, int64_t room = 0);
  ~ArenaMemory();
  ArenaMemory(ArenaMemory&& other) noexcept;
  ArenaMemory& operator=(ArenaMemory&& other) noexcept;

  // Starts to bring in what the constructor was asked for. What lies there stays as it is: kernels may run meanwhile.
  void Prefault();
  // The size is known: gives back what is neither that nor asked for, or starts anew with enough. Before the memory is used.
  void Settle(int64_t bytes);
  char* data() const { return data_; }

 private:
  void Release();

  char* data_ = nullptr;
  int64_t asked_ = 0, mapped_ = 0;                           // bytes, `mapped_` with the room
  std::jthread prefault_;
};

}  // namespace athanor
