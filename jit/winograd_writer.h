#pragma once

#include <string>
#include <vector>

#include "jit/plan.h"
#include "jit/prelude.h"
#include "jit/source_writer.h"
#include "jit/winograd.h"

namespace athanor {

// Writes what the kernels of minimal filtering share: tiles, numbered through all images, and the transform of their windows.
class WinogradWriter {
 public:
  // `tile`: pixels of a tile in each direction. The transforms are those that turn windows into points.
  WinogradWriter(const KernelPlan& plan, const WinogradForm& form, int tile, Prelude* prelude, SourceWriter* out);

  int size() const { return size_; }
  int64_t points() const { return int64_t{size_} * size_; }
  int64_t tiles() const { return images_ * tiles_y_ * tiles_x_; }  // of all images
  int64_t tiles_x() const { return tiles_x_; }

  // Writes transform_data(args, c0, c1, p0, p1, v): the windows of tiles [p0, p1), at most `most`, in channels [c0, c1) at all points, `row` elements
  // of v from channel to channel and `point` from point to point. Whole vectors are written: of each row more than p1 - p0 elements.
  void WriteData(const WinogradTransforms::Matrix& transform, int64_t most, int64_t row, int64_t point);

  // Opens the loop over runs of tiles [p0, p1) in one row of one image: `p`, `run`, and where they are: `tx`, `ty`, `image`.
  void OpenRuns();
  void CloseRuns();                                          // "p += run" and the brace
  // e0, e1, ...: of each tile in a line of pixels `l` its elements 0 to count - 1.
  void WriteUnzip(int count);
  // Applies a matrix along both directions of a square of vectors, in loops: for what takes little of a kernel's time, they are quick to
  // compile. `load` is the vector in row $i (a number) and column j, `store` takes $v to row i and column $j.
  void WriteTwice(const WinogradTransforms::Matrix& matrix, const std::string& load, const std::string& store);
  // The same in registers, of a square of names; $i is a number, too.
  void WriteTwice(const WinogradTransforms::Matrix& matrix, const std::vector<std::vector<std::string>>& square, const std::string& store);
  // An element, or vector, of an operand's memory as f32.
  std::string Value(const Operand& operand, const std::string& element);
  // A vector of pixels of an operand: zeros outside [first, last).
  std::string Pixels(const Operand& operand, const std::string& pointer);

 private:
  std::string ImageOffset() const;
  // Between two runs of tiles, in tiles: so far the last windows of the first reach.
  int64_t Between() const { return (size_ - 1) / tile_; }
  // The part that is the same for all images, a routine; its name.
  std::string WriteDataRoutine(const WinogradTransforms::Matrix& transform);

  const KernelPlan& plan_;
  const WinogradForm& form_;
  int tile_, size_, lanes_;
  int64_t tiles_x_, tiles_y_, images_;
  Prelude* prelude_;
  SourceWriter* out_;
};

// "stem0", "stem1", ...
std::vector<std::string> WinogradNames(std::string_view stem, int count);
// A distance in elements that is no multiple of 512 bytes: it would map to few sets of the cache.
int64_t Spread(int64_t elements, int lanes);

}  // namespace athanor
