#include "ops/conv.h"

#include <tuple>

#include "ops/conv_products.h"
#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

using Ints = std::vector<int64_t>;

constexpr int64_t kMost = int64_t{1} << 31;                  // of an attribute: no size overflows

// An attribute of one number for both directions, or one number each.
std::pair<int64_t, int64_t> Pair(std::string_view op, const Attrs& attrs, std::string_view name, int64_t least) {
  const Ints& values = Get<Ints>(attrs, name);
  if (values.empty() || values.size() > 2 || std::min(values.front(), values.back()) < least) {
    Fail("{}: {} is {}, expected one or two numbers of at least {}", op, name, ToString(values), least);
  }
  if (std::max(values.front(), values.back()) > kMost) Fail("{}: {} is {}, expected at most {}", op, name, ToString(values), kMost);
  return {values.front(), values.back()};
}

bool IsTransposed(std::string_view op) { return op == "conv_transpose2d"; }

// Channels and windows, the same for both ops but that conv_transpose2d's result is `channels`, and its input `out_channels`.
ConvForm WindowsOf(std::string_view op, const Shape& x, const Shape& weight, const Attrs& attrs) {
  if (x.size() != 4) Fail("{}: input has shape {}, expected [batch, channels, height, width]", op, ToString(x));
  const bool transposed = IsTransposed(op);
  if (weight.size() != 4) {
    Fail("{}: weight has shape {}, expected [{}, kernel height, kernel width]", op, ToString(weight),
         transposed ? "channels, out_channels / groups" : "out_channels, channels / groups");
  }
  ConvForm form = {.batch = x[0], .out_channels = weight[0], .kernel_h = weight[2], .kernel_w = weight[3]};
  std::tie(form.stride_h, form.stride_w) = Pair(op, attrs, "stride", 1);
  std::tie(form.padding_h, form.padding_w) = Pair(op, attrs, "padding", 0);
  std::tie(form.dilation_h, form.dilation_w) = Pair(op, attrs, "dilation", 1);
  form.groups = Get<int64_t>(attrs, "groups");
  if (form.groups < 1 || x[1] % form.groups != 0 || weight[0] % form.groups != 0) {
    Fail("{}: {} groups do not divide the {} input {}channels", op, form.groups, x[1],
         transposed ? "" : fmt::format("and {} output ", weight[0]));
  }
  const int64_t rows = transposed ? x[1] : weight[0], columns = transposed ? weight[1] : x[1] / form.groups;
  if (weight[0] != rows || weight[1] != columns) {
    Fail("{}: weight has shape {}, expected [{}, {}, kernel height, kernel width]", op, ToString(weight), rows,
         transposed ? "out_channels / groups" : std::to_string(columns));
  }
  if (form.kernel_h < 1 || form.kernel_w < 1) Fail("{}: weight has shape {}, its kernel is empty", op, ToString(weight));
  form.channels = weight[1] * form.groups;
  return form;
}

int64_t Reach(int64_t kernel, int64_t dilation) { return dilation * (kernel - 1) + 1; }

ConvForm ConvFormOf(const Shape& x, const Shape& weight, const Attrs& attrs) {
  ConvForm form = WindowsOf("conv2d", x, weight, attrs);
  form.height = x[2], form.width = x[3];
  const int64_t reach_h = Reach(form.kernel_h, form.dilation_h), reach_w = Reach(form.kernel_w, form.dilation_w);
  const int64_t padded_h = form.height + 2 * form.padding_h, padded_w = form.width + 2 * form.padding_w;
  if (padded_h < reach_h || padded_w < reach_w) {
    Fail("conv2d: the padded input is {} x {}, smaller than the kernel's {} x {}", padded_h, padded_w, reach_h, reach_w);
  }
  form.out_height = (padded_h - reach_h) / form.stride_h + 1;
  form.out_width = (padded_w - reach_w) / form.stride_w + 1;
  return form;
}

// The form of the convolution whose gradient of the input this is: x stands for its dy.
ConvForm TransposedFormOf(const Shape& x, const Shape& weight, const Attrs& attrs) {
  constexpr std::string_view kOp = "conv_transpose2d";
  ConvForm form = WindowsOf(kOp, x, weight, attrs);
  const auto [extra_h, extra_w] = Pair(kOp, attrs, "output_padding", 0);
  if (extra_h >= std::max(form.stride_h, form.dilation_h) || extra_w >= std::max(form.stride_w, form.dilation_w)) {
    Fail("{}: output_padding is {}, expected less than stride or dilation", kOp, ToString(Get<Ints>(attrs, "output_padding")));
  }
  form.out_height = x[2], form.out_width = x[3];
  form.height = (x[2] - 1) * form.stride_h - 2 * form.padding_h + Reach(form.kernel_h, form.dilation_h) + extra_h;
  form.width = (x[3] - 1) * form.stride_w - 2 * form.padding_w + Reach(form.kernel_w, form.dilation_w) + extra_w;
  if (x[2] < 1 || x[3] < 1 || form.height < 1 || form.width < 1) {
    Fail("{}: an input of {} x {} gives a result of {} x {}", kOp, x[2], x[3], form.height, form.width);
  }
  if (PhasesOf(form) > kMostPhases) {
    Fail("{}: stride is {}, expected at most {} phases of it", kOp, ToString(Get<Ints>(attrs, "stride")), kMostPhases);
  }
  return form;
}

ConvForm FormOf(std::string_view op, const Shape& x, const Shape& weight, const Attrs& attrs) {
  return IsTransposed(op) ? TransposedFormOf(x, weight, attrs) : ConvFormOf(x, weight, attrs);
}

// --- shape rule and reference ----------------------------------------------------------------------------------------

std::vector<TensorDesc> Infer(const OpCall& call) {
  const std::string_view op = call.op.name;
  const TensorDesc& x = call.in(0);
  const TensorDesc& weight = call.in(1);
  if (!IsFloat(x.dtype)) Fail("{}: input has dtype {}, expected a floating-point one", op, Name(x.dtype));
  if (weight.dtype != x.dtype) Fail("{}: weight has dtype {}, expected {}", op, Name(weight.dtype), Name(x.dtype));
  const ConvForm form = FormOf(op, x.shape, weight.shape, call.attrs);
  const Shape result = IsTransposed(op) ? Shape{form.batch, form.channels, form.height, form.width}
                                        : Shape{form.batch, form.out_channels, form.out_height, form.out_width};
  const TensorDesc bias = {x.dtype, {result[1]}};
  if (call.has(2) && (call.in(2).dtype != bias.dtype || call.in(2).shape != bias.shape)) {
    Fail("{}: bias is {}, expected {}", op, ToString(call.in(2)), ToString(bias));
  }
  return {{x.dtype, result}};
}

// Visits every triple of elements of y, x and weight, by their numbers, that a convolution multiplies.
void ForProducts(const ConvForm& form, const auto& visit) {
  const int64_t group_channels = form.channels / form.groups, pixels = form.out_height * form.out_width;
  for (int64_t y = 0; y < form.batch * form.out_channels * pixels; ++y) {
    const int64_t ow = y % form.out_width, oh = y / form.out_width % form.out_height, plane = y / pixels;
    const int64_t n = plane / form.out_channels, co = plane % form.out_channels;
    const int64_t first = co / (form.out_channels / form.groups) * group_channels;
    for (int64_t tap = 0; tap < group_channels * form.kernel_h * form.kernel_w; ++tap) {
      const int64_t kw = tap % form.kernel_w, kh = tap / form.kernel_w % form.kernel_h, c = tap / (form.kernel_w * form.kernel_h);
      const int64_t h = oh * form.stride_h + kh * form.dilation_h - form.padding_h;
      const int64_t w = ow * form.stride_w + kw * form.dilation_w - form.padding_w;
      if (h < 0 || h >= form.height || w < 0 || w >= form.width) continue;
      visit(y, ((n * form.channels + first + c) * form.height + h) * form.width + w,
            co * group_channels * form.kernel_h * form.kernel_w + tap);
    }
  }
}

void Reference(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const ConvForm form = FormOf(call.op.name, in[0]->desc().shape, in[1]->desc().shape, call.attrs);
  const std::vector<double> x = in[0]->ToDoubles(), weight = in[1]->ToDoubles();
  std::vector<double> result(static_cast<size_t>(out[0].elements()));
  if (call.has(2)) {
    const std::vector<double> bias = in[2]->ToDoubles();
    const Shape& shape = out[0].desc().shape;
    for (size_t i = 0; i < result.size(); ++i) result[i] = bias[i / (shape[2] * shape[3]) % shape[1]];
  }
  const bool transposed = IsTransposed(call.op.name);
  ForProducts(form, [&](int64_t y_at, int64_t x_at, int64_t weight_at) {
    if (transposed) std::swap(y_at, x_at);
    result[y_at] += x[x_at] * weight[weight_at];
  });
  out[0].Assign(result);
}

// --- core form and gradients -----------------------------------------------------------------------------------------

ValueId BiasOf(const Node& node) { return node.inputs.size() > 2 ? node.inputs[2] : kNone; }

std::vector<ValueId> Decompose(Graph& graph, const Node& node) {
  Emit emit(graph);
  const ValueId x = node.inputs[0], weight = node.inputs[1], bias = BiasOf(node);
  const ConvForm form = FormOf(node.op->name, emit.shape(x), emit.shape(weight), node.attrs);
  if (!IsTransposed(node.op->name)) return {EmitConv(graph, form, x, weight, bias)};
  const ValueId y = EmitConvInputGradient(graph, form, weight, x);
  return {bias == kNone ? y : emit.Add(y, emit.Reshape(bias, {form.channels, 1, 1}))};
}

std::vector<ValueId> Gradient(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>& wanted) {
  std::vector<ValueId> result = NoValues(node.inputs.size());
  const ValueId dy = grads[0];
  if (dy == kNone) return result;
  Emit emit(graph);
  const ValueId x = node.inputs[0], weight = node.inputs[1];
  const ConvForm form = FormOf(node.op->name, emit.shape(x), emit.shape(weight), node.attrs);
  if (IsTransposed(node.op->name)) {
    if (wanted[0]) result[0] = EmitConv(graph, form, dy, weight);
    if (wanted[1]) result[1] = EmitConvWeightGradient(graph, form, dy, x);
  } else {
    if (wanted[0] && PhasesOf(form) > kMostPhases) {
      Fail("conv2d: the gradient of an input of shape {} with strides {} and {} has {} phases, at most {} are supported",
           ToString(emit.shape(x)), form.stride_h, form.stride_w, PhasesOf(form), kMostPhases);
    }
    if (wanted[0]) result[0] = EmitConvInputGradient(graph, form, weight, dy);
    if (wanted[1]) result[1] = EmitConvWeightGradient(graph, form, x, dy);
  }
  if (BiasOf(node) != kNone && wanted[2]) result[2] = emit.Sum(dy, {0, 2, 3}, false);
  return result;
}

OpDef ConvOp(std::string_view name) {
  using Type = AttrSpec::Type;
  return {.name = name,
          .min_inputs = 2,
          .max_inputs = 3,
          .attrs = {{"stride", Type::kInts, Ints{1, 1}},
                    {"padding", Type::kInts, Ints{0, 0}},
                    {"dilation", Type::kInts, Ints{1, 1}},
                    {"groups", Type::kInt, int64_t{1}}},
          .infer = Infer,
          .reference = Reference,
          .gradient = Gradient,
          .decompose = Decompose};
}

}  // namespace

void RegisterConvOps() {
  RegisterOp(ConvOp("conv2d"));
  OpDef transposed = ConvOp("conv_transpose2d");
  transposed.attrs.push_back({"output_padding", AttrSpec::Type::kInts, Ints{0, 0}});
  RegisterOp(transposed);
}

}  // namespace athanor
