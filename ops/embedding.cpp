#include "ops/embedding.h"

#include <algorithm>

#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

using Type = AttrSpec::Type;

void CheckIndices(const OpCall& call, int i) {
  const DType dtype = call.in(i).dtype;
  if (dtype != DType::kI64 && (call.op.internal || dtype != DType::kI32)) {
    Fail("{}: the indices have dtype {}, expected {}", call.op.name, Name(dtype), call.op.internal ? "i64" : "i64 or i32");
  }
}

int64_t Row(std::string_view op, const HostTensor& indices, int64_t at, int64_t rows) {
  const int64_t row = static_cast<int64_t>(indices.Get(at));
  if (row < 0 || row >= rows) Fail("{}: index {} is outside of the {} rows", op, row, rows);
  return row;
}

Shape Concat(const Shape& a, std::span<const int64_t> b) {
  Shape shape = a;
  shape.insert(shape.end(), b.begin(), b.end());
  return shape;
}

// The dimension an op works along, not negative.
int64_t Dim(std::string_view op, const Attrs& attrs, const Shape& shape) {
  const int64_t rank = static_cast<int64_t>(shape.size()), dim = Get<int64_t>(attrs, "dim");
  if (dim < -rank || dim >= rank) Fail("{}: dim {} is outside of an input of shape {}", op, dim, ToString(shape));
  return dim < 0 ? dim + rank : dim;
}

// --- _gather_rows, _scatter_add_rows, _scatter_rows -------------------------------------------------------------------

std::vector<TensorDesc> InferGatherRows(const OpCall& call) {
  const TensorDesc& table = call.in(0);
  if (table.rank() < 1) Fail("{}: the table has shape {}, expected [rows, ...]", call.op.name, ToString(table.shape));
  CheckIndices(call, 1);
  return {{table.dtype, Concat(call.in(1).shape, std::span(table.shape).subspan(1))}};
}

void GatherRows(std::string_view op, const HostTensor& table, const HostTensor& indices, HostTensor& out) {
  const int64_t rows = table.desc().shape[0], width = indices.elements() == 0 ? 0 : out.elements() / indices.elements();
  for (int64_t s = 0; s < indices.elements(); ++s) {
    const int64_t row = Row(op, indices, s, rows);
    for (int64_t j = 0; j < width; ++j) out.Set(s * width + j, table.Get(row * width + j));
  }
}

void ReferenceGatherRows(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  GatherRows(call.op.name, *in[0], *in[1], out[0]);
}

// A table of `table_rows` rows such as those that are scattered.
TensorDesc ScatterTable(const OpCall& call, int64_t table_rows) {
  const TensorDesc& rows = call.in(0);
  const TensorDesc& indices = call.in(1);
  CheckIndices(call, 1);
  if (rows.rank() < indices.rank() || !std::equal(indices.shape.begin(), indices.shape.end(), rows.shape.begin())) {
    Fail("{}: the rows have shape {}, expected the indices' shape {} in front", call.op.name, ToString(rows.shape),
         ToString(indices.shape));
  }
  return {rows.dtype, Concat({table_rows}, std::span(rows.shape).subspan(indices.shape.size()))};
}

std::vector<TensorDesc> InferScatterAddRows(const OpCall& call) {
  const int64_t table_rows = call.attr<int64_t>("table_rows");
  if (table_rows < 0) Fail("{}: table_rows is {}, expected at least 0", call.op.name, table_rows);
  return {ScatterTable(call, table_rows)};
}

std::vector<TensorDesc> InferScatterRows(const OpCall& call) {
  const TensorDesc& table = call.in(2);
  if (table.rank() < 1) Fail("{}: the table has shape {}, expected [rows, ...]", call.op.name, ToString(table.shape));
  const TensorDesc expected = ScatterTable(call, table.shape[0]);
  if (table.shape != expected.shape || table.dtype != expected.dtype) {
    Fail("{}: the table is {}, expected {}", call.op.name, ToString(table), ToString(expected));
  }
  return {expected};
}

void ReferenceScatterAddRows(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const int64_t table_rows = call.attr<int64_t>("table_rows");
  const int64_t width = in[1]->elements() == 0 ? 0 : in[0]->elements() / in[1]->elements();
  std::vector<double> sums(static_cast<size_t>(out[0].elements()));
  for (int64_t s = 0; s < in[1]->elements(); ++s) {
    const int64_t row = Row(call.op.name, *in[1], s, table_rows);
    for (int64_t j = 0; j < width; ++j) sums[row * width + j] += in[0]->Get(s * width + j);
  }
  for (int64_t index = 0; index < out[0].elements(); ++index) out[0].Set(index, sums[index]);
}

void ReferenceScatterRows(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  out[0].Assign(in[2]->ToDoubles());
  const int64_t width = in[1]->elements() == 0 ? 0 : in[0]->elements() / in[1]->elements();
  for (int64_t s = 0; s < in[1]->elements(); ++s) {
    const int64_t row = Row(call.op.name, *in[1], s, in[2]->desc().shape[0]);
    for (int64_t j = 0; j < width; ++j) out[0].Set(row * width + j, in[0]->Get(s * width + j));
  }
}

ValueId EmitGather(Graph& graph, ValueId table, ValueId indices) {
  return graph.Add1("_gather_rows", {table, Emit(graph).Cast(indices, DType::kI64)});
}

ValueId EmitScatter(Graph& graph, ValueId rows, ValueId indices, int64_t table_rows) {
  return graph.Add1("_scatter_add_rows", {rows, Emit(graph).Cast(indices, DType::kI64)}, {{"table_rows", table_rows}});
}

std::vector<ValueId> GradientGatherRows(Graph& graph, const Node& node, std::span<const ValueId> grads,
                                        const std::vector<bool>& wanted) {
  if (grads[0] == kNone || !wanted[0]) return NoValues(2);
  return {EmitScatter(graph, grads[0], node.inputs[1], graph.desc(node.inputs[0]).shape[0]), kNone};
}

std::vector<ValueId> GradientScatterAddRows(Graph& graph, const Node& node, std::span<const ValueId> grads,
                                            const std::vector<bool>& wanted) {
  if (grads[0] == kNone || !wanted[0]) return NoValues(2);
  return {EmitGather(graph, grads[0], node.inputs[1]), kNone};
}

// A sum over no rows is zero.
std::vector<ValueId> DecomposeScatterAddRows(Graph& graph, const Node& node) {
  Emit emit(graph);
  const TensorDesc rows = emit.desc(node.inputs[0]);
  const Shape indices = emit.shape(node.inputs[1]);
  if (Product(indices) != 0) return {};
  return {emit.Zeros({rows.dtype, Concat({Get<int64_t>(node.attrs, "table_rows")}, std::span(rows.shape).subspan(indices.size()))})};
}

std::vector<ValueId> DecomposeScatterRows(Graph& graph, const Node& node) {
  if (graph.desc(node.inputs[1]).elements() != 0) return {};
  return {node.inputs[2]};
}

// --- embedding -------------------------------------------------------------------------------------------------------

std::vector<TensorDesc> InferEmbedding(const OpCall& call) {
  const TensorDesc& weight = call.in(1);
  CheckIndices(call, 0);
  if (weight.rank() != 2) Fail("embedding: weight has shape {}, expected [rows, width]", ToString(weight.shape));
  return {{weight.dtype, Concat(call.in(0).shape, std::span(weight.shape).subspan(1))}};
}

void ReferenceEmbedding(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  GatherRows(call.op.name, *in[1], *in[0], out[0]);
}

std::vector<ValueId> DecomposeEmbedding(Graph& graph, const Node& node) {
  return {EmitGather(graph, node.inputs[1], node.inputs[0])};
}

std::vector<ValueId> GradientEmbedding(Graph& graph, const Node& node, std::span<const ValueId> grads,
                                       const std::vector<bool>& wanted) {
  if (grads[0] == kNone || !wanted[1]) return NoValues(2);
  return {kNone, EmitScatter(graph, grads[0], node.inputs[0], graph.desc(node.inputs[1]).shape[0])};
}

// --- index_select ----------------------------------------------------------------------------------------------------

std::vector<TensorDesc> InferIndexSelect(const OpCall& call) {
  CheckIndices(call, 1);
  if (call.in(1).rank() != 1) Fail("index_select: the index has shape {}, expected one dimension", ToString(call.in(1).shape));
  Shape shape = call.in(0).shape;
  shape[Dim(call.op.name, call.attrs, shape)] = call.in(1).shape[0];
  return {{call.in(0).dtype, shape}};
}

void ReferenceIndexSelect(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const Shape& shape = in[0]->desc().shape;
  const int64_t dim = Dim(call.op.name, call.attrs, shape), count = in[1]->elements();
  const int64_t inner = Product({shape.begin() + dim + 1, shape.end()});
  for (int64_t s = 0; s < count; ++s) Row(call.op.name, *in[1], s, shape[dim]);
  for (int64_t index = 0; index < out[0].elements(); ++index) {
    const int64_t row = Row(call.op.name, *in[1], index / inner % count, shape[dim]);
    out[0].Set(index, in[0]->Get((index / inner / count * shape[dim] + row) * inner + index % inner));
  }
}

// The order of dimensions that brings `dim` to the front, and its inverse.
std::vector<int64_t> ToFront(int64_t rank, int64_t dim) {
  std::vector<int64_t> dims = {dim};
  for (int64_t d = 0; d < rank; ++d) {
    if (d != dim) dims.push_back(d);
  }
  return dims;
}

std::vector<int64_t> FromFront(int64_t rank, int64_t dim) {
  std::vector<int64_t> dims = DimRange(1, rank);
  dims.insert(dims.begin() + dim, 0);
  return dims;
}

std::vector<ValueId> DecomposeIndexSelect(Graph& graph, const Node& node) {
  Emit emit(graph);
  const int64_t rank = emit.desc(node.inputs[0]).rank(), dim = Dim(node.op->name, node.attrs, emit.shape(node.inputs[0]));
  const ValueId rows = EmitGather(graph, emit.Permute(node.inputs[0], ToFront(rank, dim)), node.inputs[1]);
  return {emit.Permute(rows, FromFront(rank, dim))};
}

std::vector<ValueId> GradientIndexSelect(Graph& graph, const Node& node, std::span<const ValueId> grads,
                                         const std::vector<bool>& wanted) {
  if (grads[0] == kNone || !wanted[0]) return NoValues(2);
  Emit emit(graph);
  const Shape shape = emit.shape(node.inputs[0]);
  const int64_t rank = static_cast<int64_t>(shape.size()), dim = Dim(node.op->name, node.attrs, shape);
  const ValueId sums = EmitScatter(graph, emit.Permute(grads[0], ToFront(rank, dim)), node.inputs[1], shape[dim]);
  return {emit.Permute(sums, FromFront(rank, dim)), kNone};
}

// --- gather ----------------------------------------------------------------------------------------------------------

std::vector<TensorDesc> InferGather(const OpCall& call) {
  const Shape& x = call.in(0).shape;
  const Shape& index = call.in(1).shape;
  CheckIndices(call, 1);
  const int64_t dim = Dim(call.op.name, call.attrs, x);
  bool fits = x.size() == index.size();
  for (size_t d = 0; fits && d < x.size(); ++d) fits = static_cast<int64_t>(d) == dim || index[d] <= x[d];
  if (!fits) {
    Fail("gather: the index has shape {}, expected the input's rank and, except along dim {}, at most its shape {}", ToString(index), dim,
         ToString(x));
  }
  return {{call.in(0).dtype, index}};
}

void ReferenceGather(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const Shape &x = in[0]->desc().shape, &shape = in[1]->desc().shape;
  const int64_t dim = Dim(call.op.name, call.attrs, x);
  const std::vector<int64_t> strides = ContiguousStrides(x);
  for (int64_t index = 0; index < out[0].elements(); ++index) {
    int64_t rest = index, from = 0;
    for (int64_t d = static_cast<int64_t>(shape.size()) - 1; d >= 0; --d) {
      from += (d == dim ? Row(call.op.name, *in[1], index, x[dim]) : rest % shape[d]) * strides[d];
      rest /= shape[d];
    }
    out[0].Set(index, in[0]->Get(from));
  }
}

// The flat index into the input of each gathered element.
ValueId FlatIndex(Emit& emit, const Node& node) {
  const Shape x = emit.shape(node.inputs[0]), shape = emit.shape(node.inputs[1]);
  const int64_t dim = Dim(node.op->name, node.attrs, x);
  const std::vector<int64_t> strides = ContiguousStrides(x);
  ValueId flat = emit.Mul(emit.Cast(node.inputs[1], DType::kI64), static_cast<double>(strides[dim]));
  for (int64_t d = 0; d < static_cast<int64_t>(shape.size()); ++d) {
    if (d != dim) flat = emit.Add(flat, emit.Mul(emit.Iota(shape, d), static_cast<double>(strides[d])));
  }
  return flat;
}

std::vector<ValueId> DecomposeGather(Graph& graph, const Node& node) {
  Emit emit(graph);
  const ValueId flat = FlatIndex(emit, node);
  return {EmitGather(graph, emit.Reshape(node.inputs[0], {emit.desc(node.inputs[0]).elements()}), flat)};
}

std::vector<ValueId> GradientGather(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>& wanted) {
  if (grads[0] == kNone || !wanted[0]) return NoValues(2);
  Emit emit(graph);
  const Shape shape = emit.shape(node.inputs[0]);
  return {emit.Reshape(EmitScatter(graph, grads[0], FlatIndex(emit, node), Product(shape)), shape), kNone};
}

// --- one_hot ---------------------------------------------------------------------------------------------------------

std::vector<TensorDesc> InferOneHot(const OpCall& call) {
  CheckIndices(call, 0);
  const int64_t classes = call.attr<int64_t>("num_classes");
  if (classes < 1) Fail("one_hot: num_classes is {}, expected at least 1 (it can't be told from the data)", classes);
  return {{DType::kI64, Concat(call.in(0).shape, std::vector{classes})}};
}

void ReferenceOneHot(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const int64_t classes = call.attr<int64_t>("num_classes");
  for (int64_t s = 0; s < in[0]->elements(); ++s) out[0].Set(s * classes + Row(call.op.name, *in[0], s, classes), 1);
}

std::vector<ValueId> DecomposeOneHot(Graph& graph, const Node& node) {
  Emit emit(graph);
  Shape shape = emit.shape(node.inputs[0]);
  shape.push_back(1);
  const ValueId index = emit.Reshape(emit.Cast(node.inputs[0], DType::kI64), shape);
  shape.back() = Get<int64_t>(node.attrs, "num_classes");
  const ValueId classes = emit.Iota(shape, static_cast<int64_t>(shape.size()) - 1);
  return {emit.Cast(emit.Eq(classes, index), DType::kI64)};
}

OpDef TwoInputs(std::string_view name, std::vector<AttrSpec> attrs) {
  return {.name = name, .min_inputs = 2, .max_inputs = 2, .attrs = std::move(attrs), .internal = name.starts_with('_')};
}

void RegisterCore() {
  OpDef gather = TwoInputs("_gather_rows", {});
  gather.kind = OpKind::kGather;
  gather.infer = InferGatherRows;
  gather.reference = ReferenceGatherRows;
  gather.gradient = GradientGatherRows;
  RegisterOp(gather);
  OpDef scatter = TwoInputs("_scatter_add_rows", {{"table_rows", Type::kInt}});
  scatter.kind = OpKind::kScatter;
  scatter.infer = InferScatterAddRows;
  scatter.reference = ReferenceScatterAddRows;
  scatter.gradient = GradientScatterAddRows;
  scatter.decompose = DecomposeScatterAddRows;
  RegisterOp(scatter);
  RegisterOp({.name = "_scatter_rows",
              .kind = OpKind::kScatter,
              .min_inputs = 3,
              .max_inputs = 3,
              .internal = true,
              .infer = InferScatterRows,
              .reference = ReferenceScatterRows,
              .decompose = DecomposeScatterRows});
}

}  // namespace

void RegisterEmbeddingOps() {
  RegisterCore();
  OpDef embedding = TwoInputs("embedding", {});
  embedding.infer = InferEmbedding;
  embedding.reference = ReferenceEmbedding;
  embedding.gradient = GradientEmbedding;
  embedding.decompose = DecomposeEmbedding;
  RegisterOp(embedding);
  OpDef index_select = TwoInputs("index_select", {{"dim", Type::kInt}});
  index_select.infer = InferIndexSelect;
  index_select.reference = ReferenceIndexSelect;
  index_select.gradient = GradientIndexSelect;
  index_select.decompose = DecomposeIndexSelect;
  RegisterOp(index_select);
  OpDef gather = TwoInputs("gather", {{"dim", Type::kInt}});
  gather.infer = InferGather;
  gather.reference = ReferenceGather;
  gather.gradient = GradientGather;
  gather.decompose = DecomposeGather;
  RegisterOp(gather);
  RegisterOp({.name = "one_hot",
              .attrs = {{"num_classes", Type::kInt}},
              .infer = InferOneHot,
              .reference = ReferenceOneHot,
              .decompose = DecomposeOneHot});
}

}  // namespace athanor
