#include "ops/dropout.h"

#include <cstring>

#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"
#include "ops/philox.h"

namespace athanor {
namespace {

using Type = AttrSpec::Type;

enum Operand { kInput, kSeed, kOffset };

void CheckScalar(const OpCall& call, int input, std::string_view name) {
  const TensorDesc& desc = call.in(input);
  if (desc.dtype != DType::kI64 || desc.rank() != 0) {
    Fail("{}: {} is {}, expected {}", call.op.name, name, ToString(desc), ToString(TensorDesc{DType::kI64, {}}));
  }
}

int64_t Word(const HostTensor& scalar) {
  int64_t word;
  std::memcpy(&word, scalar.data(), sizeof(word));
  return word;
}

// --- dropout -----------------------------------------------------------------------------------------------------------

bool DropsNothing(const Attrs& attrs) { return !Get<bool>(attrs, "training") || Get<double>(attrs, "p") == 0; }

// Words below it are dropped.
double Threshold(double p) { return static_cast<double>(DropoutThreshold(p)) - 0x1p31; }

std::vector<TensorDesc> Infer(const OpCall& call) {
  const TensorDesc& x = call.in(kInput);
  if (!IsFloat(x.dtype)) Fail("dropout: input has dtype {}, expected a floating-point one", Name(x.dtype));
  CheckScalar(call, kSeed, "seed");
  if (call.has(kOffset)) CheckScalar(call, kOffset, "offset");
  const double p = call.attr<double>("p");
  if (!(p >= 0 && p <= 1)) Fail("dropout: p is {}, expected a probability between 0 and 1", p);
  return {{x.dtype, x.shape}};
}

void Reference(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  std::vector<double> values = in[kInput]->ToDoubles();
  const double p = call.attr<double>("p");
  const int64_t seed = Word(*in[kSeed]), offset = call.has(kOffset) ? Word(*in[kOffset]) : 0;
  for (size_t i = 0; i < values.size() && !DropsNothing(call.attrs); ++i) {
    values[i] *= RandomWord(static_cast<int64_t>(i), seed, offset) < Threshold(p) ? 0 : DropoutFactor(p);
  }
  out[0].Assign(values);
}

// x or, of the gradient, dy times the mask.
ValueId Masked(Graph& graph, const Node& node, ValueId x) {
  if (DropsNothing(node.attrs)) return x;
  Emit emit(graph);
  const TensorDesc desc = emit.desc(x);
  const DType compute = ComputeType(desc.dtype);
  const double p = Get<double>(node.attrs, "p");
  const ValueId zero = emit.Scalar(0, compute), wide = emit.Cast(x, compute);
  if (p == 1) return emit.Cast(emit.Mul(wide, zero), desc.dtype);
  const bool given = node.inputs.size() > kOffset && node.inputs[kOffset] != kNone;
  const ValueId offset = given ? node.inputs[kOffset] : emit.Scalar(0, DType::kI64);
  const ValueId words = graph.Add1("_random", {node.inputs[kSeed], offset}, {{"shape", desc.shape}});
  const ValueId dropped = emit.Lt(words, emit.Scalar(Threshold(p), DType::kI32));
  return emit.Cast(emit.Mul(wide, emit.Where(dropped, zero, emit.Scalar(DropoutFactor(p), compute))), desc.dtype);
}

std::vector<ValueId> Decompose(Graph& graph, const Node& node) { return {Masked(graph, node, node.inputs[kInput])}; }

std::vector<ValueId> Gradient(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>& wanted) {
  std::vector<ValueId> result = NoValues(node.inputs.size());
  if (grads[0] != kNone && wanted[kInput]) result[kInput] = Masked(graph, node, grads[0]);
  return result;
}

// --- _random -----------------------------------------------------------------------------------------------------------

std::vector<TensorDesc> InferRandom(const OpCall& call) {
  CheckScalar(call, 0, "seed");
  CheckScalar(call, 1, "offset");
  return {{DType::kI32, call.attr<std::vector<int64_t>>("shape")}};
}

void ReferenceRandom(const OpCall&, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const int64_t seed = Word(*in[0]), offset = Word(*in[1]);
  for (int64_t i = 0; i < out[0].elements(); ++i) out[0].Set(i, RandomWord(i, seed, offset));
}

}  // namespace

void RegisterDropoutOps() {
  RegisterOp({.name = "dropout",
              .min_inputs = 2,
              .max_inputs = 3,
              .attrs = {{"p", Type::kFloat, 0.5}, {"training", Type::kBool, true}},
              .infer = Infer,
              .reference = Reference,
              .gradient = Gradient,
              .decompose = Decompose});
  RegisterOp({.name = "_random",
              .kind = OpKind::kRandom,
              .min_inputs = 2,
              .max_inputs = 2,
              .attrs = {{"shape", Type::kInts}},
              .internal = true,
              .infer = InferRandom,
              .reference = ReferenceRandom});
}

}  // namespace athanor
