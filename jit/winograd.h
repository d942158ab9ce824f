#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "jit/plan.h"
#include "jit/source_writer.h"

namespace athanor {

// Minimal filtering F(tile x tile, taps x taps): `tile` squared outputs of a convolution from one product for each of (tile + taps - 1)
// squared points, where the sum over windows takes taps squared for each output (Winograd, "Arithmetic complexity of computations", 1980;
// Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016, arXiv:1509.09308). In one dimension
//   y = output * ((weights * g) . (data * d))
// with d of `size` = tile + taps - 1 elements, g of `taps`, y of `tile`, and . the product of elements; in two, each matrix is applied along
// both. Built from points by the construction of Toom and Cook. The points 0, +-5/8, +-13/8 and infinity lose half as much to rounding as
// the usual 0, +-1, +-2; with sums over channels taken in short parts, results are about as exact as a sum over windows in one go is.
struct WinogradTransforms {
  using Matrix = std::vector<std::vector<double>>;
  Matrix data, weights, output;                              // [size][size], [size][taps], [tile][size]
};
// With 8 points in each direction (0, +-1/2, +-1, +-2, infinity) results err four times as much as with 6, 2e-6 of their standard deviation:
// nothing beside the rounding of operands to bf16 or f16.
// REQUIRES: tile + taps - 1 is 4, 6 or 8.
WinogradTransforms MakeWinogradTransforms(int tile, int taps);

// Writes to[i] = sum over j of matrix[i][j] * from[j] for the names `from` of vectors of f32, as definitions of `to`. Rows that differ in
// signs alone, as those of points +-p do, share their sums; neighbouring columns that do are replaced by their sum and difference.
void WriteLinearMap(const WinogradTransforms::Matrix& matrix, const std::vector<std::string>& from, const std::vector<std::string>& to,
                    SourceWriter* out);

// A contraction that is a convolution of stride 1 with a square kernel, or the gradient of its weights. Of the convolution, A holds the weights
// and the columns of B are the pixels of whole images; of the gradient, the rows of A are channels and taps of the windows, and B holds the
// gradient of the pixels. A tile of the gradient has so many pixels too: its taps squared outputs are F(taps x taps, tile x tile).
struct WinogradForm {
  // Nothing for any other contraction. f32, or bf16 and f16 in memory, accumulated in f32.
  static std::optional<WinogradForm> Of(const KernelPlan& plan);

  struct Axis {
    int64_t out = 1;                                         // pixels of the result
    int64_t stride = 1;                                      // elements of the input from pixel to pixel
    int64_t origin = 0;                                      // coordinate in the input of window 0's first tap
    int64_t extent = 1;                                      // of the input: what lies outside is zero
  };
  bool gradient = false;                                     // of the weights
  int taps = 3;
  int64_t channels = 1, out_channels = 1;
  int64_t images = 1;                                        // among the columns of a batch (of a gradient: all of them)
  Axis x, y;
  // Of the input, elements: of the first pixel of the first window, from channel to channel, and from image to image of the columns.
  int64_t offset = 0, channel_stride = 0, image_stride = 0;
  const Operand* data = nullptr;
  const Operand* other = nullptr;                            // the weights, or the gradient of the pixels
  // Of the weights, elements to the first tap, from tap to tap (across, down) and from channel to channel.
  int64_t first_tap = 0, tap_x = 0, tap_y = 0, weight_channel = 0;
  // Of the gradient of the pixels, elements from row to row, and from image to image.
  int64_t gradient_row = 0, gradient_image = 0;

 private:
  bool ReadWindows(const Operand& operand);
  bool ReadWeights();
  bool ReadPixelGradient();

  std::pair<bool, bool> backward_;                           // taps, across and down
};

}  // namespace athanor
