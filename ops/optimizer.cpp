#include "ops/optimizer.h"

#include <array>
#include <cmath>

#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

using Type = AttrSpec::Type;

// The inputs of an optimiser: `scalars` of them, then groups of `width`, each of which yields `results` outputs.
struct Groups {
  int scalars, width, results, count;
};

Groups GroupsOf(std::string_view op, const Attrs& attrs, size_t inputs) {
  Groups groups = {.scalars = 2, .width = 4, .results = 3, .count = 0};
  if (op == "sgd") {
    const bool momentum = Get<double>(attrs, "momentum") != 0;
    groups = {.scalars = 1, .width = momentum ? 3 : 2, .results = momentum ? 2 : 1, .count = 0};
  }
  const int tensors = static_cast<int>(inputs) - groups.scalars;
  if (tensors % groups.width != 0) {
    Fail("{}: {} tensors after the {} scalars, expected {} for each parameter", op, tensors, groups.scalars, groups.width);
  }
  groups.count = tensors / groups.width;
  return groups;
}

bool Decays(const Attrs& attrs, int parameter) {
  const auto& decay = Get<std::vector<int64_t>>(attrs, "decay");
  return decay.empty() || decay[parameter] != 0;
}

void CheckDecay(const OpCall& call, int parameters) {
  const auto& decay = call.attr<std::vector<int64_t>>("decay");
  if (!decay.empty() && static_cast<int>(decay.size()) != parameters) {
    Fail("{}: decay has {} entries for {} parameters", call.op.name, decay.size(), parameters);
  }
  for (const int64_t entry : decay) {
    if (entry != 0 && entry != 1) Fail("{}: decay has an entry {}, expected 0 or 1", call.op.name, entry);
  }
}

void CheckBetas(const OpCall& call, std::span<const std::string_view> names) {
  for (const std::string_view name : names) {
    const double beta = call.attr<double>(name);
    if (!(beta >= 0 && beta < 1)) Fail("{}: {} is {}, expected at least 0 and less than 1", call.op.name, name, beta);
  }
}

std::vector<TensorDesc> Infer(const OpCall& call) {
  const Groups groups = GroupsOf(call.op.name, call.attrs, call.inputs.size());
  for (int i = 0; i < static_cast<int>(call.inputs.size()); ++i) {
    if (!call.has(i)) Fail("{}: input {} is missing", call.op.name, i);
  }
  for (int i = 0; i < groups.scalars; ++i) {
    if (call.in(i).dtype != DType::kF32 || call.in(i).rank() != 0) {
      Fail("{}: {} is {}, expected f32[]", call.op.name, i == groups.scalars - 1 ? "lr" : "step", ToString(call.in(i)));
    }
  }
  CheckDecay(call, groups.count);
  std::vector<TensorDesc> outputs;
  for (int p = 0; p < groups.count; ++p) {
    const int first = groups.scalars + p * groups.width;
    const TensorDesc expected = {call.in(first).dtype, call.in(first).shape};
    if (!IsFloat(expected.dtype)) Fail("{}: parameter {} has dtype {}, expected a floating-point one", call.op.name, p, Name(expected.dtype));
    for (int i = first + 1; i < first + groups.width; ++i) {
      if (call.in(i).dtype != expected.dtype || call.in(i).shape != expected.shape) {
        Fail("{}: input {} is {}, expected {} as parameter {}", call.op.name, i, ToString(call.in(i)), ToString(expected), p);
      }
    }
    outputs.insert(outputs.end(), groups.results, expected);
  }
  return outputs;
}

// --- adamw -----------------------------------------------------------------------------------------------------------

std::vector<TensorDesc> InferAdamW(const OpCall& call) {
  CheckBetas(call, std::array<std::string_view, 2>{"beta1", "beta2"});
  return Infer(call);
}

void ReferenceAdamW(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const Groups groups = GroupsOf(call.op.name, call.attrs, in.size());
  const double beta1 = call.attr<double>("beta1"), beta2 = call.attr<double>("beta2"), eps = call.attr<double>("eps");
  const double step = in[0]->Get(0), lr = in[1]->Get(0);
  const double correction1 = 1 - std::pow(beta1, step), correction2 = 1 - std::pow(beta2, step);
  for (int p = 0; p < groups.count; ++p) {
    const HostTensor* const* input = &in[groups.scalars + p * groups.width];
    HostTensor* output = &out[p * groups.results];
    const double kept = Decays(call.attrs, p) ? 1 - lr * call.attr<double>("weight_decay") : 1;
    for (int64_t i = 0; i < input[0]->elements(); ++i) {
      const double g = input[1]->Get(i);
      const double m = beta1 * input[2]->Get(i) + (1 - beta1) * g, v = beta2 * input[3]->Get(i) + (1 - beta2) * g * g;
      output[0].Set(i, input[0]->Get(i) * kept - lr / correction1 * m / (std::sqrt(v / correction2) + eps));
      output[1].Set(i, m);
      output[2].Set(i, v);
    }
  }
}

// 1 - beta^step for a scalar `step`. With s = tanh(-step * log(beta) / 2) it is 2 s / (1 + s): the difference itself would lose most
// digits in f32 while beta^step is near 1.
ValueId BiasCorrection(Emit& emit, ValueId step, double beta) {
  if (beta == 0) return emit.Scalar(1, emit.desc(step).dtype);
  const ValueId s = emit.Tanh(emit.Mul(step, -std::log(beta) / 2));
  return emit.Div(emit.Mul(s, 2.0), emit.Add(s, 1.0));
}

std::vector<ValueId> DecomposeAdamW(Graph& graph, const Node& node) {
  Emit emit(graph);
  const Groups groups = GroupsOf(node.op->name, node.attrs, node.inputs.size());
  const double beta1 = Get<double>(node.attrs, "beta1"), beta2 = Get<double>(node.attrs, "beta2");
  std::vector<ValueId> outputs;
  for (int p = 0; p < groups.count; ++p) {
    const ValueId* input = &node.inputs[groups.scalars + p * groups.width];
    const DType dtype = emit.desc(input[0]).dtype, compute = ComputeType(dtype);
    const ValueId step = emit.Cast(node.inputs[0], compute), lr = emit.Cast(node.inputs[1], compute);
    const ValueId g = emit.Cast(input[1], compute);
    ValueId param = emit.Cast(input[0], compute);
    const ValueId m = emit.Add(emit.Mul(emit.Cast(input[2], compute), beta1), emit.Mul(g, 1 - beta1));
    const ValueId v = emit.Add(emit.Mul(emit.Cast(input[3], compute), beta2), emit.Mul(emit.Mul(g, g), 1 - beta2));
    const ValueId rate = emit.Div(lr, BiasCorrection(emit, step, beta1));
    const ValueId scale = emit.Rsqrt(BiasCorrection(emit, step, beta2));
    const ValueId spread = emit.Add(emit.Mul(emit.Sqrt(v), scale), Get<double>(node.attrs, "eps"));
    if (Decays(node.attrs, p)) param = emit.Mul(param, emit.Sub(1.0, emit.Mul(lr, Get<double>(node.attrs, "weight_decay"))));
    param = emit.Sub(param, emit.Mul(rate, emit.Div(m, spread)));
    outputs.insert(outputs.end(), {emit.Cast(param, dtype), emit.Cast(m, dtype), emit.Cast(v, dtype)});
  }
  return outputs;
}

// --- sgd -------------------------------------------------------------------------------------------------------------

std::vector<TensorDesc> InferSgd(const OpCall& call) {
  CheckBetas(call, std::array<std::string_view, 1>{"momentum"});
  if (call.attr<bool>("nesterov") && call.attr<double>("momentum") == 0) Fail("sgd: nesterov needs a momentum");
  return Infer(call);
}

void ReferenceSgd(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const Groups groups = GroupsOf(call.op.name, call.attrs, in.size());
  const double lr = in[0]->Get(0), momentum = call.attr<double>("momentum");
  for (int p = 0; p < groups.count; ++p) {
    const HostTensor* const* input = &in[groups.scalars + p * groups.width];
    HostTensor* output = &out[p * groups.results];
    const double weight_decay = Decays(call.attrs, p) ? call.attr<double>("weight_decay") : 0;
    for (int64_t i = 0; i < input[0]->elements(); ++i) {
      double d = input[1]->Get(i) + weight_decay * input[0]->Get(i);
      if (momentum != 0) {
        const double buffer = momentum * input[2]->Get(i) + d;
        output[1].Set(i, buffer);
        d = call.attr<bool>("nesterov") ? d + momentum * buffer : buffer;
      }
      output[0].Set(i, input[0]->Get(i) - lr * d);
    }
  }
}

std::vector<ValueId> DecomposeSgd(Graph& graph, const Node& node) {
  Emit emit(graph);
  const Groups groups = GroupsOf(node.op->name, node.attrs, node.inputs.size());
  const double momentum = Get<double>(node.attrs, "momentum"), weight_decay = Get<double>(node.attrs, "weight_decay");
  std::vector<ValueId> outputs;
  for (int p = 0; p < groups.count; ++p) {
    const ValueId* input = &node.inputs[groups.scalars + p * groups.width];
    const DType dtype = emit.desc(input[0]).dtype, compute = ComputeType(dtype);
    const ValueId param = emit.Cast(input[0], compute), lr = emit.Cast(node.inputs[0], compute);
    ValueId d = emit.Cast(input[1], compute);
    if (weight_decay != 0 && Decays(node.attrs, p)) d = emit.Add(d, emit.Mul(param, weight_decay));
    ValueId buffer = kNone;
    if (momentum != 0) {
      buffer = emit.Add(emit.Mul(emit.Cast(input[2], compute), momentum), d);
      d = Get<bool>(node.attrs, "nesterov") ? emit.Add(d, emit.Mul(buffer, momentum)) : buffer;
    }
    outputs.push_back(emit.Cast(emit.Sub(param, emit.Mul(lr, d)), dtype));
    if (momentum != 0) outputs.push_back(emit.Cast(buffer, dtype));
  }
  return outputs;
}

}  // namespace

void RegisterOptimizerOps() {
  const AttrSpec decay = {"decay", Type::kInts, std::vector<int64_t>{}};
  RegisterOp({.name = "adamw",
              .min_inputs = 6,
              .max_inputs = -1,
              .attrs = {{"beta1", Type::kFloat, 0.9},
                        {"beta2", Type::kFloat, 0.999},
                        {"eps", Type::kFloat, 1e-8},
                        {"weight_decay", Type::kFloat, 0.01},
                        decay},
              .infer = InferAdamW,
              .reference = ReferenceAdamW,
              .decompose = DecomposeAdamW});
  RegisterOp({.name = "sgd",
              .min_inputs = 3,
              .max_inputs = -1,
              .attrs = {{"momentum", Type::kFloat, 0.0},
                        {"nesterov", Type::kBool, false},
                        {"weight_decay", Type::kFloat, 0.0},
                        decay},
              .infer = InferSgd,
              .reference = ReferenceSgd,
              .decompose = DecomposeSgd});
}

}  // namespace athanor
