#include "ops/conv.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <tuple>

#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

struct ConvForm {
  int64_t batch, channels, height, width;                    // of the input
  int64_t out_channels, kernel_h, kernel_w, out_height, out_width;
  int64_t stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w, groups;
};

// An attribute of one number for both directions, or one number each.
std::pair<int64_t, int64_t> Pair(const Attrs& attrs, std::string_view name, int64_t least) {
  const auto& values = Get<std::vector<int64_t>>(attrs, name);
  if (values.empty() || values.size() > 2 || values.front() < least || values.back() < least) {
    Fail("conv2d: {} is {}, expected one or two numbers of at least {}", name, ToString(values), least);
  }
  return {values.front(), values.back()};
}

ConvForm FormOf(const Shape& x, const Shape& weight, const Attrs& attrs) {
  if (x.size() != 4) Fail("conv2d: input has shape {}, expected [batch, channels, height, width]", ToString(x));
  if (weight.size() != 4) {
    Fail("conv2d: weight has shape {}, expected [out_channels, channels / groups, kernel height, kernel width]", ToString(weight));
  }
  ConvForm form = {.batch = x[0], .channels = x[1], .height = x[2], .width = x[3]};
  form.out_channels = weight[0], form.kernel_h = weight[2], form.kernel_w = weight[3];
  std::tie(form.stride_h, form.stride_w) = Pair(attrs, "stride", 1);
  std::tie(form.padding_h, form.padding_w) = Pair(attrs, "padding", 0);
  std::tie(form.dilation_h, form.dilation_w) = Pair(attrs, "dilation", 1);
  form.groups = Get<int64_t>(attrs, "groups");
  if (form.groups < 1 || form.channels % form.groups != 0 || form.out_channels % form.groups != 0) {
    Fail("conv2d: {} groups do not divide the {} input and {} output channels", form.groups, form.channels, form.out_channels);
  }
  if (weight[1] * form.groups != form.channels) {
    Fail("conv2d: weight has shape {}, expected [{}, {}, kernel height, kernel width]", ToString(weight), form.out_channels,
         form.channels / form.groups);
  }
  if (form.kernel_h < 1 || form.kernel_w < 1) Fail("conv2d: weight has shape {}, its kernel is empty", ToString(weight));
  const int64_t reach_h = form.dilation_h * (form.kernel_h - 1) + 1, reach_w = form.dilation_w * (form.kernel_w - 1) + 1;
  const int64_t padded_h = form.height + 2 * form.padding_h, padded_w = form.width + 2 * form.padding_w;
  if (padded_h < reach_h || padded_w < reach_w) {
    Fail("conv2d: the padded input is {} x {}, smaller than the kernel's {} x {}", padded_h, padded_w, reach_h, reach_w);
  }
  form.out_height = (padded_h - reach_h) / form.stride_h + 1;
  form.out_width = (padded_w - reach_w) / form.stride_w + 1;
  return form;
}

std::vector<TensorDesc> Infer(const OpCall& call) {
  const TensorDesc& x = call.in(0);
  const TensorDesc& weight = call.in(1);
  if (!IsFloat(x.dtype)) Fail("conv2d: input has dtype {}, expected a floating-point one", Name(x.dtype));
  if (weight.dtype != x.dtype) Fail("conv2d: weight has dtype {}, expected {}", Name(weight.dtype), Name(x.dtype));
  const ConvForm form = FormOf(x.shape, weight.shape, call.attrs);
  const TensorDesc bias = {x.dtype, {form.out_channels}};
  if (call.has(2) && (call.in(2).dtype != bias.dtype || call.in(2).shape != bias.shape)) {
    Fail("conv2d: bias is {}, expected {}", ToString(call.in(2)), ToString(bias));
  }
  return {{x.dtype, {form.batch, form.out_channels, form.out_height, form.out_width}}};
}

// One output element without its bias.
double Window(const ConvForm& form, const HostTensor& x, const HostTensor& weight, int64_t n, int64_t co, int64_t oh, int64_t ow) {
  const int64_t group_channels = form.channels / form.groups;
  const int64_t first = co / (form.out_channels / form.groups) * group_channels;
  double sum = 0;
  for (int64_t c = 0; c < group_channels; ++c) {
    for (int64_t kh = 0; kh < form.kernel_h; ++kh) {
      const int64_t h = oh * form.stride_h + kh * form.dilation_h - form.padding_h;
      if (h < 0 || h >= form.height) continue;
      for (int64_t kw = 0; kw < form.kernel_w; ++kw) {
        const int64_t w = ow * form.stride_w + kw * form.dilation_w - form.padding_w;
        if (w < 0 || w >= form.width) continue;
        sum += x.Get(((n * form.channels + first + c) * form.height + h) * form.width + w) *
               weight.Get(((co * group_channels + c) * form.kernel_h + kh) * form.kernel_w + kw);
      }
    }
  }
  return sum;
}

void Reference(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const ConvForm form = FormOf(in[0]->desc().shape, in[1]->desc().shape, call.attrs);
  const HostTensor* bias = in.size() > 2 ? in[2] : nullptr;
  for (int64_t index = 0; index < out[0].elements(); ++index) {
    const int64_t ow = index % form.out_width, oh = index / form.out_width % form.out_height;
    const int64_t plane = index / (form.out_width * form.out_height), co = plane % form.out_channels;
    out[0].Set(index, Window(form, *in[0], *in[1], plane / form.out_channels, co, oh, ow) + (bias ? bias->Get(co) : 0));
  }
}

// --- a kernel equal to its stride: one product over the patches, pixels first -------------------------------------------

bool IsPatches(const ConvForm& form) {
  return form.kernel_h == form.stride_h && form.kernel_w == form.stride_w && form.kernel_h * form.kernel_w > 1 && form.padding_h == 0 &&
         form.padding_w == 0 && (form.dilation_h == 1 || form.kernel_h == 1) && (form.dilation_w == 1 || form.kernel_w == 1) &&
         form.groups == 1 && form.height % form.kernel_h == 0 && form.width % form.kernel_w == 0;
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

ValueId DecomposePatches(Emit& emit, const ConvForm& form, const Node& node) {
  ValueId y = emit.Contract(Patches(emit, form, node.inputs[0]), emit.Transpose(WeightRows(emit, form, node.inputs[1])));
  if (node.inputs.size() > 2 && node.inputs[2] != kNone) y = emit.Add(y, node.inputs[2]);
  y = emit.Reshape(y, {form.batch, form.out_height, form.out_width, form.out_channels});
  return emit.Permute(y, {0, 3, 1, 2});
}

std::vector<ValueId> PatchGradient(Emit& emit, const ConvForm& form, const Node& node, ValueId dy, const std::vector<bool>& wanted) {
  std::vector<ValueId> result = NoValues(node.inputs.size());
  const ValueId g = emit.Reshape(emit.Permute(dy, {0, 2, 3, 1}),
                                 {form.batch * form.out_height * form.out_width, form.out_channels});
  if (wanted[0]) {
    const ValueId rows = emit.Contract(g, WeightRows(emit, form, node.inputs[1]));
    const ValueId digits =
        emit.Reshape(rows, {form.batch, form.out_height, form.out_width, form.channels, form.kernel_h, form.kernel_w});
    result[0] = emit.Reshape(emit.Permute(digits, {0, 3, 1, 4, 2, 5}), {form.batch, form.channels, form.height, form.width});
  }
  if (wanted[1]) {
    const ValueId product = emit.Contract(emit.Transpose(g), Patches(emit, form, node.inputs[0]));
    result[1] = emit.Reshape(product, {form.out_channels, form.channels, form.kernel_h, form.kernel_w});
  }
  if (result.size() > 2 && node.inputs[2] != kNone && wanted[2]) result[2] = emit.Sum(g, {0}, false);
  return result;
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
  if (form.kernel_h * form.kernel_w * form.stride_h * form.stride_w == 1 && form.padding_h + form.padding_w == 0) {
    return emit.Reshape(x, {form.batch, form.channels, form.height, 1, form.width, 1});
  }
  std::vector<Emit::Slide> slides;
  for (const Axis& axis : AxesOf(form)) slides.push_back({axis.out, axis.kernel, -axis.padding, axis.stride, axis.dilation});
  return emit.Window(x, 2, slides);
}

std::vector<ValueId> Decompose(Graph& graph, const Node& node) {
  Emit emit(graph);
  const ConvForm form = FormOf(emit.shape(node.inputs[0]), emit.shape(node.inputs[1]), node.attrs);
  if (IsPatches(form)) return {DecomposePatches(emit, form, node)};
  const int64_t depth = form.channels / form.groups * form.kernel_h * form.kernel_w;
  const ValueId weight = emit.Reshape(node.inputs[1], {form.groups, form.out_channels / form.groups, depth});
  ValueId y = Correlate(emit, weight, Windows(emit, form, node.inputs[0]), form);
  if (node.inputs.size() > 2 && node.inputs[2] != kNone) y = emit.Add(y, emit.Reshape(node.inputs[2], {form.out_channels, 1, 1}));
  return {y};
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

// With few channels the windows of dy would be copied for hardly any arithmetic. Then the product comes first, for all taps
// at once ([N, C, KH, KW, OH, OW]), and each pixel gathers what its taps left for it (col2im).
constexpr int64_t kFewChannels = 8;

constexpr int64_t kMostPhases = 1024;                        // each is a product of its own

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

ValueId InputGradient(Emit& emit, Graph& graph, const ConvForm& form, ValueId weight, ValueId dy) {
  const bool few_channels = form.groups == 1 && form.channels < kFewChannels && form.out_channels >= kFewChannels;
  const ValueId taps = few_channels ? AllTaps(emit, form, weight, dy) : kNone;
  const auto [h, w] = AxesOf(form);
  weight = emit.Reshape(weight, {form.groups, form.out_channels / form.groups, form.channels / form.groups, h.kernel, w.kernel});
  const int64_t rows = (h.size + h.stride - 1) / h.stride, columns = (w.size + w.stride - 1) / w.stride;
  const int64_t phases_h = std::min(h.stride, h.size), phases_w = std::min(w.stride, w.size);   // that have pixels
  if (phases_h * phases_w > kMostPhases) {
    Fail("conv2d: the gradient of an input of shape {} with strides {} and {} has {} phases, at most {} are supported",
         ToString(Shape{form.batch, form.channels, h.size, w.size}), h.stride, w.stride, phases_h * phases_w, kMostPhases);
  }
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
ValueId WeightGradient(Emit& emit, const ConvForm& form, ValueId x, ValueId dy) {
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

std::vector<ValueId> Gradient(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>& wanted) {
  Emit emit(graph);
  std::vector<ValueId> result = NoValues(node.inputs.size());
  if (grads[0] == kNone) return result;
  const ConvForm form = FormOf(emit.shape(node.inputs[0]), emit.shape(node.inputs[1]), node.attrs);
  if (IsPatches(form)) return PatchGradient(emit, form, node, grads[0], wanted);
  if (wanted[0]) result[0] = InputGradient(emit, graph, form, node.inputs[1], grads[0]);
  if (wanted[1]) result[1] = WeightGradient(emit, form, node.inputs[0], grads[0]);
  if (result.size() > 2 && node.inputs[2] != kNone && wanted[2]) result[2] = emit.Sum(grads[0], {0, 2, 3}, false);
  return result;
}

}  // namespace

void RegisterConvOps() {
  using Type = AttrSpec::Type;
  RegisterOp({.name = "conv2d",
              .min_inputs = 2,
              .max_inputs = 3,
              .attrs = {{"stride", Type::kInts, std::vector<int64_t>{1, 1}},
                        {"padding", Type::kInts, std::vector<int64_t>{0, 0}},
                        {"dilation", Type::kInts, std::vector<int64_t>{1, 1}},
                        {"groups", Type::kInt, int64_t{1}}},
              .infer = Infer,
              .reference = Reference,
              .gradient = Gradient,
              .decompose = Decompose});
}

}  // namespace athanor
