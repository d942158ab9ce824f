#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "jit/body_emitter.h"

namespace athanor {

// The loops that the loop skeletons share, around one BodyEmitter. Index variables are named i<dimension>.
class LoopWriter {
 public:
  LoopWriter(BodyEmitter* emitter, Prelude* prelude, SourceWriter* out, int unroll, bool streaming)
      : emitter_(emitter), prelude_(prelude), out_(out), unroll_(unroll), streaming_(streaming) {}

  // Defines the indices of dimensions [0, count) from their flat row-major index.
  void SplitIndex(const std::string& flat, int count);
  void OpenLoop(int dim, const std::string& from, const std::string& to);
  void CloseLoop();
  // Whole vectors and a masked rest along `dim` (for the default body: the stores, in one loop for each part of the last
  // dimension in which the same stores are active). `to` and `from` may be numbers or names.
  void VectorLoop(int dim, const std::string& from, const std::string& to);
  void VectorLoop(int dim, const std::string& from, const std::string& to, int64_t multiple,
                  const std::function<void(const std::string& live)>& body) {
    VectorLoop(dim, from, to, multiple, 1, [&](int, const std::string& live) { body(live); });
  }
  // Vectors belong to `chains` chains in turn, so that sums need not wait for each other.
  void VectorLoop(int dim, const std::string& from, const std::string& to, int64_t multiple, int chains,
                  const std::function<void(int chain, const std::string& live)>& body) {
    WriteVectors(dim, from, to, multiple, false, chains, body);
  }
  // Whether names that bound a VectorLoop over the stores are multiples of the lanes: no rest is written then.
  void SetWhole(bool whole) { whole_ = whole; }
  // Called for every vector of a VectorLoop before its stores: the caller may bind values for it.
  void SetBefore(std::function<void(const std::string& index, const std::string& live)> before) { before_ = std::move(before); }
  // The same behind the stores of a VectorLoop without a body of its own, which has so many chains.
  void SetAfter(int chains, std::function<void(int chain, const std::string& live)> after) { chains_ = chains, after_ = std::move(after); }
  // Hoists what the stores need, but for those with a partial range, which may not be computed outside it.
  void HoistStores();
  void Fence();  // after streaming stores

 private:
  void WriteVectors(int dim, const std::string& from, const std::string& to, int64_t multiple, bool whole, int chains,
                    const std::function<void(int chain, const std::string& live)>& body);

  BodyEmitter* emitter_;
  Prelude* prelude_;
  SourceWriter* out_;
  int unroll_;
  bool streaming_;
  bool whole_ = false;
  std::function<void(const std::string&, const std::string&)> before_;
  int chains_ = 1;
  std::function<void(int, const std::string&)> after_;
};

}  // namespace athanor
