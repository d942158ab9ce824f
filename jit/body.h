#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "ops/layout.h"
#include "ops/scalar_fn.h"
#include "ops/tensor_desc.h"

namespace athanor {

// An access exists only where 0 <= coordinate < extent: windows reach over the edges of a tensor. The coordinate is a separable
// function of the index, as an address is.
struct Bound {
  Layout coordinate;
  int64_t extent = 0;
  bool operator==(const Bound&) const = default;
};

// A part of a tensor that lies in several places: from `begin` on, an index is looked up in argument `arg`, through `map`.
struct Piece {
  int64_t begin = 0;
  int arg = 0;
  Layout map;
  bool operator==(const Piece&) const = default;
};

// How a kernel argument is addressed from an iteration space. map.rank() is the space's rank. When `row` is set the access is
// a gather: the i64 expression `row` picks a row, and the address is map + row * row_stride (0 <= row < row_count holds by contract
// with the caller: the runtime checks indices before the launch).
struct Operand {
  // Applies `fn` to the access map and to the maps of the bounds and pieces.
  void ForEachMap(const auto& fn) { ForEachMapOf(*this, fn); }
  void ForEachMap(const auto& fn) const { ForEachMapOf(*this, fn); }

  int arg = 0;                                               // index in KernelPlan::args
  Layout map;
  int row = -1;                                              // expression
  int64_t row_stride = 0;
  int64_t row_count = 0;
  std::vector<Bound> bounds;                                 // loads only; where one does not hold, the value is `fill`
  double fill = 0;
  // Loads only, with neither `row` nor bounds: the pieces behind the first one, which is `arg` and `map`, in increasing order of `begin`.
  // The last one whose `begin` is not beyond the coordinate counts. A concatenation is read in place so.
  std::vector<Piece> pieces;
  Layout coordinate;                                         // a separable function of the index; with pieces only
  bool operator==(const Operand&) const = default;

 private:
  static void ForEachMapOf(auto& operand, const auto& fn) {
    fn(operand.map);
    for (auto& bound : operand.bounds) fn(bound.coordinate);
    for (auto& piece : operand.pieces) fn(piece.map);
    if (!operand.pieces.empty()) fn(operand.coordinate);
  }
};

// One scalar expression at each point of an iteration space.
struct Expr {
  enum class Kind : uint8_t {
    kConstant,     // value
    kLoad,         // operand
    kIndex,        // the index along dimension `dim`, i64
    kApply,        // fn over args
    kReduce,       // fn (kAdd or kMax) over args[0] along the dimensions in `axes` (bit d = dimension d)
    kAccumulator,  // the contraction's result (epilogues of a contract only)
  };
  Kind kind = Kind::kConstant;
  DType dtype = DType::kF32;                                 // of the result
  Fn fn = Fn::kAdd;
  std::array<int, 3> args = {-1, -1, -1};
  double value = 0;
  int operand = -1;                                          // index in Body::operands
  int dim = -1;
  uint32_t axes = 0;
  bool operator==(const Expr&) const = default;
};

// Writes an expression. Where the expression does not vary along a dimension that a kReduce folded away, that dimension has one
// digit {extent, 0} in the map and the value is written once.
struct Store {
  int expr = -1;
  Operand operand;
  int64_t begin = 0;                                         // only indices of one dimension in [begin, end) are written, addressed by
  int64_t end = -1;                                          // index - begin; -1: the whole extent
  int along = -1;                                            // that dimension; -1: the last one
  bool operator==(const Store&) const = default;

  bool HasRange(int dim, int rank) const { return end >= 0 && (along < 0 ? rank - 1 : along) == dim; }
};

// Expressions woven around loops over one iteration space: nodes in topological order, loaded operands, stores.
struct Body {
  std::vector<int64_t> extents;
  std::vector<Operand> operands;
  std::vector<Expr> exprs;
  std::vector<Store> stores;

  int rank() const { return static_cast<int>(extents.size()); }
  // Dimensions (bit mask) the expression's value varies along; broadcast operands and reduced dimensions are left out.
  uint32_t Varies(int expr) const;
  std::vector<uint32_t> Varies() const;                      // of every expression
  // The same of an operand's address, given Varies().
  static uint32_t Varies(const Operand& operand, const std::vector<uint32_t>& varies);
  bool operator==(const Body&) const = default;
};

std::string ToString(const Operand& operand);
std::string ToString(const Body& body);                      // deterministic; part of a kernel's structural identity

}  // namespace athanor
