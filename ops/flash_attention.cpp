#include "ops/flash_attention.h"

#include <cmath>
#include <limits>

#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"
#include "ops/reference.h"

namespace athanor {
namespace {

constexpr double kUnsetScale = std::numeric_limits<double>::infinity();

// Where query and the mask stand among the inputs.
struct Places {
  size_t query, mask;
};
Places PlacesOf(const OpDef& op) { return op.name == "flash_attention" ? Places{0, 3} : Places{1, 6}; }

void CheckInputs(const OpCall& call) {
  const Places at = PlacesOf(call.op);
  for (size_t i = 0; i < at.mask; ++i) {
    const size_t rank = call.op.name != "flash_attention" && i == 5 ? 3 : 4;  // lse
    if (!call.has(static_cast<int>(i))) Fail("{}: input {} is missing", call.op.name, i);
    if (call.in(static_cast<int>(i)).shape.size() != rank) {
      Fail("{}: input {} has shape {}, expected rank {}", call.op.name, i, ToString(call.in(static_cast<int>(i)).shape), rank);
    }
  }
  const TensorDesc& query = call.in(static_cast<int>(at.query));
  if (!IsFloat(query.dtype)) Fail("{}: query has dtype {}, expected a floating-point one", call.op.name, Name(query.dtype));
  if (call.has(static_cast<int>(at.mask)) && call.attr<bool>("is_causal")) {
    Fail("{}: attn_mask and is_causal are both given, expected at most one", call.op.name);
  }
}

// The core op's nodes; it checks extents and dtypes when it is added.
std::vector<ValueId> Decompose(Graph& graph, const Node& node) {
  Emit emit(graph);
  const Places at = PlacesOf(*node.op);
  const Shape query = emit.shape(node.inputs[at.query]), key = emit.shape(node.inputs[at.query + 1]);
  std::vector<ValueId> inputs(node.inputs.begin(), node.inputs.begin() + static_cast<std::ptrdiff_t>(at.mask));
  const bool masked = node.inputs.size() > at.mask && node.inputs[at.mask] != kNone;
  if (masked) {
    const DType compute = ComputeType(emit.desc(node.inputs[at.query]).dtype);
    ValueId mask = node.inputs[at.mask];
    if (emit.desc(mask).dtype != DType::kBool && ComputeType(emit.desc(mask).dtype) != compute) mask = emit.Cast(mask, compute);
    inputs.push_back(emit.Expand(mask, {query[0], query[1], query[2], key[2]}));
  }
  const double scale = Get<double>(node.attrs, "scale");
  Attrs attrs = {{"dropout_p", 0.0},
                 {"left", int64_t{-1}},
                 {"right", Get<bool>(node.attrs, "is_causal") ? int64_t{0} : int64_t{-1}},
                 {"scale", scale == kUnsetScale ? 1 / std::sqrt(static_cast<double>(query[3])) : scale},
                 {"masked", masked},
                 {"ragged", false}};
  if (node.op->name == "flash_attention") return graph.Add("_attention", inputs, attrs);
  attrs.emplace("mask_gradient", false);
  return graph.Add("_attention_backward", inputs, attrs);
}

// A graph of just this call, decomposed: `inputs` in order, null where omitted.
Graph GraphOf(const OpCall& call) {
  Graph graph("flash_attention");
  Node node = {.op = &call.op, .attrs = call.attrs};
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    const TensorDesc* desc = call.has(static_cast<int>(i)) ? &call.in(static_cast<int>(i)) : nullptr;
    node.inputs.push_back(desc ? graph.AddInput(fmt::format("x{}", i), {desc->dtype, desc->shape}) : kNone);
  }
  const std::vector<ValueId> values = Decompose(graph, node);
  for (size_t i = 0; i < values.size(); ++i) graph.AddOutput(fmt::format("y{}", i), values[i]);
  return graph;
}

std::vector<TensorDesc> Infer(const OpCall& call) {
  CheckInputs(call);
  const Graph graph = GraphOf(call);
  std::vector<TensorDesc> results;
  for (const NamedValue& output : graph.outputs()) results.push_back({graph.desc(output.value).dtype, graph.desc(output.value).shape});
  return results;
}

void Reference(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  std::vector<HostTensor> given;
  for (const HostTensor* tensor : in) {
    if (tensor) given.push_back(*tensor);
  }
  std::vector<HostTensor> results = Interpret(GraphOf(call), given);
  for (size_t i = 0; i < out.size(); ++i) out[i] = std::move(results[i]);
}

std::vector<ValueId> Gradient(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>& wanted) {
  if (grads[1] != kNone) Fail("flash_attention: its second output, the log-sum-exp, is not differentiable");
  if (node.inputs.size() > 3 && wanted[3]) Fail("flash_attention: attn_mask has no gradient; scaled_dot_product_attention gives it one");
  std::vector<ValueId> result = NoValues(node.inputs.size());
  if (grads[0] == kNone) return result;
  std::vector<ValueId> inputs = {grads[0], node.inputs[0], node.inputs[1], node.inputs[2], node.outputs[0], node.outputs[1]};
  inputs.insert(inputs.end(), node.inputs.begin() + 3, node.inputs.end());
  const std::vector<ValueId> gradients = graph.Add("flash_attention_backward", inputs, node.attrs);
  for (size_t i = 0; i < gradients.size(); ++i) result[i] = gradients[i];
  return result;
}

}  // namespace

void RegisterFlashAttentionOps() {
  using Type = AttrSpec::Type;
  const std::vector<AttrSpec> attrs = {{"is_causal", Type::kBool, false}, {"scale", Type::kFloat, kUnsetScale}};
  RegisterOp({.name = "flash_attention",
              .min_inputs = 3,
              .max_inputs = 4,
              .attrs = attrs,
              .infer = Infer,
              .reference = Reference,
              .gradient = Gradient,
              .decompose = Decompose});
  RegisterOp({.name = "flash_attention_backward",
              .min_inputs = 6,
              .max_inputs = 7,
              .attrs = attrs,
              .infer = Infer,
              .reference = Reference,
              .decompose = Decompose});
}

}  // namespace athanor
