#include "jit/body_builder.h"

#include <algorithm>

#include "jit/reduction.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

bool IsConstantAlong(const Digits& digits) {
  return std::all_of(digits.begin(), digits.end(), [](const Digit& d) { return d.extent == 1 || d.stride == 0; });
}

}  // namespace

BodyBuilder::BodyBuilder(std::vector<int64_t> extents, Context context) : context_(std::move(context)) {
  body_.extents = std::move(extents);
}

int BodyBuilder::AddExpr(const Expr& expr) {
  auto found = std::find(body_.exprs.begin(), body_.exprs.end(), expr);
  if (found != body_.exprs.end()) return static_cast<int>(found - body_.exprs.begin());
  body_.exprs.push_back(expr);
  return static_cast<int>(body_.exprs.size()) - 1;
}

void BodyBuilder::AddStore(int expr, Operand operand, int64_t begin, int64_t end, int along) {
  body_.stores.push_back({expr, std::move(operand), begin, end, along});
}

// `layout` (of a value) addressed through `map`; asks to store `blocked` when that has no separable form.
Layout BodyBuilder::Through(const Layout& layout, const Layout& map, ValueId blocked) const {
  std::optional<Layout> composed = layout.Compose(map);
  if (!composed) throw NeedsStorage{blocked};
  return *composed;
}

int BodyBuilder::Read(ValueId value, const Layout& map) {
  const ViewOf& view = context_.views[value];
  if (view.root == value) return ReadRoot(value, map);
  try {
    return ReadRoot(view.root, Through(view.layout, map, view.root));
  } catch (const NeedsStorage& blocked) {
    // No map leads through the view to all that its root is computed from. In a space of its own there is one: the root is stored, where that is no more
    // than what blocked, and where that is not a reduction, which needs a space of its own anyway.
    const Graph& graph = context_.graph;
    const NodeId producer = graph.value(view.root).producer, blocking = graph.value(blocked.value).producer;
    const bool here = producer != kNone && context_.computed_here(producer);
    const bool reduces = blocked.value == context_.accumulator || (blocking != kNone && graph.node(blocking).op->kind == OpKind::kReduce);
    if (here && !reduces && graph.desc(view.root).elements() <= graph.desc(blocked.value).elements()) throw NeedsStorage{view.root};
    throw;
  }
}

int BodyBuilder::ReadRoot(ValueId root, const Layout& map) {
  const Value& value = context_.graph.value(root);
  if (value.constant) {
    Expr expr;
    expr.kind = Expr::Kind::kConstant;
    expr.dtype = value.desc.dtype;
    expr.value = *value.constant;
    return AddExpr(expr);
  }
  const auto key = std::make_pair(root, ToString(map));
  if (auto found = memo_.find(key); found != memo_.end()) return found->second;
  int expr;
  if (value.producer == kNone || !context_.computed_here(value.producer)) {
    expr = Load(root, map);
  } else if (root == context_.accumulator) {
    if (!SameMap(map, Identity())) throw NeedsStorage{root};
    Expr accumulator;
    accumulator.kind = Expr::Kind::kAccumulator;
    accumulator.dtype = value.desc.dtype;
    expr = AddExpr(accumulator);
  } else {
    expr = ReadNode(value.producer, map);
  }
  memo_[key] = expr;
  return expr;
}

int BodyBuilder::ReadNode(NodeId id, const Layout& map) {
  const Node& node = context_.graph.node(id);
  try {
    switch (node.op->kind) {
      case OpKind::kPointwise: return Apply(id, map);
      case OpKind::kReduce: return ReadReduction(id, map);
      case OpKind::kIota: return Index(id, map);
      case OpKind::kRandom: return Random(id, map);
      case OpKind::kGather: return Gather(id, map);
      case OpKind::kWindow: return Window(id, map);
      case OpKind::kConcat: return Pieces(id, map);
      default: throw NeedsStorage{node.outputs[0]};
    }
  } catch (const NeedsStorage& blocked) {
    // What is in memory already can't be the obstacle: this node has to run in an iteration space of its own.
    const NodeId producer = context_.graph.value(blocked.value).producer;
    if (producer != kNone && context_.computed_here(producer)) throw;
    throw NeedsStorage{node.outputs[0]};
  }
}

int BodyBuilder::ReadTerm(ValueId value, const Layout& map) {
  const int expr = Read(value, map);
  if (body_.exprs[expr].kind == Expr::Kind::kReduce && (body_.exprs[expr].axes & 1u)) throw NeedsStorage{context_.views[value].root};
  return expr;
}

int BodyBuilder::Apply(NodeId id, const Layout& map) {
  const Node& node = context_.graph.node(id);
  const TensorDesc& result = context_.graph.desc(node.outputs[0]);
  Expr expr;
  expr.kind = Expr::Kind::kApply;
  expr.dtype = result.dtype;
  expr.fn = node.op->fn;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const ValueId input = node.inputs[i];
    const Layout broadcast = Layout::Contiguous(context_.graph.desc(input).shape).Expand(result.shape);
    expr.args[i] = ReadTerm(input, Through(broadcast, map, node.outputs[0]));
  }
  if (expr.fn == Fn::kCast && body_.exprs[expr.args[0]].dtype == expr.dtype) return expr.args[0];
  return AddExpr(expr);
}

int BodyBuilder::ReadReduction(NodeId id, const Layout& map) {
  const Node& node = context_.graph.node(id);
  const Reduction reduction = ReductionOf(context_.graph, node);
  const int dim = context_.reduced_dim;
  if (reduction.form == Reduction::Form::kAll && body_.rank() == 2) return ReduceAll(id);
  if (dim < 0 || body_.extents[dim] != reduction.reduced || !IsConstantAlong(map.dim(dim))) throw NeedsStorage{node.outputs[0]};
  Layout input = Through(reduction.kept_map, map, node.outputs[0]);
  std::vector<Digits> dims = input.dims();
  dims[dim] = reduction.reduced_digits;
  Expr expr;
  expr.kind = Expr::Kind::kReduce;
  expr.dtype = context_.graph.desc(node.outputs[0]).dtype;
  expr.fn = node.op->fn;
  expr.axes = 1u << dim;
  expr.args[0] = ReadTerm(node.inputs[0], Layout(input.offset(), dims));
  return AddExpr(expr);
}

// A reduction of everything, in a space of rows and columns: of each row, then over the rows.
int BodyBuilder::ReduceAll(NodeId id) {
  const Node& node = context_.graph.node(id);
  const int64_t elements = context_.graph.desc(node.inputs[0]).elements();
  Expr expr;
  expr.kind = Expr::Kind::kReduce;
  expr.dtype = context_.graph.desc(node.outputs[0]).dtype;
  expr.fn = node.op->fn;
  if (elements == body_.extents[0] && body_.extents[1] != 1) {
    expr.args[0] = ReadTerm(node.inputs[0], Layout(0, {{{elements, 1}}, {{body_.extents[1], 0}}}));
  } else {
    ATHANOR_CHECK(elements == body_.extents[0] * body_.extents[1]);
    expr.axes = 2;
    expr.args[0] = ReadTerm(node.inputs[0], Identity());
    expr.args[0] = AddExpr(expr);
  }
  expr.axes = 1;
  return AddExpr(expr);
}

int BodyBuilder::AddApply(Fn fn, DType dtype, std::array<int, 3> args) {
  Expr expr;
  expr.kind = Expr::Kind::kApply;
  expr.fn = fn;
  expr.dtype = dtype;
  expr.args = args;
  return AddExpr(expr);
}

int BodyBuilder::AddConstant(double value, DType dtype) {
  Expr expr;
  expr.kind = Expr::Kind::kConstant;
  expr.dtype = dtype;
  expr.value = value;
  return AddExpr(expr);
}

// An address as an i64 expression, a sum over the dimensions; asks to store `blocked` where a dimension falls apart into digits.
int BodyBuilder::AddressOf(const Layout& layout, ValueId blocked) {
  int sum = -1;
  for (int d = 0; d < layout.rank(); ++d) {
    if (IsConstantAlong(layout.dim(d))) continue;
    const Digits digits = Coalesce(layout.dim(d));
    if (digits.size() != 1) throw NeedsStorage{blocked};
    Expr index;
    index.kind = Expr::Kind::kIndex;
    index.dtype = DType::kI64;
    index.dim = d;
    int term = AddExpr(index);
    if (digits[0].stride != 1) term = AddApply(Fn::kMul, DType::kI64, {term, AddConstant(static_cast<double>(digits[0].stride), DType::kI64), -1});
    sum = sum < 0 ? term : AddApply(Fn::kAdd, DType::kI64, {sum, term, -1});
  }
  if (sum >= 0 && layout.offset() == 0) return sum;
  const int offset = AddConstant(static_cast<double>(layout.offset()), DType::kI64);
  return sum < 0 ? offset : AddApply(Fn::kAdd, DType::kI64, {sum, offset, -1});
}

// The index along a dimension is itself an address: that of a layout with stride 1 along it.
int BodyBuilder::Index(NodeId id, const Layout& map) {
  const Node& node = context_.graph.node(id);
  const TensorDesc& desc = context_.graph.desc(node.outputs[0]);
  std::vector<int64_t> strides(desc.rank(), 0);
  const int64_t along = Get<int64_t>(node.attrs, "dim");
  strides[along < 0 ? along + desc.rank() : along] = 1;
  return AddressOf(Through(Layout::Strided(desc.shape, strides), map, node.outputs[0]), node.outputs[0]);
}

// A random word is a function of its element's number.
int BodyBuilder::Random(NodeId id, const Layout& map) {
  const Node& node = context_.graph.node(id);
  const Shape& shape = context_.graph.desc(node.outputs[0]).shape;
  const int index = AddressOf(Through(Layout::Contiguous(shape), map, node.outputs[0]), node.outputs[0]);
  const Layout scalar = Through(Layout::Contiguous({}).Expand(shape), map, node.outputs[0]);
  const int seed = Read(node.inputs[0], scalar), offset = Read(node.inputs[1], scalar);
  return AddApply(Fn::kRandom, DType::kI32, {index, seed, offset});
}

// table[index[s...], j...]: the index is an expression of its own, the rest an access map.
int BodyBuilder::Gather(NodeId id, const Layout& map) {
  const Node& node = context_.graph.node(id);
  const Graph& graph = context_.graph;
  const ValueId result = node.outputs[0];
  const Shape& shape = graph.desc(result).shape;
  const TensorDesc& table = graph.desc(node.inputs[0]);
  const TensorDesc& indices = graph.desc(node.inputs[1]);
  std::vector<int64_t> row_strides = ContiguousStrides(indices.shape), column_strides(shape.size(), 0);
  row_strides.resize(shape.size(), 0);
  const std::vector<int64_t> table_strides = ContiguousStrides(table.shape);
  std::copy(table_strides.begin() + 1, table_strides.end(), column_strides.begin() + indices.rank());
  const ViewOf& view = context_.views[node.inputs[0]];
  const Storage stored = context_.storage(view.root);
  const Layout base = Through(stored.layout, view.layout, view.root);
  const Digits rows = Coalesce(base.dim(0));
  if (rows.size() > 1) throw NeedsStorage{view.root};

  Operand operand;
  operand.row = Read(node.inputs[1], Through(Layout::Strided(shape, row_strides), map, result));
  operand.row_stride = rows.empty() ? 0 : rows[0].stride;
  operand.row_count = table.shape[0];
  operand.arg = context_.arg(stored.buffer);
  operand.map = Through(base, Through(Layout::Strided(shape, column_strides), map, result), result);
  return AddLoad(std::move(operand), table.dtype);
}

// The input's access map with each windowed dimension split in two, and a bound for each of them.
int BodyBuilder::Window(NodeId id, const Layout& map) {
  using Ints = std::vector<int64_t>;
  const Node& node = context_.graph.node(id);
  const TensorDesc& in = context_.graph.desc(node.inputs[0]);
  const ViewOf& view = context_.views[node.inputs[0]];
  const Storage stored = context_.storage(view.root);
  const Layout base = Through(stored.layout, view.layout, view.root);
  const Ints &dims = Get<Ints>(node.attrs, "dim"), &start = Get<Ints>(node.attrs, "start"), &stride = Get<Ints>(node.attrs, "stride"),
             &dilation = Get<Ints>(node.attrs, "dilation"), &extent = Get<Ints>(node.attrs, "extent"), &kernel = Get<Ints>(node.attrs, "kernel");
  // The window's own index space, with the strides of one function of the input's index.
  auto windowed = [&](const std::function<Digits(int d)>& digits, int64_t offset) {
    std::vector<Digits> space;
    for (int d = 0; d < in.rank(); ++d) {
      const auto w = static_cast<size_t>(std::find(dims.begin(), dims.end(), d) - dims.begin());
      const Digits along = Coalesce(digits(d));
      if (w == dims.size()) {
        space.push_back(along.empty() ? Digits{{in.shape[d], 0}} : along);
        continue;
      }
      if (along.size() > 1) throw NeedsStorage{view.root};
      const int64_t step = along.empty() ? 0 : along[0].stride;
      offset += start[w] * step;
      space.push_back({{extent[w], stride[w] * step}});
      space.push_back({{kernel[w], dilation[w] * step}});
    }
    return Through(Layout(offset, std::move(space)), map, node.outputs[0]);
  };
  Operand operand;
  operand.arg = context_.arg(stored.buffer);
  operand.map = windowed([&](int d) { return base.dim(d); }, base.offset());
  operand.fill = Get<double>(node.attrs, "fill");
  for (size_t w = 0; w < dims.size(); ++w) {
    const int64_t first = start[w] + std::min<int64_t>(0, (extent[w] - 1) * stride[w]) + std::min<int64_t>(0, (kernel[w] - 1) * dilation[w]);
    const int64_t last = start[w] + std::max<int64_t>(0, (extent[w] - 1) * stride[w]) + std::max<int64_t>(0, (kernel[w] - 1) * dilation[w]);
    const int64_t size = in.shape[dims[w]];
    if (first >= 0 && last < size) continue;                 // stays inside
    // One step beyond the dimension: the coordinate along an extent of 1 moves as well.
    operand.bounds.push_back({windowed([&](int d) { return d == dims[w] ? Digits{{size + 1, 1}} : Digits{{in.shape[d], 0}}; }, 0), size});
  }
  return AddLoad(std::move(operand), in.dtype);
}

// A concatenation that nobody stores. The parts' access maps are taken over the whole's index space, moved to where each begins.
int BodyBuilder::Pieces(NodeId id, const Layout& map) {
  const Node& node = context_.graph.node(id);
  const ValueId result = node.outputs[0];
  const TensorDesc& whole = context_.graph.desc(result);
  const int64_t attr = Get<int64_t>(node.attrs, "dim");
  const int along = static_cast<int>(attr < 0 ? attr + whole.rank() : attr);
  Operand operand;
  int64_t begin = 0;
  for (ValueId part : node.inputs) {
    const ViewOf& view = context_.views[part];
    const Storage stored = context_.storage(view.root);
    const Layout base = Through(stored.layout, view.layout, view.root);
    std::vector<Digits> space = base.dims();
    Digits digits = Coalesce(space[along]);
    if (digits.empty()) digits = {{1, 0}};
    const int64_t below = Extent(digits) / digits.back().extent;   // what the highest digit counts
    if (begin % below != 0 || whole.shape[along] % below != 0) throw NeedsStorage{result};
    digits.back().extent = whole.shape[along] / below;
    space[along] = digits;
    const Layout moved(base.offset() - begin / below * digits.back().stride, std::move(space));
    const Piece piece{begin, context_.arg(stored.buffer), Through(moved, map, result)};
    if (begin == 0) {
      operand.arg = piece.arg, operand.map = piece.map;
    } else {
      operand.pieces.push_back(piece);
    }
    begin += context_.graph.desc(part).shape[along];
  }
  std::vector<int64_t> strides(whole.rank(), 0);
  strides[along] = 1;
  operand.coordinate = Through(Layout::Strided(whole.shape, strides), map, result);
  return AddLoad(std::move(operand), whole.dtype);
}

int BodyBuilder::AddLoad(Operand operand, DType dtype) {
  auto found = std::find(body_.operands.begin(), body_.operands.end(), operand);
  Expr expr;
  expr.kind = Expr::Kind::kLoad;
  expr.dtype = dtype;
  expr.operand = static_cast<int>(found - body_.operands.begin());
  if (found == body_.operands.end()) body_.operands.push_back(std::move(operand));
  return AddExpr(expr);
}

int BodyBuilder::Load(ValueId root, const Layout& map) {
  const Storage stored = context_.storage(root);
  Operand operand;
  operand.arg = context_.arg(stored.buffer);
  operand.map = Through(stored.layout, map, root);
  return AddLoad(std::move(operand), context_.graph.desc(root).dtype);
}

}  // namespace athanor
