#include "ops/unfold.h"

#include <algorithm>
#include <array>

#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

using Type = AttrSpec::Type;
using Ints = std::vector<int64_t>;

struct Axis {
  int64_t size, kernel, out, stride, padding, dilation;
};

struct Form {
  int64_t batch, channels;
  std::array<Axis, 2> axes;
  bool batched;

  Shape columns() const {
    const int64_t rows = channels * axes[0].kernel * axes[1].kernel, windows = axes[0].out * axes[1].out;
    return batched ? Shape{batch, rows, windows} : Shape{rows, windows};
  }
};

std::array<int64_t, 2> Pair(const Attrs& attrs, std::string_view name, int64_t least) {
  const Ints& values = Get<Ints>(attrs, name);
  constexpr int64_t kMost = int64_t{1} << 30;
  if (values.empty() || values.size() > 2 || std::min(values.front(), values.back()) < least || std::max(values.front(), values.back()) > kMost) {
    Fail("unfold: {} is {}, expected one or two numbers from {} to {}", name, ToString(values), least, kMost);
  }
  return {values.front(), values.back()};
}

Form FormOf(const Shape& x, const Attrs& attrs) {
  if (x.size() != 3 && x.size() != 4) Fail("unfold: input has shape {}, expected [batch, channels, height, width]", ToString(x));
  const bool batched = x.size() == 4;
  Form form = {batched ? x[0] : 1, x[x.size() - 3], {}, batched};
  const auto kernel = Pair(attrs, "kernel_size", 1), stride = Pair(attrs, "stride", 1), padding = Pair(attrs, "padding", 0),
             dilation = Pair(attrs, "dilation", 1);
  for (size_t a = 0; a < 2; ++a) {
    Axis& axis = form.axes[a];
    axis = {x[x.size() - 2 + a], kernel[a], 0, stride[a], padding[a], dilation[a]};
    const int64_t room = axis.size + 2 * axis.padding - axis.dilation * (axis.kernel - 1) - 1;
    if (room < 0) {
      Fail("unfold: the padded extent {} is smaller than the kernel's reach {}", axis.size + 2 * axis.padding, axis.dilation * (axis.kernel - 1) + 1);
    }
    axis.out = room / axis.stride + 1;
  }
  return form;
}

std::vector<TensorDesc> Infer(const OpCall& call) {
  if (!IsFloat(call.in(0).dtype)) Fail("unfold: input has dtype {}, expected a floating-point one", Name(call.in(0).dtype));
  return {{call.in(0).dtype, FormOf(call.in(0).shape, call.attrs).columns()}};
}

void Reference(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const Form form = FormOf(in[0]->desc().shape, call.attrs);
  const auto& [down, right] = form.axes;
  const Shape digits = {form.batch * form.channels, down.kernel, right.kernel, down.out, right.out};
  for (int64_t index = 0; index < out[0].elements(); ++index) {
    std::array<int64_t, 5> at;
    int64_t rest = index;
    for (size_t d = 5; d-- > 0; rest /= digits[d]) at[d] = rest % digits[d];
    const int64_t h = at[3] * down.stride + at[1] * down.dilation - down.padding, w = at[4] * right.stride + at[2] * right.dilation - right.padding;
    const bool inside = h >= 0 && h < down.size && w >= 0 && w < right.size;
    out[0].Set(index, inside ? in[0]->Get((at[0] * down.size + h) * right.size + w) : 0);
  }
}

std::vector<ValueId> Decompose(Graph& graph, const Node& node) {
  Emit emit(graph);
  const Form form = FormOf(emit.shape(node.inputs[0]), node.attrs);
  const ValueId x = emit.Reshape(node.inputs[0], {form.batch, form.channels, form.axes[0].size, form.axes[1].size});
  std::vector<Emit::Slide> slides;
  for (const Axis& axis : form.axes) slides.push_back({axis.out, axis.kernel, -axis.padding, axis.stride, axis.dilation});
  return {emit.Reshape(emit.Permute(emit.Window(x, 2, slides), {0, 1, 3, 5, 2, 4}), form.columns())};
}

// Element i of one axis, written as quotient * stride + phase, gets from position k in the window where `phase` is that position's own.
struct Origin {
  int64_t phase, start;                                      // window `start + quotient` reads there
};

Origin OriginOf(const Axis& axis, int64_t k) {
  const int64_t from = k * axis.dilation - axis.padding, phase = ((from % axis.stride) + axis.stride) % axis.stride;
  return {phase, (phase - from) / axis.stride};
}

// The elements of two phases, [batch, channels, quotients, quotients]: kNone where no position reaches them.
ValueId FoldPhases(Emit& emit, const Form& form, ValueId g, int64_t phase_h, int64_t phase_w, DType compute) {
  const auto& [down, right] = form.axes;
  const auto quotients = [](const Axis& axis) { return (axis.size + axis.stride - 1) / axis.stride; };
  ValueId sum = kNone;
  for (int64_t h = 0; h < down.kernel; ++h) {
    for (int64_t w = 0; w < right.kernel; ++w) {
      const Origin row = OriginOf(down, h), column = OriginOf(right, w);
      if (row.phase != phase_h || column.phase != phase_w) continue;
      const ValueId tap = emit.Reshape(emit.Slice(emit.Slice(g, 2, h, h + 1), 3, w, w + 1), {form.batch, form.channels, down.out, right.out});
      const ValueId window = emit.Window(tap, 2, {{quotients(down), 1, row.start, 1, 1}, {quotients(right), 1, column.start, 1, 1}});
      const ValueId part = emit.Cast(emit.Reshape(window, {form.batch, form.channels, quotients(down), quotients(right)}), compute);
      sum = sum == kNone ? part : emit.Add(sum, part);
    }
  }
  return sum;
}

std::vector<ValueId> Gradient(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>&) {
  if (grads[0] == kNone) return NoValues(1);
  Emit emit(graph);
  const TensorDesc input = emit.desc(node.inputs[0]);
  const Form form = FormOf(input.shape, node.attrs);
  const auto& [down, right] = form.axes;
  const int64_t rows = (down.size + down.stride - 1) / down.stride, columns = (right.size + right.stride - 1) / right.stride;
  const ValueId g = emit.Reshape(grads[0], {form.batch, form.channels, down.kernel, right.kernel, down.out, right.out});
  std::vector<ValueId> parts;
  for (int64_t h = 0; h < down.stride; ++h) {
    for (int64_t w = 0; w < right.stride; ++w) {
      const ValueId sum = FoldPhases(emit, form, g, h, w, ComputeType(input.dtype));
      const ValueId part = sum == kNone ? emit.Zeros({input.dtype, {form.batch, form.channels, rows, columns}}) : emit.Cast(sum, input.dtype);
      parts.push_back(emit.Reshape(part, {1, form.batch, form.channels, rows, columns}));
    }
  }
  const ValueId all = emit.Reshape(emit.Cat(std::move(parts), 0), {down.stride, right.stride, form.batch, form.channels, rows, columns});
  const ValueId whole = emit.Reshape(emit.Permute(all, {2, 3, 4, 0, 5, 1}), {form.batch, form.channels, rows * down.stride, columns * right.stride});
  return {emit.Reshape(emit.Slice(emit.Slice(whole, 2, 0, down.size), 3, 0, right.size), input.shape)};
}

}  // namespace

void RegisterUnfoldOps() {
  RegisterOp({.name = "unfold",
              .attrs = {{"kernel_size", Type::kInts},
                        {"dilation", Type::kInts, Ints{1, 1}},
                        {"padding", Type::kInts, Ints{0, 0}},
                        {"stride", Type::kInts, Ints{1, 1}}},
              .infer = Infer,
              .reference = Reference,
              .gradient = Gradient,
              .decompose = Decompose});
}

}  // namespace athanor
