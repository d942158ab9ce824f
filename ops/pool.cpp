#include "ops/pool.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

using Type = AttrSpec::Type;
using Ints = std::vector<int64_t>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kManyTaps = 16;                            // windows of more are pooled axis by axis

// --- form ------------------------------------------------------------------------------------------------------------

// One direction: output o sees the inputs o * stride + k * dilation - padding.
struct Axis {
  int64_t size, kernel, out, stride, padding, dilation;
  int64_t reach() const { return (kernel - 1) * dilation + 1; }
  bool padded() const { return padding > 0 || (out - 1) * stride + reach() - padding > size; }
};

struct Form {
  Shape lead;                                                // of the input, in front of height and width
  std::array<Axis, 2> axes;                                  // down, right
  int64_t planes() const { return Product(lead); }
  int64_t taps() const { return axes[0].kernel * axes[1].kernel; }
  bool padded() const { return axes[0].padded() || axes[1].padded(); }
};

// One or two numbers; none where `fallback` has them.
std::array<int64_t, 2> Pair(std::string_view op, const Attrs& attrs, std::string_view name, int64_t least, const Ints& fallback = {}) {
  const Ints& given = Get<Ints>(attrs, name);
  const Ints& values = given.empty() ? fallback : given;
  if (values.empty() || values.size() > 2 || values.front() < least || values.back() < least) {
    Fail("{}: {} is {}, expected one or two numbers of at least {}", op, name, ToString(given), least);
  }
  return {values.front(), values.back()};
}

int64_t OutSize(const Axis& axis, bool ceil) {
  const int64_t room = axis.size + 2 * axis.padding - axis.reach();
  if (room < 0) return 0;
  int64_t out = (room + (ceil ? axis.stride - 1 : 0)) / axis.stride + 1;
  if (ceil && (out - 1) * axis.stride >= axis.size + axis.padding) --out;                  // would start in the padding behind
  return out;
}

Form FormOf(std::string_view op, const Attrs& attrs, const Shape& x) {
  if (x.size() != 3 && x.size() != 4) {
    Fail("{}: input has shape {}, expected [batch, channels, height, width] or [channels, height, width]", op, ToString(x));
  }
  const auto kernel = Pair(op, attrs, "kernel_size", 1), stride = Pair(op, attrs, "stride", 1, {kernel[0], kernel[1]}),
             padding = Pair(op, attrs, "padding", 0);
  const auto dilation = op == "max_pool2d" ? Pair(op, attrs, "dilation", 1) : std::array<int64_t, 2>{1, 1};
  Form form = {.lead = {x.begin(), x.end() - 2}, .axes = {}};
  for (size_t a = 0; a < 2; ++a) {
    Axis& axis = form.axes[a];
    axis = {x[x.size() - 2 + a], kernel[a], 0, stride[a], padding[a], dilation[a]};
    constexpr int64_t kMost = int64_t{1} << 31;
    if (std::max({axis.kernel, axis.stride, axis.padding, axis.dilation}) > kMost || axis.kernel * axis.dilation > kMost) {
      Fail("{}: kernel_size {}, stride {}, padding {} or dilation {} is too large", op, axis.kernel, axis.stride, axis.padding, axis.dilation);
    }
    if (axis.padding > axis.kernel / 2) Fail("{}: padding is {}, expected at most half of kernel_size {}", op, axis.padding, axis.kernel);
    axis.out = OutSize(axis, Get<bool>(attrs, "ceil_mode"));
    if (axis.out < 1) Fail("{}: an input of {} x {} is smaller than the kernel", op, x[x.size() - 2], x.back());
  }
  return form;
}

std::vector<TensorDesc> Infer(const OpCall& call) {
  const TensorDesc& x = call.in(0);
  if (!IsFloat(x.dtype)) Fail("{}: input has dtype {}, expected a floating-point one", call.op.name, Name(x.dtype));
  const Form form = FormOf(call.op.name, call.attrs, x.shape);
  Shape shape = form.lead;
  for (const Axis& axis : form.axes) shape.push_back(axis.out);
  return {{x.dtype, shape}};
}

// --- reference -------------------------------------------------------------------------------------------------------

// Elements that an average along one axis counts; with padding also those of it, but none beyond it.
int64_t Counted(const Axis& axis, int64_t o, bool padding) {
  const int64_t start = o * axis.stride - axis.padding, end = std::min(start + axis.kernel, axis.size + axis.padding);
  return padding ? end - start : std::min(end, axis.size) - std::max<int64_t>(start, 0);
}

// Visits the inputs along one axis that window `o` sees.
void ForTaps(const Axis& axis, int64_t o, const auto& visit) {
  for (int64_t k = 0; k < axis.kernel; ++k) {
    const int64_t at = o * axis.stride + k * axis.dilation - axis.padding;
    if (at >= 0 && at < axis.size) visit(at);
  }
}

void Reference(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const Form form = FormOf(call.op.name, call.attrs, in[0]->desc().shape);
  const auto& [down, right] = form.axes;
  const bool max = call.op.name == "max_pool2d", with_padding = !max && call.attr<bool>("count_include_pad");
  const int64_t divisor = max ? 0 : call.attr<int64_t>("divisor_override");
  for (int64_t index = 0; index < out[0].elements(); ++index) {
    const int64_t ow = index % right.out, oh = index / right.out % down.out, plane = index / (right.out * down.out);
    double result = max ? -kInfinity : 0;
    ForTaps(down, oh, [&](int64_t h) {
      ForTaps(right, ow, [&](int64_t w) {
        const double x = in[0]->Get((plane * down.size + h) * right.size + w);
        result = max ? Apply(Fn::kMax, result, x) : result + x;
      });
    });
    if (!max) result /= static_cast<double>(divisor ? divisor : Counted(down, oh, with_padding) * Counted(right, ow, with_padding));
    out[0].Set(index, result);
  }
}

// --- core form: shared parts -----------------------------------------------------------------------------------------

// [planes, height, width].
ValueId Planes(Emit& emit, const Form& form, ValueId x, bool output = false) {
  const auto& [down, right] = form.axes;
  return emit.Reshape(x, {form.planes(), output ? down.out : down.size, output ? right.out : right.size});
}

// The input at one kernel position, for each output: kernel position k of dimension 1 or 2.
ValueId Tap(Emit& emit, ValueId x, int dim, const Axis& axis, int64_t k, double fill) {
  const int64_t start = k * axis.dilation - axis.padding;
  if (axis.out == axis.size && start == 0 && axis.stride == 1) return x;
  Shape shape = emit.shape(x);
  shape[dim] = axis.out;
  return emit.Reshape(emit.Window(x, dim, {{axis.out, 1, start, axis.stride, 1}}, fill), shape);
}

// The same for a position in both directions.
ValueId Tap(Emit& emit, const Form& form, ValueId x, int64_t h, int64_t w, double fill) {
  const auto& [down, right] = form.axes;
  const int64_t start_h = h * down.dilation - down.padding, start_w = w * right.dilation - right.padding;
  const ValueId window = emit.Window(x, 1, {{down.out, 1, start_h, down.stride, 1}, {right.out, 1, start_w, right.stride, 1}}, fill);
  return emit.Reshape(window, {form.planes(), down.out, right.out});
}

// The index along `dim` of `shape`, as a number of `dtype`.
ValueId Index(Emit& emit, Shape shape, int64_t dim, DType dtype) { return emit.Cast(emit.Iota(std::move(shape), dim), dtype); }

// For the gradient, inputs are written i = q * stride + r, and windows that contain i are o = q + t for `count` values of t from
// `first` on. Seen from window o, i lies r + padding - t * stride behind the window's start.
struct Windows {
  int64_t quotients, first, count;
};

int64_t FloorDiv(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

Windows WindowsOf(const Axis& axis) {
  const int64_t first = -FloorDiv(axis.reach() - 1 - axis.padding, axis.stride), last = (axis.stride - 1 + axis.padding) / axis.stride;
  return {(axis.size + axis.stride - 1) / axis.stride, first, last - first + 1};
}

// `v` [planes, out heights, out widths] at the `t`-th of the windows that contain each input: [planes, q, count, 1, q, count, 1]. With
// `one`: only the window `one`, count 1.
ValueId Containing(Emit& emit, const Form& form, ValueId v, const std::array<int64_t, 2>* one) {
  std::vector<Emit::Slide> slides;
  Shape shape = {form.planes()};
  for (size_t a = 0; a < 2; ++a) {
    const Windows windows = WindowsOf(form.axes[a]);
    const int64_t count = one ? 1 : windows.count;
    slides.push_back({windows.quotients, count, windows.first + (one ? (*one)[a] : 0), 1, 1});
    shape.insert(shape.end(), {windows.quotients, count, 1});
  }
  return emit.Reshape(emit.Window(v, 1, slides), shape);
}

// How far each input lies behind the start of its `t`-th window along axis `a`, broadcast against what Containing returns.
ValueId Behind(Emit& emit, const Form& form, size_t a, DType dtype, const std::array<int64_t, 2>* one) {
  const Axis& axis = form.axes[a];
  const Windows windows = WindowsOf(axis);
  Shape digit(6, 1);
  digit[3 * a + 2] = axis.stride;
  const int64_t base = axis.padding - (windows.first + (one ? (*one)[a] : 0)) * axis.stride;
  ValueId behind = emit.Add(Index(emit, digit, 3 * static_cast<int64_t>(a) + 2, dtype), static_cast<double>(base));
  if (one || windows.count == 1) return behind;
  digit[3 * a + 2] = 1, digit[3 * a + 1] = windows.count;
  return emit.Sub(behind, emit.Mul(Index(emit, digit, 3 * static_cast<int64_t>(a) + 1, dtype), static_cast<double>(axis.stride)));
}

// Sums `term` (of shape [planes, q, count, stride, q, count, stride], or broadcast to it) over the windows that contain each input, and
// returns the input's gradient. Few windows are terms of one expression; many are a loop.
ValueId Gathered(Emit& emit, const Form& form, const auto& term) {
  const auto& [down, right] = form.axes;
  const Windows rows = WindowsOf(down), columns = WindowsOf(right);
  const Shape digits = {form.planes(), rows.quotients, down.stride, columns.quotients, right.stride};
  ValueId sum = kNone;
  if (rows.count * columns.count > kManyTaps) {
    const Shape all = {form.planes(), rows.quotients, rows.count, down.stride, columns.quotients, columns.count, right.stride};
    sum = emit.Sum(emit.Expand(term(nullptr), all), {2, 5}, false);
  }
  for (int64_t h = 0; h < rows.count && rows.count * columns.count <= kManyTaps; ++h) {
    for (int64_t w = 0; w < columns.count; ++w) {
      const std::array<int64_t, 2> one = {h, w};
      const ValueId value = emit.Reshape(emit.Expand(term(&one), {digits[0], digits[1], 1, digits[2], digits[3], 1, digits[4]}), digits);
      sum = sum == kNone ? value : emit.Add(sum, value);
    }
  }
  const ValueId whole = emit.Reshape(sum, {form.planes(), rows.quotients * down.stride, columns.quotients * right.stride});
  return emit.Slice(emit.Slice(whole, 1, 0, down.size), 2, 0, right.size);
}

// --- max_pool2d ------------------------------------------------------------------------------------------------------

// Maxima and, where asked for, their places: rows behind the window's start times `pitch` plus columns behind it.
struct Maxima {
  ValueId value, place;
};

// No place that an input asks for is another one's: columns behind a window's start stay below the pitch in magnitude.
int64_t Pitch(const Form& form) { return form.axes[1].reach() + form.axes[1].stride; }

// Where the first input that exists of each window lies: what is never compared must not win.
ValueId FirstPlace(Emit& emit, const Axis& axis, int64_t dim, DType dtype) {
  if (axis.padding == 0) return emit.Scalar(0, dtype);
  Shape shape(3, 1);
  shape[dim] = axis.out;
  const ValueId start = emit.Sub(static_cast<double>(axis.padding), emit.Mul(emit.Iota(shape, dim), static_cast<double>(axis.stride)));
  const ValueId missing = emit.Maximum(start, emit.Scalar(0, DType::kI64));
  if (axis.dilation == 1) return emit.Cast(missing, dtype);
  const ValueId steps = emit.Div(emit.Cast(emit.Add(missing, static_cast<double>(axis.dilation - 1)), DType::kF64), static_cast<double>(axis.dilation));
  return emit.Cast(emit.Mul(emit.Cast(steps, DType::kI64), static_cast<double>(axis.dilation)), dtype);
}

// A larger input takes over, and so does each NaN.
void Compare(Emit& emit, Maxima* maxima, ValueId tap, ValueId place) {
  if (maxima->place != kNone) {
    const ValueId stays = emit.And(emit.Not(emit.Gt(tap, maxima->value)), emit.Eq(tap, tap));
    maxima->place = emit.Where(stays, maxima->place, place);
  }
  maxima->value = emit.Maximum(maxima->value, tap);
}

Maxima EmitMaxima(Emit& emit, const Form& form, ValueId input, bool with_place) {
  const auto& [down, right] = form.axes;
  const DType dtype = emit.desc(input).dtype, place_dtype = ComputeType(dtype);
  const ValueId x = Planes(emit, form, input), low = emit.Scalar(-kInfinity, dtype);
  const auto number = [&](int64_t value) { return emit.Scalar(static_cast<double>(value), place_dtype); };
  const auto row_places = [&] { return emit.Mul(FirstPlace(emit, down, 1, place_dtype), static_cast<double>(Pitch(form))); };
  Maxima maxima = {low, kNone};
  if (form.taps() <= kManyTaps) {
    if (with_place) maxima.place = emit.Add(row_places(), FirstPlace(emit, right, 2, place_dtype));
    for (int64_t h = 0; h < down.kernel; ++h) {
      for (int64_t w = 0; w < right.kernel; ++w) {
        Compare(emit, &maxima, Tap(emit, form, x, h, w, -kInfinity), number(h * down.dilation * Pitch(form) + w * right.dilation));
      }
    }
    return maxima;
  }
  Maxima rows = {low, with_place ? FirstPlace(emit, right, 2, place_dtype) : kNone};
  for (int64_t w = 0; w < right.kernel; ++w) {
    Compare(emit, &rows, Tap(emit, x, 2, right, w, -kInfinity), number(w * right.dilation));
  }
  if (with_place) {
    maxima.place = emit.Add(row_places(), FirstPlace(emit, right, 2, place_dtype));
    rows.place = emit.Expand(rows.place, {form.planes(), down.size, right.out});
  }
  for (int64_t h = 0; h < down.kernel; ++h) {
    const ValueId place = with_place ? emit.Add(Tap(emit, rows.place, 1, down, h, 0), static_cast<double>(h * down.dilation * Pitch(form))) : kNone;
    Compare(emit, &maxima, Tap(emit, rows.value, 1, down, h, -kInfinity), place);
  }
  return maxima;
}

std::vector<ValueId> DecomposeMaxPool(Graph& graph, const Node& node) {
  Emit emit(graph);
  const Form form = FormOf(node.op->name, node.attrs, emit.shape(node.inputs[0]));
  Shape shape = form.lead;
  for (const Axis& axis : form.axes) shape.push_back(axis.out);
  return {emit.Reshape(EmitMaxima(emit, form, node.inputs[0], false).value, shape)};
}

std::vector<ValueId> GradientMaxPool(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>&) {
  if (grads[0] == kNone) return NoValues(1);
  Emit emit(graph);
  const TensorDesc input = emit.desc(node.inputs[0]);
  const Form form = FormOf(node.op->name, node.attrs, input.shape);
  const DType compute = ComputeType(input.dtype);
  // The places are what the backward keeps: small integers.
  const ValueId places = emit.Expand(emit.Cast(EmitMaxima(emit, form, node.inputs[0], true).place, DType::kI32),
                                     {form.planes(), form.axes[0].out, form.axes[1].out});
  const ValueId g = Planes(emit, form, grads[0], true);
  const ValueId dx = Gathered(emit, form, [&](const std::array<int64_t, 2>* one) {
    const ValueId own = emit.Add(emit.Mul(Behind(emit, form, 0, DType::kI32, one), static_cast<double>(Pitch(form))),
                                 Behind(emit, form, 1, DType::kI32, one));
    const ValueId wins = emit.Eq(Containing(emit, form, places, one), own);
    return emit.Where(wins, emit.Cast(Containing(emit, form, g, one), compute), emit.Scalar(0, compute));
  });
  return {emit.Cast(emit.Reshape(dx, input.shape), input.dtype)};
}

// --- avg_pool2d ------------------------------------------------------------------------------------------------------

// One over the number of elements each window averages: a literal, or [out heights, 1] or [1, out widths] where these differ.
ValueId Shares(Emit& emit, const Form& form, const Attrs& attrs, DType dtype) {
  if (const int64_t divisor = Get<int64_t>(attrs, "divisor_override")) return emit.Scalar(1 / static_cast<double>(divisor), dtype);
  const bool with_padding = Get<bool>(attrs, "count_include_pad");
  double constant = 1;
  ValueId shares = kNone;
  for (size_t a = 0; a < 2; ++a) {
    const Axis& axis = form.axes[a];
    bool even = true;
    for (int64_t o = 0; o < axis.out && even; ++o) even = Counted(axis, o, with_padding) == axis.kernel;
    if (even) {
      constant /= static_cast<double>(axis.kernel);
      continue;
    }
    Shape shape = {1, 1};
    shape[a] = axis.out;
    const ValueId start = emit.Sub(emit.Mul(emit.Iota(shape, static_cast<int64_t>(a)), static_cast<double>(axis.stride)), static_cast<double>(axis.padding));
    const ValueId end = emit.Add(start, static_cast<double>(axis.kernel));
    const auto bound = [&](int64_t value) { return emit.Scalar(static_cast<double>(value), DType::kI64); };
    const ValueId count = with_padding ? emit.Sub(emit.Minimum(end, bound(axis.size + axis.padding)), start)
                                       : emit.Sub(emit.Minimum(end, bound(axis.size)), emit.Maximum(start, bound(0)));
    const ValueId share = emit.Div(1.0, emit.Cast(count, dtype));
    shares = shares == kNone ? share : emit.Mul(shares, share);
  }
  return shares == kNone ? emit.Scalar(constant, dtype) : constant == 1 ? shares : emit.Mul(shares, constant);
}

// Sums along one axis: a loop over the window where it is long.
ValueId SumAlong(Emit& emit, ValueId x, int dim, const Axis& axis, DType compute) {
  if (axis.kernel > kManyTaps) {
    const ValueId window = emit.Window(x, dim, {{axis.out, axis.kernel, -axis.padding, axis.stride, 1}});
    return emit.Sum(emit.Cast(window, compute), {dim + 1}, false);
  }
  ValueId sum = kNone;
  for (int64_t k = 0; k < axis.kernel; ++k) {
    const ValueId tap = emit.Cast(Tap(emit, x, dim, axis, k, 0), compute);
    sum = sum == kNone ? tap : emit.Add(sum, tap);
  }
  return sum;
}

ValueId SumWindows(Emit& emit, const Form& form, ValueId input, DType compute) {
  const auto& [down, right] = form.axes;
  const ValueId x = Planes(emit, form, input);
  if (down.out == 1 && right.out == 1 && !form.padded() && down.kernel == down.size && right.kernel == right.size) {
    return emit.Sum(emit.Cast(x, compute), {1, 2}, true);    // of everything
  }
  if (form.taps() > kManyTaps) return SumAlong(emit, SumAlong(emit, x, 2, right, compute), 1, down, compute);
  ValueId sum = kNone;
  for (int64_t h = 0; h < down.kernel; ++h) {
    for (int64_t w = 0; w < right.kernel; ++w) {
      const ValueId tap = emit.Cast(Tap(emit, form, x, h, w, 0), compute);
      sum = sum == kNone ? tap : emit.Add(sum, tap);
    }
  }
  return sum;
}

std::vector<ValueId> DecomposeAvgPool(Graph& graph, const Node& node) {
  Emit emit(graph);
  const TensorDesc input = emit.desc(node.inputs[0]);
  const Form form = FormOf(node.op->name, node.attrs, input.shape);
  const DType compute = ComputeType(input.dtype);
  const ValueId y = emit.Mul(SumWindows(emit, form, node.inputs[0], compute), Shares(emit, form, node.attrs, compute));
  Shape shape = form.lead;
  for (const Axis& axis : form.axes) shape.push_back(axis.out);
  return {emit.Cast(emit.Reshape(y, shape), input.dtype)};
}

// Where an input lies within its `t`-th window along axis `a`; kNone where all do.
ValueId Within(Emit& emit, const Form& form, size_t a, const std::array<int64_t, 2>* one) {
  const Axis& axis = form.axes[a];
  const Windows windows = WindowsOf(axis);
  const int64_t first = windows.first + (one ? (*one)[a] : 0), last = one ? first : first + windows.count - 1;
  const int64_t least = axis.padding - last * axis.stride, most = axis.stride - 1 + axis.padding - first * axis.stride;
  if (least >= 0 && most < axis.kernel) return kNone;
  const ValueId behind = Behind(emit, form, a, DType::kI32, one);
  const auto number = [&](int64_t value) { return emit.Scalar(static_cast<double>(value), DType::kI32); };
  return emit.And(emit.Gt(behind, number(-1)), emit.Lt(behind, number(axis.kernel)));
}

std::vector<ValueId> GradientAvgPool(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>&) {
  if (grads[0] == kNone) return NoValues(1);
  Emit emit(graph);
  const TensorDesc input = emit.desc(node.inputs[0]);
  const Form form = FormOf(node.op->name, node.attrs, input.shape);
  const DType compute = ComputeType(input.dtype);
  const ValueId shares = Shares(emit, form, node.attrs, compute);
  const bool even = emit.desc(shares).rank() == 0;           // then the sum is scaled, and nothing stored between
  ValueId g = Planes(emit, form, grads[0], true);
  if (!even) g = emit.Mul(emit.Cast(g, compute), shares);
  ValueId dx = Gathered(emit, form, [&](const std::array<int64_t, 2>* one) {
    ValueId term = emit.Cast(Containing(emit, form, g, one), compute);
    for (size_t a = 0; a < 2; ++a) {
      const ValueId within = Within(emit, form, a, one);
      if (within != kNone) term = emit.Where(within, term, emit.Scalar(0, compute));
    }
    return term;
  });
  if (even) dx = emit.Mul(dx, shares);
  return {emit.Cast(emit.Reshape(dx, input.shape), input.dtype)};
}

OpDef PoolOp(std::string_view name) {
  return {.name = name,
          .attrs = {{"kernel_size", Type::kInts},
                    {"stride", Type::kInts, Ints{}},
                    {"padding", Type::kInts, Ints{0, 0}},
                    {"ceil_mode", Type::kBool, false}},
          .infer = Infer,
          .reference = Reference};
}

}  // namespace

void RegisterPoolOps() {
  OpDef max = PoolOp("max_pool2d");
  max.attrs.push_back({"dilation", Type::kInts, Ints{1, 1}});
  max.gradient = GradientMaxPool;
  max.decompose = DecomposeMaxPool;
  RegisterOp(max);
  OpDef avg = PoolOp("avg_pool2d");
  avg.attrs.push_back({"count_include_pad", Type::kBool, true});
  avg.attrs.push_back({"divisor_override", Type::kInt, int64_t{0}});
  avg.gradient = GradientAvgPool;
  avg.decompose = DecomposeAvgPool;
  RegisterOp(avg);
}

}  // namespace athanor
