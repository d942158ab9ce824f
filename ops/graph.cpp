#include "ops/graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ops/error.h"
#include "ops/op.h"
#include "ops/promotion.h"

namespace athanor {
namespace {

constexpr int kMaxRank = 16;
constexpr int64_t kMaxElements = int64_t{1} << 40;

void CheckShape(std::string_view what, const Shape& shape) {
  if (shape.size() > kMaxRank) Fail("{}: {} dimensions, at most {} are supported", what, shape.size(), kMaxRank);
  int64_t elements = 1;
  for (const int64_t extent : shape) {
    if (extent < 0) Fail("{}: shape {} has a negative extent", what, ToString(shape));
    if (extent > 1 && elements > kMaxElements / extent) {
      Fail("{}: shape {} has more than {} elements", what, ToString(shape), kMaxElements);
    }
    elements *= std::max<int64_t>(extent, 1);
  }
}

void CheckStrides(std::string_view what, const TensorDesc& desc) {
  if (desc.strides.empty()) return;
  if (desc.strides.size() != desc.shape.size()) {
    Fail("{}: {} strides for {} dimensions", what, desc.strides.size(), desc.shape.size());
  }
  int64_t last = 0;
  for (size_t d = 0; d < desc.strides.size(); ++d) {
    const int64_t stride = desc.strides[d], steps = std::max<int64_t>(desc.shape[d] - 1, 0);
    if (stride < 0) Fail("{}: stride {} is negative", what, stride);
    if (stride > kMaxElements || (steps > 0 && stride > (kMaxElements - last) / steps)) {
      Fail("{}: strides {} reach beyond {} elements", what, ToString(desc.strides), kMaxElements);
    }
    last += steps * stride;
  }
}

std::string_view Describe(AttrSpec::Type type) {
  switch (type) {
    case AttrSpec::Type::kBool: return "true or false";
    case AttrSpec::Type::kInt: return "an integer";
    case AttrSpec::Type::kFloat: return "a number";
    case AttrSpec::Type::kString: return "a string";
    case AttrSpec::Type::kInts: return "a list of integers";
  }
  ATHANOR_CHECK(false);
}

// The attribute in the type its spec asks for: an integer also passes for a number and for a list of one. Nothing: it does not fit.
std::optional<Attr> Convert(const Attr& attr, AttrSpec::Type type) {
  const auto* integer = std::get_if<int64_t>(&attr);
  if (integer && type == AttrSpec::Type::kFloat) return static_cast<double>(*integer);
  if (integer && type == AttrSpec::Type::kInts) return std::vector<int64_t>{*integer};
  // The alternatives of Attr stand in the order of AttrSpec::Type.
  if (attr.index() == static_cast<size_t>(type)) return attr;
  return std::nullopt;
}

std::string AttrNames(const OpDef& op) {
  std::string names;
  for (const AttrSpec& spec : op.attrs) names += fmt::format("{}{}", names.empty() ? "" : ", ", spec.name);
  return names.empty() ? "none" : names;
}

// The attributes in their declared types, defaults filled in.
Attrs Complete(const OpDef& op, const Attrs& given) {
  for (const auto& [name, attr] : given) {
    const bool known = std::any_of(op.attrs.begin(), op.attrs.end(), [&](const AttrSpec& spec) { return spec.name == name; });
    if (!known) Fail("{}: unknown attribute \"{}\"; it takes {}", op.name, name, AttrNames(op));
  }
  Attrs attrs;
  for (const AttrSpec& spec : op.attrs) {
    const auto found = given.find(spec.name);
    if (found == given.end()) {
      if (!spec.fallback) Fail("{}: attribute \"{}\" is missing; it is {}", op.name, spec.name, Describe(spec.type));
      attrs.emplace(spec.name, *spec.fallback);
      continue;
    }
    std::optional<Attr> attr = Convert(found->second, spec.type);
    if (!attr) Fail("{}: attribute \"{}\" must be {}", op.name, spec.name, Describe(spec.type));
    attrs.emplace(spec.name, std::move(*attr));
  }
  return attrs;
}

std::string Arity(const OpDef& op) {
  if (op.max_inputs < 0) return fmt::format("at least {}", op.min_inputs);
  if (op.min_inputs == op.max_inputs) return fmt::format("{}", op.min_inputs);
  return fmt::format("{} to {}", op.min_inputs, op.max_inputs);
}

void CheckInputs(const OpDef& op, std::span<const ValueId> inputs, size_t values) {
  const int count = static_cast<int>(inputs.size());
  if (count < op.min_inputs || (op.max_inputs >= 0 && count > op.max_inputs)) {
    Fail("{}: {} inputs given, expected {}", op.name, count, Arity(op));
  }
  for (int i = 0; i < count; ++i) {
    const bool optional = op.max_inputs >= 0 && i >= op.min_inputs;
    if (inputs[i] == kNone && !optional) Fail("{}: input {} is null, but required", op.name, i);
    ATHANOR_CHECK(inputs[i] >= kNone && inputs[i] < static_cast<ValueId>(values));
  }
}

// Literals take the dtype that the op computes in, so that they need no cast.
void RetypeLiterals(Graph& graph, const OpDef& op, std::vector<ValueId>& inputs) {
  if (op.kind != OpKind::kPointwise || inputs.size() < 2) return;
  const std::span<ValueId> operands = std::span(inputs).subspan(op.fn == Fn::kWhere ? 1 : 0);
  DType dtype = PromotedDType(graph, operands);
  if (op.fn == Fn::kDiv && !IsFloat(dtype)) dtype = DType::kF32;
  for (ValueId& v : operands) {
    const Value& value = graph.value(v);
    if (value.constant && value.desc.dtype != dtype) v = graph.AddConstant(*value.constant, dtype);
  }
}

}  // namespace

std::optional<ValueId> Graph::Find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? std::nullopt : std::optional(found->second);
}

ValueId Graph::AddInput(std::string name, TensorDesc desc, bool wants_grad) {
  if (name.empty()) Fail("an input has no name");
  const std::string what = fmt::format("input \"{}\"", name);
  if (by_name_.contains(name)) Fail("{}: the name is already taken", what);
  CheckShape(what, desc.shape);
  CheckStrides(what, desc);
  if (wants_grad && !IsFloat(desc.dtype)) Fail("{}: dtype {} has no gradient", what, Name(desc.dtype));
  const auto id = static_cast<ValueId>(values_.size());
  by_name_.emplace(name, id);
  values_.push_back({.name = std::move(name), .desc = std::move(desc), .is_input = true, .wants_grad = wants_grad});
  inputs_.push_back(id);
  return id;
}

ValueId Graph::AddConstant(double value, DType dtype) {
  const bool shared = !std::isnan(value) && !(value == 0 && std::signbit(value));      // neither is a sound key of the map
  const auto key = std::pair(value, dtype);
  if (const auto found = constants_.find(key); shared && found != constants_.end()) return found->second;
  const auto id = static_cast<ValueId>(values_.size());
  values_.push_back({.name = fmt::format("{}", value), .desc = {dtype, {}}, .constant = value});
  if (shared) constants_.emplace(key, id);
  return id;
}

std::vector<ValueId> Graph::Add(std::string_view name, std::span<const ValueId> given, Attrs attrs,
                                std::span<const std::string> output_names) {
  const OpDef* op = FindOp(name);
  if (op == nullptr) Fail("unknown op \"{}\"", name);
  std::vector<ValueId> inputs(given.begin(), given.end());
  CheckInputs(*op, inputs, values_.size());
  while (!inputs.empty() && inputs.back() == kNone) inputs.pop_back();
  RetypeLiterals(*this, *op, inputs);
  Node node = {.op = op, .inputs = std::move(inputs), .attrs = Complete(*op, attrs)};
  std::vector<TensorDesc> descs = op->infer({*op, *this, node.inputs, node.attrs});
  const size_t needed = op->named_outputs < 0 ? descs.size() : static_cast<size_t>(op->named_outputs);
  if (!output_names.empty() && (output_names.size() < needed || output_names.size() > descs.size())) {
    Fail("{}: {} outputs are named, but it has {}", op->name, output_names.size(), descs.size());
  }
  for (size_t i = 0; i < descs.size(); ++i) {
    const std::string_view chosen = i < output_names.size() ? std::string_view(output_names[i]) : std::string_view();
    CheckShape(op->name, descs[i].shape);
    if (chosen.empty()) continue;
    if (by_name_.contains(chosen)) Fail("{}: the output name \"{}\" is already taken", op->name, chosen);
    const auto before = output_names.first(i);
    if (std::find(before.begin(), before.end(), chosen) != before.end()) Fail("{}: two outputs are named \"{}\"", op->name, chosen);
  }
  return Append(std::move(node), std::move(descs), output_names);
}

std::vector<ValueId> Graph::Append(Node node, std::vector<TensorDesc> descs, std::span<const std::string> output_names) {
  node.outputs.clear();
  for (size_t i = 0; i < descs.size(); ++i) {
    const auto id = static_cast<ValueId>(values_.size());
    const bool named = i < output_names.size() && !output_names[i].empty();
    std::string output = named ? output_names[i] : fmt::format("{}%{}", node.op->name, id);
    while (!by_name_.emplace(output, id).second) output += '%';   // a made-up name gives way
    node.outputs.push_back(id);
    values_.push_back({.name = std::move(output),
                       .desc = std::move(descs[i]),
                       .producer = static_cast<NodeId>(nodes_.size()),
                       .output_index = static_cast<int>(i)});
  }
  node.origin = origin_.value_or(Origin{static_cast<NodeId>(nodes_.size())});
  nodes_.push_back(std::move(node));
  return nodes_.back().outputs;
}

ValueId Graph::Add1(std::string_view op, std::initializer_list<ValueId> inputs, Attrs attrs) {
  const std::vector<ValueId> outputs = Add(op, std::span(inputs.begin(), inputs.size()), std::move(attrs));
  ATHANOR_CHECK(outputs.size() == 1);
  return outputs[0];
}

void Graph::AddOutput(std::string name, ValueId value) {
  ATHANOR_CHECK(value >= 0 && value < static_cast<ValueId>(values_.size()));
  if (name.empty()) Fail("an output has no name");
  for (const NamedValue& output : outputs_) {
    if (output.name == name) Fail("output \"{}\": the name is already taken", name);
  }
  outputs_.push_back({std::move(name), value});
}

}  // namespace athanor
