#include "ops/conv_products.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "ops/emit.h"
#include "ops/error.h"

namespace athanor {
namespace {

// --- a kernel equal to its stride: one product over the patches, pixels first -------------------------------------------

bool IsPatches(const ConvForm& form) {
  return form.kernel_h == form.stride_h && form.kernel_w == form.stride_w && form.kernel_h * form.kernel_w > 1 && form.padding_h == 0 &&
         form.padding_w == 0 && (form.dilation_h == 1 || form.kernel_h == 1) && (form.dilation_w == 1 || form.kernel_w == 1) &&
         form.groups == 1 && form.height == form.out_height * form.kernel_h && form.width == form.out_width * form.kernel_w;
}

// x as the product's rows: [N * OH * OW, C * KH * KW].
ValueId Patches(Emit& emit, const ConvForm& form, ValueId x) {
  const ValueId digits =
      emit.Reshape(x, {form.batch, form.channels, form.out_height, form.kernel_h, form.out_width, form.kernel_w});
  return emit.Reshape(emit.Permute(digits, {0, 2, 4, 1, 3, 5}),
                      {form.batch * form.out_height * form.out_width, form.channels * form.kernel_h * form.kernel_w});
}

ValueId WeightRows(Emit& emit, const ConvForm& form, ValueId weight) {
  return emit.Reshape(weight, {form.out_channels, form.channels * form.kernel_h * form.kernel_w});
}

ValueId PatchConv(Emit& emit, const ConvForm& form, ValueId x, ValueId weight, ValueId bias) {
  ValueId y = emit.Contract(Patches(emit, form, x), emit.Transpose(WeightRows(emit, form, weight)));
  if (bias != kNone) y = emit.Add(y, bias);
  y = emit.Reshape(y, {form.batch, form.out_height, form.out_width, form.out_channels});
  return emit.Permute(y, {0, 3, 1, 2});
}

// dy as rows: [N * OH * OW, CO].
ValueId PixelRows(Emit& emit, const ConvForm& form, ValueId dy) {
  return emit.Reshape(emit.Permute(dy, {0, 2, 3, 1}), {form.batch * form.out_height * form.out_width, form.out_channels});
}

ValueId PatchInputGradient(Emit& emit, const ConvForm& form, ValueId weight, ValueId dy) {
  const ValueId rows = emit.Contract(PixelRows(emit, form, dy), WeightRows(emit, form, weight));
  const ValueId digits = emit.Reshape(rows, {form.batch, form.out_height, form.out_width, form.channels, form.kernel_h, form.kernel_w});
  return emit.Reshape(emit.Permute(digits, {0, 3, 1, 4, 2, 5}), {form.batch, form.channels, form.height, form.width});
}

ValueId PatchWeightGradient(Emit& emit, const ConvForm& form, ValueId x, ValueId dy) {
  const ValueId product = emit.Contract(emit.Transpose(PixelRows(emit, form, dy)), Patches(emit, form, x));
  return emit.Reshape(product, {form.out_channels, form.channels, form.kernel_h, form.kernel_w});
}

// --- core form -------------------------------------------------------------------------------------------------------
//
// A convolution is a product over windows: y[n, co, (oh ow)] = weight[co, (c kh kw)] * window(x)[n, (c kh kw), (oh ow)]. Large images
// are the batch of that product. Small ones are further columns of it, so that no image ends in a mostly empty vector.

constexpr int64_t kSmallImage = 128;                         // pixels

bool SmallImages(int64_t pixels, const ConvForm& form) { return pixels < kSmallImage && form.groups == 1; }

// One direction of the convolution, and the windows it slides over.
struct Axis {
  int64_t size, kernel, out, stride, padding, dilation;      // size: of the input
};

std::array<Axis, 2> AxesOf(const ConvForm& form) {
  return {Axis{form.height, form.kernel_h, form.out_height, form.stride_h, form.padding_h, form.dilation_h},
          Axis{form.width, form.kernel_w, form.out_width, form.stride_w, form.padding_w, form.dilation_w}};
}

// Kernel positions and pixels of `windows` [N, C, OH, KH, OW, KW] with C in groups, as matrices.
struct Columns {
  ValueId value;
  int64_t images, groups, channels, taps, pixels;            // channels of a group
};

Columns ColumnsOf(Emit& emit, ValueId windows, int64_t groups) {
  const Shape shape = emit.shape(windows);
  return {windows, shape[0], groups, shape[1] / groups, shape[3] * shape[5], shape[2] * shape[4]};
}

// [N, G, C/G * KH * KW, OH * OW], or [C * KH * KW, N * OH * OW].
ValueId AsBatched(Emit& emit, const Columns& c, const Shape& digits) {
  const ValueId split = emit.Permute(emit.Reshape(c.value, {c.images, c.groups, c.channels, digits[2], digits[3], digits[4], digits[5]}),
                                     {0, 1, 2, 4, 6, 3, 5});
  return emit.Reshape(split, {c.images, c.groups, c.channels * c.taps, c.pixels});
}

ValueId AsMatrix(Emit& emit, const Columns& c) {
  return emit.Reshape(emit.Permute(c.value, {1, 3, 5, 0, 2, 4}), {c.channels * c.taps, c.images * c.pixels});
}

// weight [G, CO/G, (C/G KH KW)] times the windows: [N, G * CO/G, OH, OW].
ValueId Correlate(Emit& emit, ValueId weight, ValueId windows, const ConvForm& form) {
  const Shape digits = emit.shape(windows), rows = emit.shape(weight);
  const Columns c = ColumnsOf(emit, windows, form.groups);
  if (SmallImages(c.pixels, form)) {
    const ValueId y = emit.Contract(emit.Reshape(weight, {rows[1], rows[2]}), AsMatrix(emit, c));
    return emit.Permute(emit.Reshape(y, {rows[1], c.images, digits[2], digits[4]}), {1, 0, 2, 3});
  }
  const ValueId a = emit.Expand(emit.Reshape(weight, {1, rows[0], rows[1], rows[2]}), {c.images, rows[0], rows[1], rows[2]});
  const ValueId y = emit.Contract(a, AsBatched(emit, c, digits));
  return emit.Reshape(y, {c.images, rows[0] * rows[1], digits[2], digits[4]});
}

ValueId Windows(Emit& emit, const ConvForm& form, ValueId x) {
  const bool every_pixel = form.stride_h * form.stride_w == 1 && form.height == form.out_height && form.width == form.out_width;
  if (form.kernel_h * form.kernel_w == 1 && every_pixel && form.padding_h + form.padding_w == 0) {
    return emit.Reshape(x, {form.batch, form.channels, form.height, 1, form.width, 1});
  }
  std::vector<Emit::Slide> slides;
  for (const Axis& axis : AxesOf(form)) slides.push_back({axis.out, axis.kernel, -axis.padding, axis.stride, axis.dilation});
  return emit.Window(x, 2, slides);
}
// --- depthwise: one channel by one kernel, a sum of shifted images -------------------------------------------------------
//
// There is nothing for a product to reuse but the kernel: each tap is a factor times the image as the tap sees it, and vectors
// run along rows of pixels.

constexpr int64_t kMostTaps = 64;                            // terms of one expression

bool IsDepthwise(const ConvForm& form) {
  return form.groups == form.channels && form.channels > 1 && form.kernel_h * form.kernel_w <= kMostTaps;
}

// What each tap (h, w) sees of `images` [N, C, H, W]: in the dtype of the arithmetic, for each result.
ValueId Shifted(Emit& emit, ValueId images, const Emit::Slide& h, const Emit::Slide& w) {
  const Shape shape = emit.shape(images);
  const ValueId window = emit.Window(images, 2, {h, w});
  return emit.Cast(emit.Reshape(window, {shape[0], shape[1], h.extent, w.extent}), ComputeType(emit.desc(images).dtype));
}

// `slide`, of which only kernel position k.
Emit::Slide Only(const Emit::Slide& slide, int64_t k) { return {slide.extent, 1, slide.start + k * slide.dilation, slide.stride, 1}; }

Emit::Slide SlideOf(const Axis& axis) { return {axis.out, axis.kernel, -axis.padding, axis.stride, axis.dilation}; }

// The factors of one tap of weight [CO, 1, KH, KW] for channels that are factors of `shape`.
ValueId TapWeight(Emit& emit, ValueId weight, int64_t h, int64_t w, const Shape& shape) {
  const ValueId tap = emit.Slice(emit.Slice(weight, 2, h, h + 1), 3, w, w + 1);
  return emit.Cast(emit.Reshape(tap, shape), ComputeType(emit.desc(weight).dtype));
}

ValueId DepthwiseConv(Emit& emit, const ConvForm& form, ValueId x, ValueId weight, ValueId bias) {
  const auto [down, right] = AxesOf(form);
  const int64_t multiple = form.out_channels / form.channels;
  const DType dtype = emit.desc(x).dtype;
  ValueId sum = bias == kNone ? kNone : emit.Cast(emit.Reshape(bias, {1, form.channels, multiple, 1, 1}), ComputeType(dtype));
  for (int64_t h = 0; h < form.kernel_h; ++h) {
    for (int64_t w = 0; w < form.kernel_w; ++w) {
      const ValueId seen = emit.Reshape(Shifted(emit, x, Only(SlideOf(down), h), Only(SlideOf(right), w)),
                                        {form.batch, form.channels, 1, form.out_height, form.out_width});
      const ValueId term = emit.Mul(seen, TapWeight(emit, weight, h, w, {1, form.channels, multiple, 1, 1}));
      sum = sum == kNone ? term : emit.Add(sum, term);
    }
  }
  return emit.Cast(emit.Reshape(sum, {form.batch, form.out_channels, form.out_height, form.out_width}), dtype);
}

// The gradient of the weight: the sum over the pixels of dy times what each tap sees; along rows first, which all taps share.
ValueId DepthwiseWeightGradient(Emit& emit, const ConvForm& form, ValueId x, ValueId dy) {
  const auto [down, right] = AxesOf(form);
  const int64_t multiple = form.out_channels / form.channels;
  const DType dtype = emit.desc(x).dtype;
  const ValueId g = emit.Cast(emit.Reshape(dy, {form.batch, form.channels, multiple, form.out_height, form.out_width}), ComputeType(dtype));
  std::vector<ValueId> sums;
  for (int64_t h = 0; h < form.kernel_h; ++h) {
    for (int64_t w = 0; w < form.kernel_w; ++w) {
      const ValueId seen = emit.Reshape(Shifted(emit, x, Only(SlideOf(down), h), Only(SlideOf(right), w)),
                                        {form.batch, form.channels, 1, form.out_height, form.out_width});
      sums.push_back(emit.Reshape(emit.Sum(emit.Mul(g, seen), {4}, false), {1, form.batch, form.out_channels, form.out_height}));
    }
  }
  const ValueId taps = emit.Sum(emit.Cat(std::move(sums), 0), {1, 3}, false);              // [KH KW, CO]
  return emit.Cast(emit.Reshape(emit.Transpose(taps), {form.out_channels, 1, form.kernel_h, form.kernel_w}), dtype);
}

// --- gradients -------------------------------------------------------------------------------------------------------

// The input's gradient along one axis. Pixel i gets weight[k] * dy[o] from every o * stride + k * dilation - padding = i. Pixels with
// equal i % stride = `phase` share their taps k = first + j * step, and read dy at consecutive places that go down with j.
struct Phase {
  int64_t first = 0, taps = 0, step = 1;                     // taps == 0: no tap reaches the phase's pixels
  Emit::Slide slide = {};                                    // over dy
};

Phase PhaseOf(const Axis& axis, int64_t phase) {
  Phase result;
  const int64_t shared = std::gcd(axis.stride, axis.dilation);
  result.step = axis.stride / shared;
  while (result.first < axis.kernel && (result.first * axis.dilation - axis.padding - phase) % axis.stride != 0) ++result.first;
  if (result.first >= axis.kernel) return result;
  result.taps = (axis.kernel - result.first + result.step - 1) / result.step;
  const int64_t start = (phase + axis.padding - result.first * axis.dilation) / axis.stride;
  result.slide = {(axis.size + axis.stride - 1) / axis.stride, result.taps, start, 1, -(axis.dilation / shared)};
  return result;
}

// weight [G, CO/G, C/G, KH, KW] with the taps of two phases, as [G, C/G, (CO/G KH KW)].
ValueId PhaseWeight(Emit& emit, Graph& graph, ValueId weight, const Phase& h, const Phase& w) {
  auto taps = [&](ValueId v, int64_t dim, const Phase& phase) {
    const int64_t end = phase.first + (phase.taps - 1) * phase.step + 1;
    if (phase.step == 1) return emit.Slice(v, dim, phase.first, end);
    return graph.Add1("slice", {v}, {{"dim", dim}, {"start", phase.first}, {"end", end}, {"step", phase.step}});
  };
  const ValueId part = emit.Permute(taps(taps(weight, 3, h), 4, w), {0, 2, 1, 3, 4});
  const Shape shape = emit.shape(part);
  return emit.Reshape(part, {shape[0], shape[1], shape[2] * shape[3] * shape[4]});
}

// The pixels of two phases: the sum over their taps, and over the results of a channel.
ValueId DepthwisePhase(Emit& emit, const ConvForm& form, ValueId weight, ValueId dy, const Phase& h, const Phase& w) {
  const int64_t multiple = form.out_channels / form.channels;
  const DType dtype = emit.desc(dy).dtype;
  ValueId sum = kNone;
  for (int64_t i = 0; i < h.taps; ++i) {
    for (int64_t j = 0; j < w.taps; ++j) {
      const ValueId seen = emit.Reshape(Shifted(emit, dy, Only(h.slide, i), Only(w.slide, j)),
                                        {form.batch, form.channels, multiple, h.slide.extent, w.slide.extent});
      const ValueId factors = TapWeight(emit, weight, h.first + i * h.step, w.first + j * w.step, {1, form.channels, multiple, 1, 1});
      const ValueId term = emit.Mul(seen, factors);
      sum = sum == kNone ? term : emit.Add(sum, term);
    }
  }
  const Shape images = {form.batch, form.channels, h.slide.extent, w.slide.extent};
  return emit.Cast(multiple == 1 ? emit.Reshape(sum, images) : emit.Sum(sum, {2}, false), dtype);
}

// With few channels the windows of dy would be copied for hardly any arithmetic. Then the product comes first, for all taps
// at once ([N, C, KH, KW, OH, OW]), and each pixel gathers what its taps left for it (col2im).
constexpr int64_t kFewChannels = 8;

ValueId AllTaps(Emit& emit, const ConvForm& form, ValueId weight, ValueId dy) {
  const int64_t depth = form.channels * form.kernel_h * form.kernel_w, pixels = form.out_height * form.out_width;
  const ValueId a = emit.Reshape(emit.Transpose(emit.Reshape(weight, {form.out_channels, depth})), {1, depth, form.out_channels});
  const ValueId b = emit.Reshape(dy, {form.batch, form.out_channels, pixels});
  const ValueId product = emit.Contract(emit.Expand(a, {form.batch, depth, form.out_channels}), b);
  return emit.Reshape(product, {form.batch, form.channels, form.kernel_h, form.kernel_w, form.out_height, form.out_width});
}

ValueId GatherTaps(Emit& emit, ValueId taps, const Phase& h, const Phase& w) {
  const Shape shape = emit.shape(taps);
  ValueId sum = kNone;
  for (int64_t i = 0; i < h.taps; ++i) {
    for (int64_t j = 0; j < w.taps; ++j) {
      const int64_t row = h.first + i * h.step, column = w.first + j * w.step;
      const ValueId tap = emit.Slice(emit.Slice(taps, 2, row, row + 1), 3, column, column + 1);
      const ValueId moved = emit.Window(emit.Reshape(tap, {shape[0], shape[1], shape[4], shape[5]}), 2,
                                        {{h.slide.extent, 1, h.slide.start + i * h.slide.dilation, 1, 1},
                                         {w.slide.extent, 1, w.slide.start + j * w.slide.dilation, 1, 1}});
      const ValueId term = emit.Reshape(moved, {shape[0], shape[1], h.slide.extent, w.slide.extent});
      sum = sum == kNone ? term : emit.Add(sum, term);
    }
  }
  return sum;
}

ValueId PhasedInputGradient(Emit& emit, Graph& graph, const ConvForm& form, ValueId weight, ValueId dy) {
  if (PhasesOf(form) == 0) return emit.Zeros({emit.desc(dy).dtype, {form.batch, form.channels, form.height, form.width}});  // no pixels
  const bool few_channels = form.groups == 1 && form.channels < kFewChannels && form.out_channels >= kFewChannels;
  const ValueId taps = few_channels ? AllTaps(emit, form, weight, dy) : kNone;
  const auto [h, w] = AxesOf(form);
  const ValueId kernels = weight;
  weight = emit.Reshape(weight, {form.groups, form.out_channels / form.groups, form.channels / form.groups, h.kernel, w.kernel});
  const int64_t rows = (h.size + h.stride - 1) / h.stride, columns = (w.size + w.stride - 1) / w.stride;
  const int64_t phases_h = std::min(h.stride, h.size), phases_w = std::min(w.stride, w.size);   // that have pixels
  std::vector<ValueId> parts;                                // one for each pair of phases: [1, N, C, rows, columns]
  for (int64_t phase_h = 0; phase_h < phases_h; ++phase_h) {
    for (int64_t phase_w = 0; phase_w < phases_w; ++phase_w) {
      const Phase down = PhaseOf(h, phase_h), right = PhaseOf(w, phase_w);
      const TensorDesc part = {emit.desc(dy).dtype, {form.batch, form.channels, rows, columns}};
      ValueId value;
      if (down.taps == 0 || right.taps == 0) {
        value = emit.Zeros(part);
      } else if (few_channels) {
        value = GatherTaps(emit, taps, down, right);
      } else if (IsDepthwise(form)) {
        value = DepthwisePhase(emit, form, kernels, dy, down, right);
      } else {
        value = Correlate(emit, PhaseWeight(emit, graph, weight, down, right), emit.Window(dy, 2, {down.slide, right.slide}), form);
      }
      parts.push_back(emit.Reshape(value, {1, form.batch, form.channels, rows, columns}));
    }
  }
  if (parts.size() == 1) return emit.Reshape(parts[0], {form.batch, form.channels, h.size, w.size});
  const ValueId all = emit.Reshape(emit.Cat(parts, 0), {phases_h, phases_w, form.batch, form.channels, rows, columns});
  const ValueId dx = emit.Reshape(emit.Permute(all, {2, 3, 4, 0, 5, 1}), {form.batch, form.channels, rows * phases_h, columns * phases_w});
  return emit.Slice(emit.Slice(dx, 2, 0, h.size), 3, 0, w.size);
}

// [(C/G KH KW), N * OH * OW] windows times dy, transposed.
ValueId PixelWeightGradient(Emit& emit, const ConvForm& form, ValueId x, ValueId dy) {
  const int64_t pixels = form.out_height * form.out_width, depth = form.channels / form.groups * form.kernel_h * form.kernel_w,
                out_channels = form.out_channels / form.groups;
  const ValueId windows = emit.Reshape(Windows(emit, form, x), {form.batch, form.groups, form.channels / form.groups, form.out_height,
                                                                form.kernel_h, form.out_width, form.kernel_w});
  ValueId a = emit.Reshape(emit.Permute(windows, {1, 2, 4, 6, 0, 3, 5}), {form.groups, depth, form.batch * pixels});
  ValueId b = emit.Permute(emit.Reshape(dy, {form.batch, form.groups, out_channels, pixels}), {1, 0, 3, 2});
  b = emit.Reshape(b, {form.groups, form.batch * pixels, out_channels});
  if (form.groups == 1) a = emit.Reshape(a, {depth, form.batch * pixels}), b = emit.Reshape(b, {form.batch * pixels, out_channels});
  const ValueId product = emit.Transpose(emit.Contract(a, b));
  return emit.Reshape(product, {form.out_channels, form.channels / form.groups, form.kernel_h, form.kernel_w});
}

}  // namespace

ValueId EmitConv(Graph& graph, const ConvForm& form, ValueId x, ValueId weight, ValueId bias) {
  Emit emit(graph);
  if (IsPatches(form)) return PatchConv(emit, form, x, weight, bias);
  if (IsDepthwise(form)) return DepthwiseConv(emit, form, x, weight, bias);
  const int64_t depth = form.channels / form.groups * form.kernel_h * form.kernel_w;
  const ValueId rows = emit.Reshape(weight, {form.groups, form.out_channels / form.groups, depth});
  const ValueId y = Correlate(emit, rows, Windows(emit, form, x), form);
  return bias == kNone ? y : emit.Add(y, emit.Reshape(bias, {form.out_channels, 1, 1}));
}

int64_t PhasesOf(const ConvForm& form) { return std::min(form.stride_h, form.height) * std::min(form.stride_w, form.width); }

ValueId EmitConvInputGradient(Graph& graph, const ConvForm& form, ValueId weight, ValueId dy) {
  Emit emit(graph);
  if (IsPatches(form)) return PatchInputGradient(emit, form, weight, dy);
  ATHANOR_CHECK(PhasesOf(form) <= kMostPhases);
  return PhasedInputGradient(emit, graph, form, weight, dy);
}

ValueId EmitConvWeightGradient(Graph& graph, const ConvForm& form, ValueId x, ValueId dy) {
  Emit emit(graph);
  if (IsPatches(form)) return PatchWeightGradient(emit, form, x, dy);
  return IsDepthwise(form) ? DepthwiseWeightGradient(emit, form, x, dy) : PixelWeightGradient(emit, form, x, dy);
}

}  // namespace athanor
