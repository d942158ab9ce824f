#include "ops/construct.h"

#include <algorithm>

#include "ops/dims.h"
#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"
#include "ops/promotion.h"

namespace athanor {
namespace {

using Type = AttrSpec::Type;

// --- cat -------------------------------------------------------------------------------------------------------------

std::vector<TensorDesc> InferCat(const OpCall& call) {
  Shape shape = call.in(0).shape;
  if (shape.empty()) Fail("cat: input 0 is a scalar, expected at least one dimension");
  const int64_t dim = NormalDim("cat", call.attr<int64_t>("dim"), shape);
  for (int i = 1; i < static_cast<int>(call.inputs.size()); ++i) {
    Shape part = call.in(i).shape;
    const int64_t extent = part.size() == shape.size() ? part[dim] : 0;
    if (part.size() == shape.size()) part[dim] = shape[dim];
    if (part != shape) {
      Fail("cat: input {} has shape {}, expected that of input 0, {}, except along dimension {}", i, ToString(call.in(i).shape),
           ToString(call.in(0).shape), dim);
    }
    shape[dim] += extent;
  }
  return {{PromotedDType(call.graph, call.inputs), shape}};
}

void ReferenceCat(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const Shape& shape = out[0].desc().shape;
  const int64_t dim = NormalDim("cat", call.attr<int64_t>("dim"), shape);
  const int64_t outer = Product({shape.begin(), shape.begin() + dim}), inner = Product({shape.begin() + dim + 1, shape.end()});
  std::vector<double> result(static_cast<size_t>(out[0].elements()));
  int64_t start = 0;
  for (const HostTensor* part : in) {
    const std::vector<double> values = part->ToDoubles();
    const int64_t run = part->desc().shape[dim] * inner;     // elements that lie together
    for (int64_t o = 0; o < outer; ++o) {
      std::copy_n(values.begin() + o * run, run, result.begin() + o * shape[dim] * inner + start * inner);
    }
    start += part->desc().shape[dim];
  }
  out[0].Assign(result);
}

// The core form has at least two parts, none of them empty, of one dtype.
std::vector<ValueId> DecomposeCat(Graph& graph, const Node& node) {
  Emit emit(graph);
  const DType dtype = PromotedDType(graph, node.inputs);
  const int64_t dim = NormalDim("cat", Get<int64_t>(node.attrs, "dim"), emit.shape(node.inputs[0]));
  std::vector<ValueId> parts;
  for (const ValueId part : node.inputs) {
    if (emit.shape(part)[dim] != 0) parts.push_back(emit.Cast(part, dtype));
  }
  if (parts.empty()) return {emit.Cast(node.inputs[0], dtype)};
  if (parts == node.inputs && parts.size() > 1) return {};
  return {emit.Cat(std::move(parts), dim)};
}

std::vector<ValueId> GradientCat(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>& wanted) {
  std::vector<ValueId> result = NoValues(node.inputs.size());
  if (grads[0] == kNone) return result;
  Emit emit(graph);
  const int64_t dim = NormalDim("cat", Get<int64_t>(node.attrs, "dim"), emit.shape(node.inputs[0]));
  int64_t start = 0;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const TensorDesc part = emit.desc(node.inputs[i]);
    const int64_t end = start + part.shape[dim];
    if (wanted[i]) result[i] = emit.Cast(emit.Slice(grads[0], dim, start, end), part.dtype);
    start = end;
  }
  return result;
}

// --- tril ------------------------------------------------------------------------------------------------------------

std::vector<TensorDesc> InferTril(const OpCall& call) {
  if (call.in(0).rank() < 2) Fail("tril: input has shape {}, expected at least two dimensions", ToString(call.in(0).shape));
  return {{call.in(0).dtype, call.in(0).shape}};
}

// The last kept column of row r is r + this; any diagonal beyond the matrix keeps all or nothing.
int64_t Diagonal(const Attrs& attrs, const Shape& shape) {
  return std::clamp(Get<int64_t>(attrs, "diagonal"), -shape[shape.size() - 2], shape.back());
}

void ReferenceTril(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const Shape& shape = in[0]->desc().shape;
  const int64_t rows = shape[shape.size() - 2], columns = shape.back(), diagonal = Diagonal(call.attrs, shape);
  std::vector<double> values = in[0]->ToDoubles();
  for (int64_t i = 0; i < static_cast<int64_t>(values.size()); ++i) {
    if (i % columns > i / columns % rows + diagonal) values[i] = 0;
  }
  out[0].Assign(values);
}

ValueId EmitTril(Emit& emit, ValueId x, int64_t diagonal) {
  const TensorDesc desc = emit.desc(x);
  const int64_t rows = desc.shape[desc.shape.size() - 2], columns = desc.shape.back();
  const ValueId last = emit.Add(emit.Iota({rows, 1}, 0), static_cast<double>(diagonal));
  return emit.Where(emit.Gt(emit.Iota({1, columns}, 1), last), emit.Scalar(0, desc.dtype), x);
}

std::vector<ValueId> DecomposeTril(Graph& graph, const Node& node) {
  Emit emit(graph);
  return {EmitTril(emit, node.inputs[0], Diagonal(node.attrs, emit.shape(node.inputs[0])))};
}

std::vector<ValueId> GradientTril(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>&) {
  if (grads[0] == kNone) return NoValues(1);
  Emit emit(graph);
  return {EmitTril(emit, grads[0], Diagonal(node.attrs, emit.shape(grads[0])))};
}

// --- _iota -----------------------------------------------------------------------------------------------------------

std::vector<TensorDesc> InferIota(const OpCall& call) {
  const auto& shape = call.attr<std::vector<int64_t>>("shape");
  if (shape.empty()) Fail("_iota: shape is empty");
  NormalDim("_iota", call.attr<int64_t>("dim"), shape);
  return {{DType::kI64, shape}};
}

void ReferenceIota(const OpCall& call, std::span<const HostTensor* const>, std::span<HostTensor> out) {
  const Shape& shape = out[0].desc().shape;
  const int64_t dim = NormalDim("_iota", call.attr<int64_t>("dim"), shape);
  const int64_t inner = Product({shape.begin() + dim + 1, shape.end()});
  for (int64_t i = 0; i < out[0].elements(); ++i) out[0].Set(i, static_cast<double>(i / inner % shape[dim]));
}

// The core form has one dimension; the others are views of it.
std::vector<ValueId> DecomposeIota(Graph& graph, const Node& node) {
  const Shape shape = Get<std::vector<int64_t>>(node.attrs, "shape");
  if (shape.size() == 1) return {};
  Emit emit(graph);
  const int64_t dim = NormalDim("_iota", Get<int64_t>(node.attrs, "dim"), shape);
  Shape line(shape.size(), 1);
  line[dim] = shape[dim];
  return {emit.Expand(emit.Reshape(emit.Iota({shape[dim]}, 0), line), shape)};
}

}  // namespace

void RegisterConstructOps() {
  RegisterOp({.name = "cat",
              .kind = OpKind::kConcat,
              .min_inputs = 1,
              .max_inputs = -1,
              .attrs = {{"dim", Type::kInt, int64_t{0}}},
              .infer = InferCat,
              .reference = ReferenceCat,
              .gradient = GradientCat,
              .decompose = DecomposeCat});
  RegisterOp({.name = "tril",
              .attrs = {{"diagonal", Type::kInt, int64_t{0}}},
              .infer = InferTril,
              .reference = ReferenceTril,
              .gradient = GradientTril,
              .decompose = DecomposeTril});
  RegisterOp({.name = "_iota",
              .kind = OpKind::kIota,
              .min_inputs = 0,
              .max_inputs = 0,
              .attrs = {{"shape", Type::kInts}, {"dim", Type::kInt}},
              .internal = true,
              .infer = InferIota,
              .reference = ReferenceIota,
              .decompose = DecomposeIota});
}

}  // namespace athanor
