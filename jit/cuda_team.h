#pragma once

#include <span>
#include <string>

#include "jit/cuda_emitter.h"

namespace athanor {

// Threads of a block that share a piece of work, such as a row, and add up over each other: a part of a warp, a warp, or all of the
// block. In generated code `t` is a thread's number in its team.
class CudaTeam {
 public:
  // A sum or maximum of which every thread has a part in the variable `name`.
  struct Partial {
    std::string name;
    Fn fn = Fn::kAdd;                                        // or kMax
    DType dtype = DType::kF32;
  };

  // `size`: a power of two up to 32, or `threads`, all of the block's.
  CudaTeam(int threads, int size, CudaEmitter* emitter, SourceWriter* out) : threads_(threads), size_(size), emitter_(emitter), out_(out) {}

  int size() const { return size_; }
  int in_block() const { return threads_ / size_; }
  bool in_warp() const { return size_ <= kWarp; }
  std::string Number() const;                                // of this team in the grid; does not bind tightly
  // Defines t and, where teams of a warp reduce, the set of their threads.
  void Declare(bool reduces) const;
  // Every thread of the team gets the same bits in each of the variables; all must come here. `again`: they may come to this very
  // place again before any other Reduce.
  void Reduce(std::span<const Partial> partials, bool again) const;
  std::string Combine(const Partial& partial, const std::string& a, const std::string& b) const;
  std::string Start(const Partial& partial) const;           // of a part: what changes nothing

  static constexpr int kWarp = 32;

 private:
  const int threads_, size_;
  CudaEmitter* emitter_;
  SourceWriter* out_;
};

}  // namespace athanor
