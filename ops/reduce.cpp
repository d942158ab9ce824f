#include "ops/reduce.h"

#include <algorithm>
#include <limits>

#include "ops/dims.h"
#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

// What a call reduces.
struct Form {
  std::vector<int64_t> dims;                                 // sorted, not negative
  int64_t count;                                             // elements reduced into one
  Shape kept;                                                // the input's shape with extent 1 at `dims`
  Shape result;
};

Form FormOf(std::string_view op, const Attrs& attrs, const Shape& shape) {
  Form form = {.dims = NormalDims(op, Get<std::vector<int64_t>>(attrs, "dim"), shape), .count = 1, .kept = shape, .result = {}};
  const auto rank = static_cast<int64_t>(shape.size());
  if (form.dims.empty()) form.dims = DimRange(0, rank);
  if (rank == 0) form.dims.clear();
  for (const int64_t d : form.dims) {
    form.count *= shape[d];
    form.kept[d] = 1;
  }
  for (int64_t d = 0; d < rank; ++d) {
    const bool reduced = std::binary_search(form.dims.begin(), form.dims.end(), d);
    if (!reduced || Get<bool>(attrs, "keepdim")) form.result.push_back(form.kept[d]);
  }
  return form;
}

std::vector<TensorDesc> Infer(const OpCall& call) {
  DType dtype = call.in(0).dtype;
  const Form form = FormOf(call.op.name, call.attrs, call.in(0).shape);
  if (call.op.name == "sum" && !IsFloat(dtype)) dtype = DType::kI64;
  if (call.op.name == "mean" && !IsFloat(dtype)) Fail("mean: input has dtype {}, expected a floating-point one", Name(dtype));
  if (call.op.name == "amax" && dtype == DType::kBool) Fail("amax: input has dtype bool, expected numbers");
  if (call.op.name == "amax" && form.count == 0) {
    Fail("amax: an input of shape {} has no elements along {}", ToString(call.in(0).shape), ToString(form.dims));
  }
  return {{dtype, form.result}};
}

void Reference(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const Shape& shape = in[0]->desc().shape;
  const Form form = FormOf(call.op.name, call.attrs, shape);
  const bool max = call.op.name == "amax";
  const std::vector<int64_t> strides = ContiguousStrides(form.kept);
  const std::vector<double> values = in[0]->ToDoubles();
  std::vector<double> result(static_cast<size_t>(out[0].elements()), max ? -std::numeric_limits<double>::infinity() : 0);
  std::vector<int64_t> index(shape.size(), 0);
  for (const double x : values) {
    int64_t to = 0;
    for (size_t d = 0; d < shape.size(); ++d) to += form.kept[d] == 1 ? 0 : index[d] * strides[d];
    result[to] = max ? Apply(Fn::kMax, result[to], x) : result[to] + x;
    for (size_t d = shape.size(); d-- > 0 && ++index[d] == shape[d];) index[d] = 0;
  }
  if (call.op.name == "mean") {
    for (double& x : result) x /= static_cast<double>(form.count);
  }
  out[0].Assign(result);
}

// The core form sums or compares at least one dimension that is not of extent 1, in a dtype fit for sums.
std::vector<ValueId> DecomposeCore(Graph& graph, const Node& node) {
  Emit emit(graph);
  const TensorDesc x = emit.desc(node.inputs[0]);
  const Form form = FormOf(node.op->name, node.attrs, x.shape);
  const bool sum = node.op->fn == Fn::kAdd;
  const DType result = sum && !IsFloat(x.dtype) ? DType::kI64 : x.dtype;
  const DType compute = sum ? ComputeType(result) : result;
  if (form.count == 0) return {emit.Zeros({result, form.result})};
  if (form.count == 1) return {emit.Reshape(emit.Cast(node.inputs[0], result), form.result)};
  if (compute == x.dtype) return {};
  return {emit.Cast(graph.Add1(node.op->name, {emit.Cast(node.inputs[0], compute)}, node.attrs), result)};
}

std::vector<ValueId> DecomposeMean(Graph& graph, const Node& node) {
  Emit emit(graph);
  const DType dtype = emit.desc(node.inputs[0]).dtype;
  const Form form = FormOf(node.op->name, node.attrs, emit.shape(node.inputs[0]));
  const ValueId sum = graph.Add1("sum", {emit.Cast(node.inputs[0], ComputeType(dtype))}, node.attrs);
  return {emit.Cast(emit.Mul(sum, 1 / static_cast<double>(form.count)), dtype)};
}

std::vector<ValueId> Gradient(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>&) {
  if (grads[0] == kNone) return NoValues(1);
  Emit emit(graph);
  const TensorDesc x = emit.desc(node.inputs[0]);
  const Form form = FormOf(node.op->name, node.attrs, x.shape);
  ValueId g = emit.Reshape(grads[0], form.kept);
  if (node.op->name == "amax") {
    const ValueId winner = emit.Eq(node.inputs[0], emit.Reshape(node.outputs[0], form.kept));
    const ValueId one = emit.Where(winner, emit.Scalar(1, x.dtype), emit.Scalar(0, x.dtype));
    const ValueId share = form.dims.empty() ? one : emit.Div(one, emit.Sum(one, form.dims, true));
    return {emit.Mul(g, share)};
  }
  if (node.op->name == "mean") g = emit.Mul(g, 1 / static_cast<double>(form.count));
  return {emit.Expand(g, x.shape)};
}

OpDef ReduceOp(std::string_view name) {
  return {.name = name,
          .attrs = {{"dim", AttrSpec::Type::kInts, std::vector<int64_t>{}}, {"keepdim", AttrSpec::Type::kBool, false}},
          .infer = Infer,
          .reference = Reference,
          .gradient = Gradient};
}

}  // namespace

void RegisterReduceOps() {
  for (const auto& [name, fn] : {std::pair<std::string_view, Fn>{"sum", Fn::kAdd}, {"amax", Fn::kMax}}) {
    OpDef op = ReduceOp(name);
    op.kind = OpKind::kReduce;
    op.decompose = DecomposeCore;
    op.fn = fn;
    RegisterOp(op);
  }
  OpDef mean = ReduceOp("mean");
  mean.decompose = DecomposeMean;
  RegisterOp(mean);
}

}  // namespace athanor
