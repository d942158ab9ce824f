#include "ops/norm.h"

#include <cmath>
#include <limits>

#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

constexpr double kUnsetEps = std::numeric_limits<double>::infinity();   // rms_norm: no eps given

double Epsilon(const Attrs& attrs, DType dtype) {
  const double eps = Get<double>(attrs, "eps");
  if (eps != kUnsetEps) return eps;
  switch (dtype) {
    case DType::kF64: return std::numeric_limits<double>::epsilon();
    case DType::kBF16: return 0x1p-7;
    case DType::kF16: return 0x1p-10;
    default: return std::numeric_limits<float>::epsilon();
  }
}

std::vector<TensorDesc> Infer(const OpCall& call) {
  const TensorDesc& x = call.in(0);
  const auto& normalized = call.attr<std::vector<int64_t>>("normalized_shape");
  const int rank = static_cast<int>(normalized.size());
  if (!IsFloat(x.dtype)) Fail("{}: input has dtype {}, expected a floating-point one", call.op.name, Name(x.dtype));
  if (rank == 0) Fail("{}: normalized_shape is empty", call.op.name);
  if (x.rank() < rank || !std::equal(normalized.begin(), normalized.end(), x.shape.end() - rank)) {
    Fail("{}: input has shape {}, expected its last dimensions to be normalized_shape {}", call.op.name, ToString(x.shape),
         ToString(normalized));
  }
  for (int i = 1; i < call.op.max_inputs; ++i) {
    if (!call.has(i)) continue;
    const TensorDesc expected = {x.dtype, normalized};
    if (call.in(i).dtype != x.dtype || call.in(i).shape != normalized) {
      Fail("{}: {} is {}, expected {}", call.op.name, i == 1 ? "weight" : "bias", ToString(call.in(i)), ToString(expected));
    }
  }
  return {{x.dtype, x.shape}};
}

void Reference(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const bool centre = call.op.name == "layer_norm";
  const HostTensor& x = *in[0];
  const int64_t n = Product(call.attr<std::vector<int64_t>>("normalized_shape"));
  const double eps = Epsilon(call.attrs, call.in(0).dtype);
  const HostTensor* weight = in.size() > 1 ? in[1] : nullptr;
  const HostTensor* bias = in.size() > 2 ? in[2] : nullptr;
  for (int64_t begin = 0; begin < x.elements(); begin += n) {
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < n; ++i) mean += x.Get(begin + i);
    mean = centre ? mean / static_cast<double>(n) : 0;
    for (int64_t i = 0; i < n; ++i) variance += (x.Get(begin + i) - mean) * (x.Get(begin + i) - mean);
    const double rstd = 1 / std::sqrt(variance / static_cast<double>(n) + eps);
    for (int64_t i = 0; i < n; ++i) {
      const double y = (x.Get(begin + i) - mean) * rstd * (weight ? weight->Get(i) : 1) + (bias ? bias->Get(i) : 0);
      out[0].Set(begin + i, y);
    }
  }
}

// The nodes forward and backward share. Both rules emit exactly these, so that a graph holding both computes them once.
struct Normalised {
  std::vector<int64_t> dims;                                 // normalised over
  double count;
  ValueId rstd, xhat;
};

Normalised EmitNormalised(Emit& emit, const Node& node) {
  const DType dtype = emit.desc(node.inputs[0]).dtype;
  const ValueId x = emit.Cast(node.inputs[0], ComputeType(dtype));
  const auto& normalized = Get<std::vector<int64_t>>(node.attrs, "normalized_shape");
  const int64_t rank = emit.desc(x).rank();
  Normalised result;
  result.dims = DimRange(rank - static_cast<int64_t>(normalized.size()), rank);
  result.count = static_cast<double>(Product(normalized));
  ValueId centred = x;
  if (node.op->name == "layer_norm") centred = emit.Sub(x, emit.Div(emit.Sum(x, result.dims, true), result.count));
  const ValueId variance = emit.Div(emit.Sum(emit.Mul(centred, centred), result.dims, true), result.count);
  result.rstd = emit.Rsqrt(emit.Add(variance, Epsilon(node.attrs, dtype)));
  result.xhat = emit.Mul(centred, result.rstd);
  return result;
}

bool Has(const Node& node, size_t i) { return node.inputs.size() > i && node.inputs[i] != kNone; }

std::vector<ValueId> Decompose(Graph& graph, const Node& node) {
  Emit emit(graph);
  const DType dtype = graph.desc(node.inputs[0]).dtype;
  ValueId y = EmitNormalised(emit, node).xhat;
  if (Has(node, 1)) y = emit.Mul(y, emit.Cast(node.inputs[1], ComputeType(dtype)));
  if (Has(node, 2)) y = emit.Add(y, emit.Cast(node.inputs[2], ComputeType(dtype)));
  return {emit.Cast(y, dtype)};
}

// With gw = g * weight: dx = rstd * (gw - mean(gw) - xhat * mean(gw * xhat)), without the mean(gw) term where x is not centred.
std::vector<ValueId> Gradient(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>& wanted) {
  Emit emit(graph);
  std::vector<ValueId> result = NoValues(node.inputs.size());
  if (grads[0] == kNone) return result;
  const DType dtype = graph.desc(node.inputs[0]).dtype;
  const ValueId g = emit.Cast(grads[0], ComputeType(dtype));
  const Normalised norm = EmitNormalised(emit, node);
  const std::vector<int64_t> rows = DimRange(0, norm.dims.front());
  if (wanted[0]) {
    const ValueId gw = Has(node, 1) ? emit.Mul(g, emit.Cast(node.inputs[1], ComputeType(dtype))) : g;
    const ValueId slope = emit.Div(emit.Sum(emit.Mul(gw, norm.xhat), norm.dims, true), norm.count);
    ValueId d = gw;
    if (node.op->name == "layer_norm") d = emit.Sub(d, emit.Div(emit.Sum(gw, norm.dims, true), norm.count));
    d = emit.Sub(d, emit.Mul(norm.xhat, slope));
    result[0] = emit.Cast(emit.Mul(d, norm.rstd), dtype);
  }
  if (Has(node, 1) && wanted[1]) result[1] = emit.Cast(emit.Sum(emit.Mul(g, norm.xhat), rows, false), dtype);
  if (Has(node, 2) && wanted[2]) result[2] = emit.Cast(emit.Sum(g, rows, false), dtype);
  return result;
}

OpDef NormOp(std::string_view name, int max_inputs, double eps) {
  using Type = AttrSpec::Type;
  return {.name = name,
          .kind = OpKind::kComposite,
          .min_inputs = 1,
          .max_inputs = max_inputs,
          .attrs = {{"normalized_shape", Type::kInts}, {"eps", Type::kFloat, eps}},
          .infer = Infer,
          .reference = Reference,
          .gradient = Gradient,
          .decompose = Decompose};
}

}  // namespace

void RegisterNormOps() {
  RegisterOp(NormOp("layer_norm", 3, 1e-5));
  RegisterOp(NormOp("rms_norm", 2, kUnsetEps));
}

}  // namespace athanor
