#include "ops/pad.h"

#include <algorithm>
#include <cmath>

#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

using Type = AttrSpec::Type;

enum class Mode : uint8_t { kConstant, kReflect, kReplicate, kCircular };

struct Side {
  int64_t dim, before, after;
};

struct Form {
  Mode mode;
  std::vector<Side> sides;                                   // of the padded dimensions, ascending
  Shape result;
};

Mode ModeOf(const Attrs& attrs) {
  const std::string& name = Get<std::string>(attrs, "mode");
  if (name == "constant") return Mode::kConstant;
  if (name == "reflect") return Mode::kReflect;
  if (name == "replicate") return Mode::kReplicate;
  if (name == "circular") return Mode::kCircular;
  Fail("pad: mode is \"{}\", expected \"constant\", \"reflect\", \"replicate\" or \"circular\"", name);
}

// What a mode other than constant can repeat of a dimension.
void CheckSide(Mode mode, const Side& side, const Shape& shape) {
  const int64_t extent = shape[side.dim], most = std::max(side.before, side.after);
  if (mode == Mode::kConstant) return;
  if (std::min(side.before, side.after) < 0) Fail("pad: negative numbers need mode \"constant\"");
  const bool fits = mode == Mode::kReflect ? most < extent : mode == Mode::kCircular ? most <= extent : extent > 0;
  if (!fits) Fail("pad: {} elements can't be made from dimension {} of shape {} in this mode", most, side.dim, ToString(shape));
}

Form FormOf(const Attrs& attrs, const Shape& shape) {
  const auto& pad = Get<std::vector<int64_t>>(attrs, "pad");
  const auto rank = static_cast<int64_t>(shape.size());
  if (pad.size() % 2 != 0 || static_cast<int64_t>(pad.size()) > 2 * rank) {
    Fail("pad: pad is {}, expected two numbers for each of at most {} dimensions", ToString(pad), rank);
  }
  Form form = {.mode = ModeOf(attrs), .sides = {}, .result = shape};
  const auto padded = static_cast<int64_t>(pad.size() / 2);
  if (form.mode != Mode::kConstant && (padded < 1 || padded > 3 || rank - padded < 1 || rank - padded > 2)) {
    Fail("pad: mode \"{}\" pads the last 1, 2 or 3 dimensions of an input with one or two more, got {} of an input of shape {}",
         Get<std::string>(attrs, "mode"), padded, ToString(shape));
  }
  for (int64_t i = padded - 1; i >= 0; --i) {
    const Side side = {rank - 1 - i, pad[2 * i], pad[2 * i + 1]};
    constexpr int64_t kMost = int64_t{1} << 40;
    if (std::max(std::abs(side.before), std::abs(side.after)) > kMost) Fail("pad: pad {} is too large", ToString(pad));
    int64_t& extent = form.result[side.dim];
    extent += side.before + side.after;
    if (extent < 0) Fail("pad: pad {} crops more than an input of shape {} has", ToString(pad), ToString(shape));
    CheckSide(form.mode, side, shape);
    if (side.before != 0 || side.after != 0) form.sides.push_back(side);
  }
  return form;
}

std::vector<TensorDesc> Infer(const OpCall& call) {
  const double value = call.attr<double>("value");
  if (!IsFloat(call.in(0).dtype) && value != std::trunc(value)) {
    Fail("pad: value is {}, expected an integer for an input of dtype {}", value, Name(call.in(0).dtype));
  }
  return {{call.in(0).dtype, FormOf(call.attrs, call.in(0).shape).result}};
}

// The input's index behind index `i` of the result; outside of [0, extent) for a constant pad.
int64_t Source(Mode mode, int64_t i, int64_t extent) {
  switch (mode) {
    case Mode::kConstant: return i;
    case Mode::kReflect: return i < 0 ? -i : i >= extent ? 2 * (extent - 1) - i : i;
    case Mode::kReplicate: return std::clamp<int64_t>(i, 0, extent - 1);
    case Mode::kCircular: return (i + extent) % extent;
  }
  ATHANOR_CHECK(false);
}

void Reference(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const Shape &from = in[0]->desc().shape, &to = out[0].desc().shape;
  const Form form = FormOf(call.attrs, from);
  std::vector<int64_t> before(from.size(), 0);
  for (const Side& side : form.sides) before[side.dim] = side.before;
  const std::vector<int64_t> strides = ContiguousStrides(from);
  for (int64_t index = 0; index < out[0].elements(); ++index) {
    int64_t rest = index, address = 0;
    bool inside = true;
    for (size_t d = to.size(); d-- > 0; rest /= to[d]) {
      const int64_t i = Source(form.mode, rest % to[d] - before[d], from[d]);
      inside &= i >= 0 && i < from[d];
      address += i * strides[d];
    }
    out[0].Set(index, inside ? in[0]->Get(address) : call.attr<double>("value"));
  }
}

// Elements start, start + step, ... along `dim`, `extent` of them; `fill` outside of the input.
ValueId Walk(Emit& emit, ValueId x, int64_t dim, int64_t start, int64_t step, int64_t extent, double fill = 0) {
  Shape shape = emit.shape(x);
  shape[dim] = extent;
  return emit.Reshape(emit.Window(x, dim, {{extent, 1, start, step, 1}}, fill), shape);
}

// Window over all dimensions from the first padded one: one access, however many are padded.
ValueId PadConstant(Emit& emit, ValueId x, const std::vector<Side>& sides, const Shape& result, double value) {
  if (sides.empty()) return x;
  std::vector<Emit::Slide> slides;
  for (int64_t d = sides.front().dim; d < static_cast<int64_t>(result.size()); ++d) slides.push_back({result[d], 1, 0, 1, 1});
  for (const Side& side : sides) slides[side.dim - sides.front().dim].start = -side.before;
  return emit.Reshape(emit.Window(x, sides.front().dim, slides, value), result);
}

ValueId PadAlong(Emit& emit, ValueId x, Mode mode, const Side& side) {
  const int64_t extent = emit.shape(x)[side.dim];
  const auto repeat = [&](int64_t at, int64_t count) {
    Shape shape = emit.shape(x);
    shape[side.dim] = count;
    return emit.Expand(emit.Slice(x, side.dim, at, at + 1), shape);
  };
  std::vector<ValueId> parts;
  if (side.before > 0) {
    parts.push_back(mode == Mode::kReflect     ? Walk(emit, x, side.dim, side.before, -1, side.before)
                    : mode == Mode::kReplicate ? repeat(0, side.before)
                                               : emit.Slice(x, side.dim, extent - side.before, extent));
  }
  parts.push_back(x);
  if (side.after > 0) {
    parts.push_back(mode == Mode::kReflect     ? Walk(emit, x, side.dim, extent - 2, -1, side.after)
                    : mode == Mode::kReplicate ? repeat(extent - 1, side.after)
                                               : emit.Slice(x, side.dim, 0, side.after));
  }
  return emit.Cat(std::move(parts), side.dim);
}

std::vector<ValueId> Decompose(Graph& graph, const Node& node) {
  Emit emit(graph);
  const Form form = FormOf(node.attrs, emit.shape(node.inputs[0]));
  ValueId y = node.inputs[0];
  if (form.mode == Mode::kConstant) return {PadConstant(emit, y, form.sides, form.result, Get<double>(node.attrs, "value"))};
  for (const Side& side : form.sides) y = PadAlong(emit, y, form.mode, side);
  return {y};
}

// What was copied from an element comes back to it: the middle, and either edge read the way it was written.
ValueId UnpadAlong(Emit& emit, ValueId g, Mode mode, const Side& side) {
  const int64_t end = emit.shape(g)[side.dim], extent = end - side.before - side.after;
  ValueId sum = emit.Slice(g, side.dim, side.before, side.before + extent);
  const auto add = [&](int64_t from, int64_t to, int64_t start, int64_t step) {
    if (from == to) return;
    ValueId edge = emit.Slice(g, side.dim, from, to);
    if (mode == Mode::kReplicate) edge = emit.Sum(edge, {side.dim}, true);
    sum = emit.Add(sum, Walk(emit, edge, side.dim, start, step, extent));
  };
  const bool reflect = mode == Mode::kReflect, circular = mode == Mode::kCircular;
  add(0, side.before, reflect ? side.before : circular ? side.before - extent : 0, reflect ? -1 : 1);
  add(end - side.after, end, reflect ? extent - 2 : circular ? 0 : 1 - extent, reflect ? -1 : 1);
  return sum;
}

std::vector<ValueId> Gradient(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>&) {
  if (grads[0] == kNone) return NoValues(1);
  Emit emit(graph);
  const Shape shape = emit.shape(node.inputs[0]);
  Form form = FormOf(node.attrs, shape);
  ValueId g = grads[0];
  if (form.mode == Mode::kConstant) {
    bool crops = false;
    for (Side& side : form.sides) {
      crops |= side.before < 0 || side.after < 0;
      if (!crops) g = emit.Slice(g, side.dim, side.before, side.before + shape[side.dim]);
      side = {side.dim, -side.before, -side.after};
    }
    return {crops ? PadConstant(emit, grads[0], form.sides, shape, 0) : g};
  }
  for (auto side = form.sides.rbegin(); side != form.sides.rend(); ++side) g = UnpadAlong(emit, g, form.mode, *side);
  return {g};
}

}  // namespace

void RegisterPadOps() {
  RegisterOp({.name = "pad",
              .attrs = {{"pad", Type::kInts}, {"mode", Type::kString, std::string("constant")}, {"value", Type::kFloat, 0.0}},
              .infer = Infer,
              .reference = Reference,
              .gradient = Gradient,
              .decompose = Decompose});
}

}  // namespace athanor
