#include "ops/contract.h"

#include <algorithm>

#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

void CheckOperands(const OpCall& call) {
  const TensorDesc& a = call.in(0);
  const TensorDesc& b = call.in(1);
  if (!IsFloat(a.dtype)) Fail("{}: inputs have dtype {}, expected a floating-point one", call.op.name, Name(a.dtype));
  if (a.dtype != b.dtype) Fail("{}: inputs have dtypes {} and {}, expected equal ones", call.op.name, Name(a.dtype), Name(b.dtype));
}

// --- _contract -------------------------------------------------------------------------------------------------------

std::vector<TensorDesc> InferContract(const OpCall& call) {
  CheckOperands(call);
  const Shape& a = call.in(0).shape;
  const Shape& b = call.in(1).shape;
  const size_t rank = a.size();
  if (rank < 2 || b.size() != rank || !std::equal(a.begin(), a.end() - 2, b.begin()) || a[rank - 1] != b[rank - 2]) {
    Fail("{}: inputs have shapes {} and {}, expected [batch..., M, K] and [batch..., K, N]", call.op.name, ToString(a), ToString(b));
  }
  Shape shape = a;
  shape.back() = b.back();
  return {{call.in(0).dtype, shape}};
}

// c += a b for row-major a [m, k] and b [k, n]; each sum runs over k in order.
void AddProduct(const double* a, const double* b, double* c, int64_t m, int64_t k, int64_t n) {
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t p = 0; p < k; ++p) {
      for (int64_t j = 0; j < n; ++j) c[i * n + j] += a[i * k + p] * b[p * n + j];
    }
  }
}

void ReferenceContract(const OpCall&, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const Shape& a = in[0]->desc().shape;
  const int64_t m = a[a.size() - 2], k = a.back(), n = out[0].desc().shape.back();
  const std::vector<double> left = in[0]->ToDoubles(), right = in[1]->ToDoubles();
  std::vector<double> result(static_cast<size_t>(out[0].elements()));
  const int64_t batches = Product({a.begin(), a.end() - 2});
  for (int64_t batch = 0; batch < batches; ++batch) {
    AddProduct(left.data() + batch * m * k, right.data() + batch * k * n, result.data() + batch * m * n, m, k, n);
  }
  out[0].Assign(result);
}

std::vector<ValueId> GradientContract(Graph& graph, const Node& node, std::span<const ValueId> grads,
                                      const std::vector<bool>& wanted) {
  Emit emit(graph);
  std::vector<ValueId> result = NoValues(2);
  if (grads[0] == kNone) return result;
  if (wanted[0]) result[0] = emit.Contract(grads[0], emit.Transpose(node.inputs[1]));
  if (wanted[1]) result[1] = emit.Contract(emit.Transpose(node.inputs[0]), grads[0]);
  return result;
}

// A sum of no products is zero.
std::vector<ValueId> DecomposeContract(Graph& graph, const Node& node) {
  Emit emit(graph);
  const TensorDesc a = emit.desc(node.inputs[0]);
  if (a.shape.back() != 0) return {};
  Shape shape = a.shape;
  shape.back() = emit.shape(node.inputs[1]).back();
  return {emit.Zeros({a.dtype, shape})};
}

// --- matmul ----------------------------------------------------------------------------------------------------------

// How a matmul maps to _contract.
struct MatmulForm {
  Shape a, b;                                                // the operands with vectors made matrices: [batch..., M, K], [batch..., K, N]
  Shape a_core, b_core, core;                                // shapes of the product's operands and result
  Shape out;
};

MatmulForm FormOf(std::string_view op, const Shape& a, const Shape& b) {
  MatmulForm form = {.a = a, .b = b};
  if (a.empty() || b.empty()) Fail("{}: inputs have shapes {} and {}, expected at least one dimension", op, ToString(a), ToString(b));
  if (a.size() == 1) form.a.insert(form.a.begin(), 1);
  if (b.size() == 1) form.b.push_back(1);
  const int64_t m = form.a[form.a.size() - 2], k = form.a.back(), n = form.b.back();
  if (form.b[form.b.size() - 2] != k) {
    Fail("{}: inputs have shapes {} and {}; the summed extents {} and {} differ", op, ToString(a), ToString(b), k,
         form.b[form.b.size() - 2]);
  }
  const size_t a_batch = form.a.size() - 2, b_batch = form.b.size() - 2, rank = std::max(a_batch, b_batch);
  Shape batch(rank, 1);
  for (size_t d = 0; d < rank; ++d) {
    const int64_t x = d + a_batch < rank ? 1 : form.a[d + a_batch - rank];
    const int64_t y = d + b_batch < rank ? 1 : form.b[d + b_batch - rank];
    if (x != y && x != 1 && y != 1) Fail("{}: batch dimensions of {} and {} do not broadcast", op, ToString(a), ToString(b));
    batch[d] = x == 1 ? y : x;
  }
  form.out = batch;
  if (a.size() > 1) form.out.push_back(m);
  if (b.size() > 1) form.out.push_back(n);
  if (b_batch == 0) {                                        // one matrix on the right: the batch is more rows
    form.a_core = {Product(batch) * m, k};
    form.b_core = {k, n};
    form.core = {Product(batch) * m, n};
  } else {
    form.a_core = form.b_core = form.core = batch;
    form.a_core.insert(form.a_core.end(), {m, k});
    form.b_core.insert(form.b_core.end(), {k, n});
    form.core.insert(form.core.end(), {m, n});
  }
  return form;
}

std::vector<TensorDesc> InferMatmul(const OpCall& call) {
  CheckOperands(call);
  return {{call.in(0).dtype, FormOf(call.op.name, call.in(0).shape, call.in(1).shape).out}};
}

// Offset of matrix number `index` of the broadcast batch `core` in an operand of shape `shape` ([batch..., rows, columns]).
int64_t MatrixOffset(int64_t index, const Shape& core, const Shape& shape) {
  int64_t offset = 0, stride = shape[shape.size() - 1] * shape[shape.size() - 2];
  for (size_t back = 3; back <= core.size(); ++back) {
    const int64_t extent = core[core.size() - back], digit = index % extent;
    index /= extent;
    if (back > shape.size()) continue;
    if (shape[shape.size() - back] != 1) offset += digit * stride;
    stride *= shape[shape.size() - back];
  }
  return offset;
}

void ReferenceMatmul(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const MatmulForm form = FormOf(call.op.name, in[0]->desc().shape, in[1]->desc().shape);
  const int64_t m = form.a[form.a.size() - 2], k = form.a.back(), n = form.b.back();
  const size_t rank = std::max(form.a.size(), form.b.size()) - 2;
  Shape batch(form.out.begin(), form.out.begin() + static_cast<std::ptrdiff_t>(rank));
  const int64_t batches = Product(batch);
  batch.insert(batch.end(), {m, n});
  const std::vector<double> left = in[0]->ToDoubles(), right = in[1]->ToDoubles();
  std::vector<double> result(static_cast<size_t>(out[0].elements()));
  for (int64_t index = 0; index < batches; ++index) {
    const double* a = left.data() + MatrixOffset(index, batch, form.a);
    const double* b = right.data() + MatrixOffset(index, batch, form.b);
    AddProduct(a, b, result.data() + index * m * n, m, k, n);
  }
  out[0].Assign(result);
}

// An operand in the product's form: vectors become matrices, batches broadcast or fold into rows.
ValueId CoreOperand(Emit& emit, ValueId x, const Shape& promoted, const Shape& core) {
  if (core.size() == 2) return emit.Reshape(x, core);
  return emit.Expand(emit.Reshape(x, promoted), core);
}

// The gradient of an operand, from that of its product's form.
ValueId OperandGradient(Emit& emit, ValueId d, const Shape& promoted, const Shape& shape) {
  if (emit.shape(d).size() > 2) d = emit.SumTo(d, promoted);
  return emit.Reshape(d, shape);
}

std::vector<ValueId> DecomposeMatmul(Graph& graph, const Node& node) {
  Emit emit(graph);
  const MatmulForm form = FormOf(node.op->name, emit.shape(node.inputs[0]), emit.shape(node.inputs[1]));
  const ValueId a = CoreOperand(emit, node.inputs[0], form.a, form.a_core);
  const ValueId b = CoreOperand(emit, node.inputs[1], form.b, form.b_core);
  return {emit.Reshape(emit.Contract(a, b), form.out)};
}

std::vector<ValueId> GradientMatmul(Graph& graph, const Node& node, std::span<const ValueId> grads,
                                    const std::vector<bool>& wanted) {
  Emit emit(graph);
  std::vector<ValueId> result = NoValues(2);
  if (grads[0] == kNone) return result;
  const Shape a_shape = emit.shape(node.inputs[0]), b_shape = emit.shape(node.inputs[1]);
  const MatmulForm form = FormOf(node.op->name, a_shape, b_shape);
  const ValueId g = emit.Reshape(grads[0], form.core);
  if (wanted[0]) {
    const ValueId b = CoreOperand(emit, node.inputs[1], form.b, form.b_core);
    result[0] = OperandGradient(emit, emit.Contract(g, emit.Transpose(b)), form.a, a_shape);
  }
  if (wanted[1]) {
    const ValueId a = CoreOperand(emit, node.inputs[0], form.a, form.a_core);
    result[1] = OperandGradient(emit, emit.Contract(emit.Transpose(a), g), form.b, b_shape);
  }
  return result;
}

// --- linear ----------------------------------------------------------------------------------------------------------

std::vector<TensorDesc> InferLinear(const OpCall& call) {
  CheckOperands(call);
  const TensorDesc& x = call.in(0);
  const TensorDesc& weight = call.in(1);
  if (weight.rank() != 2 || x.rank() < 1 || x.shape.back() != weight.shape[1]) {
    Fail("{}: input has shape {} and weight {}, expected [..., in] and [out, in]", call.op.name, ToString(x.shape),
         ToString(weight.shape));
  }
  const TensorDesc bias = {x.dtype, {weight.shape[0]}};
  if (call.has(2) && (call.in(2).dtype != bias.dtype || call.in(2).shape != bias.shape)) {
    Fail("{}: bias is {}, expected {}", call.op.name, ToString(call.in(2)), ToString(bias));
  }
  Shape shape = x.shape;
  shape.back() = weight.shape[0];
  return {{x.dtype, shape}};
}

void ReferenceLinear(const OpCall&, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const int64_t n = in[1]->desc().shape[0], k = in[1]->desc().shape[1], rows = n == 0 ? 0 : out[0].elements() / n;
  const std::vector<double> x = in[0]->ToDoubles(), weight = in[1]->ToDoubles();
  std::vector<double> transposed(weight.size()), result(static_cast<size_t>(out[0].elements()));
  for (int64_t column = 0; column < n; ++column) {
    for (int64_t p = 0; p < k; ++p) transposed[p * n + column] = weight[column * k + p];
  }
  if (in.size() > 2) {
    const std::vector<double> bias = in[2]->ToDoubles();
    for (int64_t row = 0; row < rows; ++row) std::copy(bias.begin(), bias.end(), result.begin() + row * n);
  }
  AddProduct(x.data(), transposed.data(), result.data(), rows, k, n);
  out[0].Assign(result);
}

bool Has(const Node& node, size_t i) { return node.inputs.size() > i && node.inputs[i] != kNone; }

// x with all dimensions but the last one folded into rows.
ValueId Rows(Emit& emit, ValueId x) {
  const Shape& shape = emit.shape(x);
  return emit.Reshape(x, {Product({shape.begin(), shape.end() - 1}), shape.back()});
}

std::vector<ValueId> DecomposeLinear(Graph& graph, const Node& node) {
  Emit emit(graph);
  Shape out = emit.shape(node.inputs[0]);
  out.back() = emit.shape(node.inputs[1])[0];
  ValueId y = emit.Contract(Rows(emit, node.inputs[0]), emit.Transpose(node.inputs[1]));
  if (Has(node, 2)) y = emit.Add(y, node.inputs[2]);
  return {emit.Reshape(y, out)};
}

std::vector<ValueId> GradientLinear(Graph& graph, const Node& node, std::span<const ValueId> grads,
                                    const std::vector<bool>& wanted) {
  Emit emit(graph);
  std::vector<ValueId> result = NoValues(node.inputs.size());
  if (grads[0] == kNone) return result;
  const ValueId g = Rows(emit, grads[0]);
  if (wanted[0]) result[0] = emit.Reshape(emit.Contract(g, node.inputs[1]), Shape(emit.shape(node.inputs[0])));
  if (wanted[1]) result[1] = emit.Contract(emit.Transpose(g), Rows(emit, node.inputs[0]));
  if (Has(node, 2) && wanted[2]) result[2] = emit.Sum(g, {0}, false);
  return result;
}

}  // namespace

void RegisterContractOps() {
  RegisterOp({.name = "_contract",
              .kind = OpKind::kContract,
              .min_inputs = 2,
              .max_inputs = 2,
              .internal = true,
              .infer = InferContract,
              .reference = ReferenceContract,
              .gradient = GradientContract,
              .decompose = DecomposeContract});
  RegisterOp({.name = "matmul",
              .min_inputs = 2,
              .max_inputs = 2,
              .infer = InferMatmul,
              .reference = ReferenceMatmul,
              .gradient = GradientMatmul,
              .decompose = DecomposeMatmul});
  RegisterOp({.name = "linear",
              .min_inputs = 2,
              .max_inputs = 3,
              .infer = InferLinear,
              .reference = ReferenceLinear,
              .gradient = GradientLinear,
              .decompose = DecomposeLinear});
}

}  // namespace athanor
