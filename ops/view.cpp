#include "ops/view.h"

#include <algorithm>
#include <limits>

#include "ops/broadcast.h"
#include "ops/dims.h"
#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

using Type = AttrSpec::Type;
using Views = std::optional<std::vector<Layout>>;

constexpr int64_t kMaxOutputs = 4096;
constexpr int64_t kToTheEnd = std::numeric_limits<int64_t>::max();

Views One(std::optional<Layout> layout) {
  if (!layout) return std::nullopt;
  return std::vector{std::move(*layout)};
}

int64_t Dim(const OpCall& call, std::string_view attr, const Layout& input) {
  return NormalDim(call.op.name, call.attr<int64_t>(attr), input.shape());
}

// The dimension of an op that needs one: scalars have none.
int64_t RealDim(const OpCall& call, const Layout& input) {
  if (input.rank() == 0) Fail("{}: the input is a scalar, expected at least one dimension", call.op.name);
  return Dim(call, "dim", input);
}

// --- the same elements in another shape ------------------------------------------------------------------------------

Views ViewReshape(const OpCall& call, const Layout& input) {
  Shape shape = call.attr<std::vector<int64_t>>("shape");
  const int64_t elements = Product(input.shape());
  const auto free = std::find(shape.begin(), shape.end(), -1);
  int64_t known = 1;
  for (auto extent = shape.begin(); extent != shape.end(); ++extent) {
    if (extent == free) continue;
    if (*extent < 0) Fail("reshape: shape {} has a negative extent (one may be -1)", ToString(shape));
    if (__builtin_mul_overflow(known, *extent, &known)) Fail("reshape: shape {} is too large", ToString(shape));
  }
  const bool fits = free == shape.end() ? known == elements : known != 0 && elements % known == 0;
  if (!fits) Fail("reshape: an input of shape {} has {} elements, shape {} does not fit", ToString(input.shape()), elements, ToString(shape));
  if (free != shape.end()) *free = elements / known;
  return One(input.Reshape(shape));
}

Views ViewFlatten(const OpCall& call, const Layout& input) {
  const Shape shape = input.shape();
  if (shape.empty()) return One(input.Reshape({1}));
  const int64_t start = Dim(call, "start_dim", input), end = Dim(call, "end_dim", input);
  if (start > end) Fail("flatten: start_dim {} lies behind end_dim {}", start, end);
  Shape flat(shape.begin(), shape.begin() + start);
  flat.push_back(Product({shape.begin() + start, shape.begin() + end + 1}));
  flat.insert(flat.end(), shape.begin() + end + 1, shape.end());
  return One(input.Reshape(flat));
}

Views ViewUnsqueeze(const OpCall& call, const Layout& input) {
  Shape longer = input.shape();
  longer.push_back(1);
  const int64_t dim = NormalDim(call.op.name, call.attr<int64_t>("dim"), longer);
  std::vector<Digits> dims = input.dims();
  dims.insert(dims.begin() + dim, {{1, 0}});
  return One(Layout(input.offset(), std::move(dims)));
}

Views ViewSqueeze(const OpCall& call, const Layout& input) {
  const Shape shape = input.shape();
  std::vector<int64_t> chosen = NormalDims(call.op.name, call.attr<std::vector<int64_t>>("dim"), shape);
  if (chosen.empty()) chosen = DimRange(0, input.rank());
  std::vector<Digits> dims;
  for (int64_t d = 0; d < input.rank(); ++d) {
    const bool dropped = shape[d] == 1 && std::binary_search(chosen.begin(), chosen.end(), d);
    if (!dropped) dims.push_back(input.dim(static_cast<int>(d)));
  }
  return One(Layout(input.offset(), std::move(dims)));
}

Views ViewContiguous(const OpCall&, const Layout& input) { return One(input); }

// The gradient of whatever keeps the elements and their order.
std::vector<ValueId> GradientReshape(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>&) {
  if (grads[0] == kNone) return NoValues(1);
  Emit emit(graph);
  return {emit.Reshape(grads[0], Shape(emit.shape(node.inputs[0])))};
}

// --- other orders of dimensions --------------------------------------------------------------------------------------

std::vector<int64_t> Order(std::string_view op, const Attrs& attrs, const Shape& shape) {
  const auto rank = static_cast<int64_t>(shape.size());
  if (op == "transpose") {
    std::vector<int64_t> dims = DimRange(0, rank);
    const int64_t a = NormalDim(op, Get<int64_t>(attrs, "dim0"), shape), b = NormalDim(op, Get<int64_t>(attrs, "dim1"), shape);
    if (rank > 0) std::swap(dims[a], dims[b]);
    return dims;
  }
  std::vector<int64_t> dims = Get<std::vector<int64_t>>(attrs, "dims");
  const std::vector<int64_t> sorted = NormalDims(op, dims, shape);
  if (static_cast<int64_t>(dims.size()) != rank) {
    Fail("permute: dims {} has {} entries for an input of shape {}", ToString(dims), dims.size(), ToString(shape));
  }
  for (int64_t& d : dims) d = NormalDim(op, d, shape);
  return dims;
}

Views ViewPermute(const OpCall& call, const Layout& input) {
  const std::vector<int64_t> order = Order(call.op.name, call.attrs, input.shape());
  return One(input.Permute(std::vector<int>(order.begin(), order.end())));
}

std::vector<ValueId> GradientPermute(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>&) {
  if (grads[0] == kNone) return NoValues(1);
  Emit emit(graph);
  const std::vector<int64_t> order = Order(node.op->name, node.attrs, emit.shape(node.inputs[0]));
  std::vector<int64_t> inverse(order.size());
  for (size_t i = 0; i < order.size(); ++i) inverse[order[i]] = static_cast<int64_t>(i);
  return {emit.Permute(grads[0], std::move(inverse))};
}

// --- broadcasting ----------------------------------------------------------------------------------------------------

Views ViewExpand(const OpCall& call, const Layout& input) {
  const Shape from = input.shape();
  Shape size = call.attr<std::vector<int64_t>>("size");
  const size_t added = size.size() - std::min(size.size(), from.size());
  bool fits = size.size() >= from.size();
  for (size_t d = 0; fits && d < size.size(); ++d) {
    if (size[d] == -1 && d >= added) size[d] = from[d - added];
    fits = size[d] >= 0 && (d < added || from[d - added] == 1 || from[d - added] == size[d]);
  }
  if (!fits) {
    Fail("expand: an input of shape {} can't become {}; only extents of 1 stretch, and new dimensions come first", ToString(from),
         ToString(call.attr<std::vector<int64_t>>("size")));
  }
  return One(input.Expand(size));
}

std::vector<ValueId> GradientExpand(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>&) {
  if (grads[0] == kNone) return NoValues(1);
  Emit emit(graph);
  return {emit.SumTo(grads[0], Shape(emit.shape(node.inputs[0])))};
}

// --- parts along one dimension ---------------------------------------------------------------------------------------

// Indices start, start + step, ... (count of them) along `dim`.
struct Part {
  int64_t dim, start, count, step;
};

Part SelectPart(const OpCall& call, const Layout& input) {
  const int64_t dim = RealDim(call, input), extent = input.extent(static_cast<int>(dim)), index = call.attr<int64_t>("index");
  if (index < -extent || index >= extent) {
    Fail("select: index {} is outside of dimension {} of shape {}", index, dim, ToString(input.shape()));
  }
  return {dim, index < 0 ? index + extent : index, 1, 1};
}

Part NarrowPart(const OpCall& call, const Layout& input) {
  const int64_t dim = RealDim(call, input), extent = input.extent(static_cast<int>(dim)), length = call.attr<int64_t>("length");
  const int64_t given = call.attr<int64_t>("start"), start = given < 0 ? given + extent : given;
  if (start < 0 || start > extent || length < 0 || length > extent - start) {
    Fail("narrow: start {} and length {} reach outside of dimension {} of shape {}", given, length, dim, ToString(input.shape()));
  }
  return {dim, start, length, 1};
}

// As Python's slices: positions beyond the ends are moved to the ends.
Part SlicePart(const OpCall& call, const Layout& input) {
  const int64_t dim = RealDim(call, input), extent = input.extent(static_cast<int>(dim)), step = call.attr<int64_t>("step");
  if (step < 1) Fail("slice: step is {}, expected at least 1", step);
  const auto position = [extent](int64_t at) { return std::clamp<int64_t>(at < 0 ? std::max(at, -extent) + extent : at, 0, extent); };
  const int64_t start = position(call.attr<int64_t>("start")), end = position(call.attr<int64_t>("end"));
  return {dim, start, end > start ? (end - start - 1) / step + 1 : 0, step};
}

Views ViewSelect(const OpCall& call, const Layout& input) {
  const Part part = SelectPart(call, input);
  return One(input.Select(static_cast<int>(part.dim), part.start));
}

Views ViewPart(const Layout& input, const Part& part) {
  return One(input.Slice(static_cast<int>(part.dim), part.start, part.count, part.step));
}

Views ViewNarrow(const OpCall& call, const Layout& input) { return ViewPart(input, NarrowPart(call, input)); }
Views ViewSlice(const OpCall& call, const Layout& input) { return ViewPart(input, SlicePart(call, input)); }

// `g` with zeros in front of it and behind it along `dim`, up to `extent`.
ValueId Pad(Emit& emit, ValueId g, int64_t dim, int64_t before, int64_t extent) {
  const TensorDesc desc = emit.desc(g);
  std::vector<ValueId> parts;
  const auto zeros = [&](int64_t count) {
    Shape shape = desc.shape;
    shape[dim] = count;
    if (count > 0) parts.push_back(emit.Zeros({desc.dtype, shape}));
  };
  zeros(before);
  if (desc.shape[dim] > 0) parts.push_back(g);
  zeros(extent - before - desc.shape[dim]);
  return parts.empty() ? g : emit.Cat(std::move(parts), dim);
}

// `g` with step - 1 zeros behind each element along `dim`.
ValueId Spread(Emit& emit, ValueId g, int64_t dim, int64_t step) {
  if (step == 1) return g;
  Shape shape = emit.shape(g);
  shape.insert(shape.begin() + dim + 1, 1);
  const ValueId spread = Pad(emit, emit.Reshape(g, shape), dim + 1, 0, step);
  shape.erase(shape.begin() + dim + 1);
  shape[dim] *= step;
  return emit.Reshape(spread, shape);
}

std::vector<ValueId> GradientPart(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>&) {
  if (grads[0] == kNone) return NoValues(1);
  Emit emit(graph);
  const Shape shape = emit.shape(node.inputs[0]);
  const OpCall call = {*node.op, graph, node.inputs, node.attrs};
  const Layout input = Layout::Contiguous(shape);
  const Part part = node.op->name == "select" ? SelectPart(call, input) : node.op->name == "narrow" ? NarrowPart(call, input) : SlicePart(call, input);
  if (part.count == 0) return {emit.Zeros({emit.desc(grads[0]).dtype, shape})};
  Shape kept = shape;
  kept[part.dim] = part.count;
  // A step longer than what is left of the dimension moves nothing.
  const int64_t rest = shape[part.dim] - part.start, step = std::min(part.step, rest);
  ValueId g = Spread(emit, emit.Reshape(grads[0], kept), part.dim, step);
  g = emit.Slice(g, part.dim, 0, std::min(part.count * step, rest));
  return {Pad(emit, g, part.dim, part.start, shape[part.dim])};
}

// --- all parts along one dimension -----------------------------------------------------------------------------------

void CheckOutputs(const OpCall& call, int64_t outputs) {
  if (outputs > kMaxOutputs) Fail("{}: {} outputs, at most {} are supported", call.op.name, outputs, kMaxOutputs);
}

Views ViewUnbind(const OpCall& call, const Layout& input) {
  const int dim = static_cast<int>(RealDim(call, input));
  CheckOutputs(call, input.extent(dim));
  std::vector<Layout> views;
  for (int64_t i = 0; i < input.extent(dim); ++i) views.push_back(input.Select(dim, i));
  return views;
}

// The extents of the parts. One number for `split_size` means as many such parts as there are, the last one smaller.
std::vector<int64_t> PartExtents(const OpCall& call, int64_t extent) {
  int64_t size;
  if (call.op.name == "split") {
    const auto& sizes = call.attr<std::vector<int64_t>>("split_size");
    if (sizes.size() != 1) return sizes;
    size = sizes[0];
  } else {
    const int64_t chunks = call.attr<int64_t>("chunks");
    if (chunks < 1) Fail("chunk: chunks is {}, expected at least 1", chunks);
    if (extent == 0) CheckOutputs(call, chunks);
    if (extent == 0) return std::vector<int64_t>(static_cast<size_t>(chunks), 0);
    size = (extent - 1) / chunks + 1;
  }
  if (size < 0 || (size == 0 && extent > 0)) Fail("{}: split_size is {}, expected at least 1", call.op.name, size);
  if (extent == 0) return {0};
  CheckOutputs(call, (extent - 1) / size + 1);
  std::vector<int64_t> extents;
  for (int64_t left = extent; left > 0; left -= size) extents.push_back(std::min(size, left));
  return extents;
}

Views ViewSplit(const OpCall& call, const Layout& input) {
  const int64_t dim = RealDim(call, input), extent = input.extent(static_cast<int>(dim));
  const std::vector<int64_t> extents = PartExtents(call, extent);
  CheckOutputs(call, static_cast<int64_t>(extents.size()));
  int64_t left = extent;
  for (const int64_t part : extents) {
    if (part < 0 || part > left) left = -1;
    if (left >= 0) left -= part;
  }
  if (left != 0) Fail("split: sizes {} do not add up to extent {} of dimension {}", ToString(extents), extent, dim);
  std::vector<Layout> views;
  int64_t start = 0;
  for (const int64_t part : extents) {
    std::optional<Layout> view = input.Slice(static_cast<int>(dim), start, part, 1);
    if (!view) return std::nullopt;
    views.push_back(std::move(*view));
    start += part;
  }
  return views;
}

std::vector<ValueId> GradientParts(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>&) {
  if (std::all_of(grads.begin(), grads.end(), [](ValueId g) { return g == kNone; })) return NoValues(1);
  Emit emit(graph);
  const TensorDesc x = emit.desc(node.inputs[0]);
  const int64_t dim = NormalDim(node.op->name, Get<int64_t>(node.attrs, "dim"), x.shape);
  std::vector<ValueId> parts;
  for (size_t i = 0; i < grads.size(); ++i) {
    const TensorDesc desc = emit.desc(node.outputs[i]);
    if (node.op->name != "unbind" && desc.shape[dim] == 0) continue;
    ValueId g = grads[i] != kNone ? grads[i] : emit.Zeros({desc.dtype, desc.shape});
    if (node.op->name == "unbind") {
      Shape shape = desc.shape;
      shape.insert(shape.begin() + dim, 1);
      g = emit.Reshape(g, shape);
    }
    parts.push_back(g);
  }
  return {parts.empty() ? emit.Zeros({x.dtype, x.shape}) : emit.Cat(std::move(parts), dim)};
}

// --- registration ----------------------------------------------------------------------------------------------------

std::vector<TensorDesc> Infer(const OpCall& call) {
  const Views views = call.op.view(call, Layout::Contiguous(call.in(0).shape));
  ATHANOR_CHECK(views);                                      // every view of a contiguous tensor is separable
  std::vector<TensorDesc> descs;
  for (const Layout& view : *views) descs.push_back({call.in(0).dtype, view.shape()});
  return descs;
}

void Reference(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const Views views = call.op.view(call, Layout::Contiguous(in[0]->desc().shape));
  for (size_t i = 0; i < out.size(); ++i) out[i].Assign(ReadThrough(*in[0], (*views)[i]));
}

void Register(std::string_view name, std::vector<AttrSpec> attrs, decltype(OpDef::view) view, decltype(OpDef::gradient) gradient) {
  RegisterOp({.name = name,
              .kind = OpKind::kView,
              .attrs = std::move(attrs),
              .infer = Infer,
              .reference = Reference,
              .gradient = gradient,
              .view = view});
}

}  // namespace

void RegisterViewOps() {
  const AttrSpec dim = {"dim", Type::kInt}, first_dim = {"dim", Type::kInt, int64_t{0}};
  Register("reshape", {{"shape", Type::kInts}}, ViewReshape, GradientReshape);
  Register("flatten", {{"start_dim", Type::kInt, int64_t{0}}, {"end_dim", Type::kInt, int64_t{-1}}}, ViewFlatten, GradientReshape);
  Register("unsqueeze", {dim}, ViewUnsqueeze, GradientReshape);
  Register("squeeze", {{"dim", Type::kInts, std::vector<int64_t>{}}}, ViewSqueeze, GradientReshape);
  Register("contiguous", {}, ViewContiguous, GradientReshape);
  Register("permute", {{"dims", Type::kInts}}, ViewPermute, GradientPermute);
  Register("transpose", {{"dim0", Type::kInt}, {"dim1", Type::kInt}}, ViewPermute, GradientPermute);
  Register("expand", {{"size", Type::kInts}}, ViewExpand, GradientExpand);
  Register("select", {dim, {"index", Type::kInt}}, ViewSelect, GradientPart);
  Register("narrow", {dim, {"start", Type::kInt}, {"length", Type::kInt}}, ViewNarrow, GradientPart);
  Register("slice", {first_dim, {"start", Type::kInt, int64_t{0}}, {"end", Type::kInt, kToTheEnd}, {"step", Type::kInt, int64_t{1}}},
           ViewSlice, GradientPart);
  Register("unbind", {first_dim}, ViewUnbind, GradientParts);
  Register("split", {{"split_size", Type::kInts}, first_dim}, ViewSplit, GradientParts);
  Register("chunk", {{"chunks", Type::kInt}, first_dim}, ViewSplit, GradientParts);
}

}  // namespace athanor
