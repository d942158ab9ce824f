#include "ops/attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

constexpr double kUnsetScale = std::numeric_limits<double>::infinity();

double Scale(const Attrs& attrs, const Shape& q) {
  const double scale = Get<double>(attrs, "scale");
  return scale == kUnsetScale ? 1 / std::sqrt(static_cast<double>(q.back())) : scale;
}

// The extents of a problem; batch dimensions are folded into `batch`.
struct AttentionForm {
  int64_t batch, lq, lk, d, dv;
  bool causal;
  double scale;

  int64_t Keys(int64_t query) const { return causal ? std::min(lk, query + 1) : lk; }   // how many keys the query sees
};

AttentionForm FormOf(const Shape& q, const Shape& k, const Shape& v, const Attrs& attrs) {
  const size_t rank = q.size();
  return {.batch = Product({q.begin(), q.end() - 2}), .lq = q[rank - 2], .lk = k[rank - 2], .d = q[rank - 1], .dv = v[rank - 1],
          .causal = Get<bool>(attrs, "is_causal"), .scale = Scale(attrs, q)};
}

// Checks q, k, v at inputs[first...].
void CheckOperands(const OpCall& call, int first) {
  const TensorDesc& q = call.in(first);
  const TensorDesc& k = call.in(first + 1);
  const TensorDesc& v = call.in(first + 2);
  if (!IsFloat(q.dtype)) Fail("{}: query has dtype {}, expected a floating-point one", call.op.name, Name(q.dtype));
  if (k.dtype != q.dtype || v.dtype != q.dtype) {
    Fail("{}: query, key and value have dtypes {}, {} and {}, expected equal ones", call.op.name, Name(q.dtype), Name(k.dtype),
         Name(v.dtype));
  }
  const size_t rank = q.shape.size();
  const bool rank_fits = call.op.internal ? rank == 4 : rank == 3 || rank == 4;
  const bool fits = rank_fits && k.shape.size() == rank && v.shape.size() == rank &&
                    std::equal(q.shape.begin(), q.shape.end() - 2, k.shape.begin()) &&
                    std::equal(q.shape.begin(), q.shape.end() - 2, v.shape.begin()) && k.shape[rank - 1] == q.shape[rank - 1] &&
                    k.shape[rank - 2] == v.shape[rank - 2];
  if (!fits) {
    const std::string_view batch = rank == 3 && !call.op.internal ? "" : "batch, ";
    Fail("{}: query, key and value have shapes {}, {} and {}, expected [{}heads, Lq, D], [{}heads, Lk, D] and [{}heads, Lk, DV]",
         call.op.name, ToString(q.shape), ToString(k.shape), ToString(v.shape), batch, batch, batch);
  }
}

Shape OutputShape(const Shape& q, const Shape& v) {
  Shape shape = q;
  shape.back() = v.back();
  return shape;
}

// --- references ------------------------------------------------------------------------------------------------------

// The scaled score of one query and key.
double Score(const AttentionForm& form, const double* q, const double* k) {
  double sum = 0;
  for (int64_t c = 0; c < form.d; ++c) sum += q[c] * k[c];
  return sum * form.scale;
}

// y, and lse where it is wanted.
void Forward(const AttentionForm& form, std::span<const HostTensor* const> in, HostTensor& y, HostTensor* lse) {
  const std::vector<double> q = in[0]->ToDoubles(), k = in[1]->ToDoubles(), v = in[2]->ToDoubles();
  std::vector<double> result(static_cast<size_t>(y.elements()));
  for (int64_t row = 0; row < form.batch * form.lq; ++row) {
    const int64_t first_key = row / form.lq * form.lk, keys = form.Keys(row % form.lq);
    std::vector<double> p(static_cast<size_t>(keys));
    double top = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int64_t j = 0; j < keys; ++j) {
      top = std::max(top, p[j] = Score(form, q.data() + row * form.d, k.data() + (first_key + j) * form.d));
    }
    for (double& x : p) sum += x = std::exp(x - top);
    for (int64_t j = 0; j < keys; ++j) {
      for (int64_t c = 0; c < form.dv; ++c) result[row * form.dv + c] += p[j] / sum * v[(first_key + j) * form.dv + c];
    }
    if (lse) lse->Set(row, top + std::log(sum));
  }
  y.Assign(result);
}

AttentionForm FormOf(const OpCall& call, const HostTensor& q, const HostTensor& k, const HostTensor& v) {
  return FormOf(q.desc().shape, k.desc().shape, v.desc().shape, call.attrs);
}

void ReferencePublic(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  Forward(FormOf(call, *in[0], *in[1], *in[2]), in, out[0], nullptr);
}

void ReferenceCore(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  Forward(FormOf(call, *in[0], *in[1], *in[2]), in, out[0], &out[1]);
}

// With p = exp(score - lse) and D = sum(dy * y): dv = p^T dy, ds = p * (dy v^T - D), dq = scale * ds k, dk = scale * ds^T q.
void ReferenceBackward(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const AttentionForm form = FormOf(call, *in[1], *in[2], *in[3]);
  std::array<std::vector<double>, 6> operand;
  for (size_t i = 0; i < 6; ++i) operand[i] = in[i]->ToDoubles();
  const auto& [dy, q, k, v, y, lse] = operand;
  std::array<std::vector<double>, 3> result;
  for (size_t i = 0; i < 3; ++i) result[i].resize(static_cast<size_t>(out[i].elements()));
  auto& [dq, dk, dv] = result;
  for (int64_t row = 0; row < form.batch * form.lq; ++row) {
    double mean = 0;
    for (int64_t c = 0; c < form.dv; ++c) mean += dy[row * form.dv + c] * y[row * form.dv + c];
    for (int64_t j = 0; j < form.Keys(row % form.lq); ++j) {
      const int64_t key = row / form.lq * form.lk + j;
      const double p = std::exp(Score(form, q.data() + row * form.d, k.data() + key * form.d) - lse[row]);
      double dp = 0;
      for (int64_t c = 0; c < form.dv; ++c) {
        dp += dy[row * form.dv + c] * v[key * form.dv + c];
        dv[key * form.dv + c] += p * dy[row * form.dv + c];
      }
      const double ds = p * (dp - mean) * form.scale;
      for (int64_t c = 0; c < form.d; ++c) {
        dq[row * form.d + c] += ds * k[key * form.d + c];
        dk[key * form.d + c] += ds * q[row * form.d + c];
      }
    }
  }
  for (size_t i = 0; i < 3; ++i) out[i].Assign(result[i]);
}

// --- shape rules -----------------------------------------------------------------------------------------------------

std::vector<TensorDesc> InferPublic(const OpCall& call) {
  CheckOperands(call, 0);
  if (call.has(3)) Fail("{}: attn_mask is given; masks other than is_causal are not supported yet", call.op.name);
  if (call.attr<double>("dropout_p") != 0) {
    Fail("{}: dropout_p is {}; dropout is not supported yet", call.op.name, call.attr<double>("dropout_p"));
  }
  if (call.attr<bool>("enable_gqa")) Fail("{}: enable_gqa is set; grouped queries are not supported yet", call.op.name);
  return {{call.in(0).dtype, OutputShape(call.in(0).shape, call.in(2).shape)}};
}

std::vector<TensorDesc> InferCore(const OpCall& call) {
  CheckOperands(call, 0);
  const Shape& q = call.in(0).shape;
  return {{call.in(0).dtype, OutputShape(q, call.in(2).shape)}, {call.in(0).dtype, {q[0], q[1], q[2]}}};
}

std::vector<TensorDesc> InferBackward(const OpCall& call) {
  CheckOperands(call, 1);
  const TensorDesc& q = call.in(1);
  const TensorDesc y = {q.dtype, OutputShape(q.shape, call.in(3).shape)};
  const TensorDesc lse = {q.dtype, {q.shape[0], q.shape[1], q.shape[2]}};
  const auto check = [&](std::string_view name, const TensorDesc& got, const TensorDesc& expected) {
    if (got.dtype != expected.dtype || got.shape != expected.shape) {
      Fail("{}: {} is {}, expected {}", call.op.name, name, ToString(got), ToString(expected));
    }
  };
  check("dy", call.in(0), y);
  check("y", call.in(4), y);
  check("lse", call.in(5), lse);
  return {{q.dtype, q.shape}, {q.dtype, call.in(2).shape}, {q.dtype, call.in(3).shape}};
}

// --- rules on graphs -------------------------------------------------------------------------------------------------

// The core form of a call: q, k, v of rank 4, in f32 where they are narrower, and the attributes. Decompose and gradient share it, so
// their nodes are equal.
struct CoreCall {
  ValueId q, k, v;
  Attrs attrs;
};

ValueId CoreForm(Emit& emit, ValueId x) {
  Shape shape = emit.shape(x);
  if (shape.size() == 3) shape.insert(shape.begin(), 1);
  return emit.Cast(emit.Reshape(x, shape), ComputeType(emit.desc(x).dtype));
}

CoreCall EmitCore(Emit& emit, const Node& node) {
  CoreCall call = {CoreForm(emit, node.inputs[0]), CoreForm(emit, node.inputs[1]), CoreForm(emit, node.inputs[2]), {}};
  call.attrs = {{"is_causal", Get<bool>(node.attrs, "is_causal")}, {"scale", Scale(node.attrs, emit.shape(call.q))}};
  return call;
}

std::vector<ValueId> DecomposePublic(Graph& graph, const Node& node) {
  Emit emit(graph);
  const CoreCall call = EmitCore(emit, node);
  const Shape out = OutputShape(emit.shape(node.inputs[0]), emit.shape(node.inputs[2]));
  const ValueId y = graph.Add("_attention", std::vector{call.q, call.k, call.v}, call.attrs)[0];
  return {emit.Reshape(emit.Cast(y, emit.desc(node.inputs[0]).dtype), out)};
}

// The gradients of q, k, v, which `wanted` picks from.
std::vector<ValueId> EmitBackward(Graph& graph, const CoreCall& call, ValueId dy, ValueId y, ValueId lse,
                                  std::span<const ValueId> inputs, const std::vector<bool>& wanted) {
  Emit emit(graph);
  std::vector<ValueId> result = NoValues(inputs.size());
  const std::vector<ValueId> d = graph.Add("_attention_backward", std::vector{dy, call.q, call.k, call.v, y, lse}, call.attrs);
  for (size_t i = 0; i < 3; ++i) {
    if (wanted[i]) result[i] = emit.Cast(emit.Reshape(d[i], Shape(emit.shape(inputs[i]))), emit.desc(inputs[i]).dtype);
  }
  return result;
}

std::vector<ValueId> GradientPublic(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>& wanted) {
  if (grads[0] == kNone) return NoValues(node.inputs.size());
  Emit emit(graph);
  const CoreCall call = EmitCore(emit, node);
  const std::vector<ValueId> forward = graph.Add("_attention", std::vector{call.q, call.k, call.v}, call.attrs);
  return EmitBackward(graph, call, CoreForm(emit, grads[0]), forward[0], forward[1], node.inputs, wanted);
}

std::vector<ValueId> GradientCore(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>& wanted) {
  if (grads[1] != kNone) Fail("_attention: its second output, the log-sum-exp, is not differentiable");
  if (grads[0] == kNone) return NoValues(node.inputs.size());
  const CoreCall call = {node.inputs[0], node.inputs[1], node.inputs[2], node.attrs};
  return EmitBackward(graph, call, grads[0], node.outputs[0], node.outputs[1], node.inputs, wanted);
}

// Without keys there is nothing to attend to: zeros, as the references have it.
std::vector<ValueId> DecomposeCore(Graph& graph, const Node& node) {
  Emit emit(graph);
  const bool backward = node.op->name == "_attention_backward";
  const size_t first = backward ? 1 : 0;                     // of q, k, v
  const TensorDesc q = emit.desc(node.inputs[first]), k = emit.desc(node.inputs[first + 1]), v = emit.desc(node.inputs[first + 2]);
  if (k.shape[2] != 0) return {};
  const auto zeros = [&](const Shape& shape) { return emit.Zeros({q.dtype, shape}); };
  if (backward) return {zeros(q.shape), zeros(k.shape), zeros(v.shape)};
  const ValueId lse = emit.Scalar(-std::numeric_limits<double>::infinity(), q.dtype);
  return {zeros(OutputShape(q.shape, v.shape)), emit.Expand(lse, {q.shape[0], q.shape[1], q.shape[2]})};
}

}  // namespace

void RegisterAttentionOps() {
  using Type = AttrSpec::Type;
  const std::vector<AttrSpec> core_attrs = {{"is_causal", Type::kBool}, {"scale", Type::kFloat}};
  RegisterOp({.name = "scaled_dot_product_attention",
              .min_inputs = 3,
              .max_inputs = 4,
              .attrs = {{"dropout_p", Type::kFloat, 0.0},
                        {"is_causal", Type::kBool, false},
                        {"scale", Type::kFloat, kUnsetScale},
                        {"enable_gqa", Type::kBool, false}},
              .infer = InferPublic,
              .reference = ReferencePublic,
              .gradient = GradientPublic,
              .decompose = DecomposePublic});
  RegisterOp({.name = "_attention",
              .kind = OpKind::kAttention,
              .min_inputs = 3,
              .max_inputs = 3,
              .attrs = core_attrs,
              .internal = true,
              .infer = InferCore,
              .reference = ReferenceCore,
              .gradient = GradientCore,
              .decompose = DecomposeCore});
  RegisterOp({.name = "_attention_backward",
              .kind = OpKind::kAttention,
              .min_inputs = 6,
              .max_inputs = 6,
              .attrs = core_attrs,
              .internal = true,
              .infer = InferBackward,
              .reference = ReferenceBackward,
              .decompose = DecomposeCore});
}

}  // namespace athanor
