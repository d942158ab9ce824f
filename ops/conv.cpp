#include "ops/conv.h"

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

// --- a kernel equal to its stride: one product over the patches --------------------------------------------------------

// Refuses what the product below does not cover.
ConvForm PatchForm(const Emit& emit, const Node& node) {
  const ConvForm form = FormOf(emit.shape(node.inputs[0]), emit.shape(node.inputs[1]), node.attrs);
  const bool patches = form.kernel_h == form.stride_h && form.kernel_w == form.stride_w && form.padding_h == 0 && form.padding_w == 0 &&
                       (form.dilation_h == 1 || form.kernel_h == 1) && (form.dilation_w == 1 || form.kernel_w == 1) && form.groups == 1 &&
                       form.height % form.kernel_h == 0 && form.width % form.kernel_w == 0;
  if (!patches) {
    Fail("conv2d: only a kernel equal to its stride that divides the input, without padding, dilation or groups, is compiled; got input "
         "{} x {}, kernel {} x {}, stride {} x {}, padding {} x {}, dilation {} x {}, groups {}",
         form.height, form.width, form.kernel_h, form.kernel_w, form.stride_h, form.stride_w, form.padding_h, form.padding_w,
         form.dilation_h, form.dilation_w, form.groups);
  }
  return form;
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

std::vector<ValueId> Decompose(Graph& graph, const Node& node) {
  Emit emit(graph);
  const ConvForm form = PatchForm(emit, node);
  ValueId y = emit.Contract(Patches(emit, form, node.inputs[0]), emit.Transpose(WeightRows(emit, form, node.inputs[1])));
  if (node.inputs.size() > 2 && node.inputs[2] != kNone) y = emit.Add(y, node.inputs[2]);
  y = emit.Reshape(y, {form.batch, form.out_height, form.out_width, form.out_channels});
  return {emit.Permute(y, {0, 3, 1, 2})};
}

std::vector<ValueId> Gradient(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>& wanted) {
  Emit emit(graph);
  std::vector<ValueId> result = NoValues(node.inputs.size());
  if (grads[0] == kNone) return result;
  const ConvForm form = PatchForm(emit, node);
  const ValueId g = emit.Reshape(emit.Permute(grads[0], {0, 2, 3, 1}),
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
