#include "ops/graph.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

constexpr int64_t kMaxElements = int64_t{1} << 48;

void CheckShape(std::string_view what, const Shape& shape) {
  int64_t elements = 1;
  for (const int64_t extent : shape) {
    if (extent < 0) Fail("{}: shape {} has a negative extent", what, ToString(shape));
    if (extent != 0 && elements > kMaxElements / extent) Fail("{}: shape {} is too large", what, ToString(shape));
    elements *= std::max<int64_t>(extent, 1);
  }
}

std::string_view Name(AttrSpec::Type type) {
  switch (type) {
    case AttrSpec::Type::kBool: return "a boolean";
    case AttrSpec::Type::kInt: return "an integer";
    case AttrSpec::Type::kFloat: return "a number";
    case AttrSpec::Type::kString: return "a string";
    case AttrSpec::Type::kInts: return "a list of integers";
  }
  return "";
}

// The attribute in the type its spec asks for: integers pass for numbers and for lists of one.
std::optional<Attr> Convert(const Attr& attr, AttrSpec::Type type) {
  const auto* integer = std::get_if<int64_t>(&attr);
  switch (type) {
    case AttrSpec::Type::kBool: return std::holds_alternative<bool>(attr) ? std::optional(attr) : std::nullopt;
    case AttrSpec::Type::kInt: return integer ? std::optional(attr) : std::nullopt;
    case AttrSpec::Type::kFloat:
      if (integer) return static_cast<double>(*integer);
      return std::holds_alternative<double>(attr) ? std::optional(attr) : std::nullopt;
    case AttrSpec::Type::kString: return std::holds_alternative<std::string>(attr) ? std::optional(attr) : std::nullopt;
    case AttrSpec::Type::kInts:
      if (integer) return std::vector<int64_t>{*integer};
      return std::holds_alternative<std::vector<int64_t>>(attr) ? std::optional(attr) : std::nullopt;
  }
  return std::nullopt;
}

// The attributes in their declared types, defaults filled in.
Attrs Complete(const OpDef& op, const Attrs& given) {
  Attrs attrs;
  for (const AttrSpec& spec : op.attrs) {
    const auto found = given.find(spec.name);
    if (found == given.end()) {
      if (!spec.fallback) Fail("{}: attribute \"{}\" is missing", op.name, spec.name);
      attrs.emplace(spec.name, *spec.fallback);
      continue;
    }
    const std::optional<Attr> attr = Convert(found->second, spec.type);
    if (!attr) Fail("{}: attribute \"{}\" is not {}", op.name, spec.name, Name(spec.type));
    attrs.emplace(spec.name, *attr);
  }
  for (const auto& [name, attr] : given) {
    if (!attrs.contains(name)) Fail("{}: unknown attribute \"{}\"", op.name, name);
  }
  return attrs;
}

void CheckInputs(const OpDef& op, std::span<const ValueId> inputs, size_t values) {
  const int count = static_cast<int>(inputs.size());
  if (count < op.min_inputs || (op.max_inputs >= 0 && count > op.max_inputs)) {
    const std::string expected = op.max_inputs < 0                ? fmt::format("at least {}", op.min_inputs)
                                 : op.min_inputs == op.max_inputs ? fmt::format("{}", op.min_inputs)
                                                                  : fmt::format("{} to {}", op.min_inputs, op.max_inputs);
    Fail("{}: {} inputs, expected {}", op.name, count, expected);
  }
  for (int i = 0; i < count; ++i) {
    if (inputs[i] == kNone && i >= op.min_inputs) continue;
    if (inputs[i] == kNone) Fail("{}: input {} is null, but required", op.name, i);
    ATHANOR_CHECK(inputs[i] >= 0 && static_cast<size_t>(inputs[i]) < values);
  }
}

std::string FreshName(const std::map<std::string, ValueId, std::less<>>& taken, std::string_view op, size_t value) {
  std::string name = fmt::format("{}_{}", op, value);
  while (taken.contains(name)) name += "_";
  return name;
}

}  // namespace

std::optional<ValueId> Graph::Find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? std::nullopt : std::optional(found->second);
}

ValueId Graph::AddInput(std::string name, TensorDesc desc, bool wants_grad) {
  if (name.empty()) Fail("an input has no name");
  if (by_name_.contains(name)) Fail("input \"{}\": the name is already taken", name);
  CheckShape(fmt::format("input \"{}\"", name), desc.shape);
  if (!desc.strides.empty() && desc.strides.size() != desc.shape.size()) {
    Fail("input \"{}\": {} strides for {} dimensions", name, desc.strides.size(), desc.shape.size());
  }
  for (const int64_t stride : desc.strides) {
    if (stride < 0 || stride > kMaxElements) Fail("input \"{}\": stride {} is out of range", name, stride);
  }
  if (wants_grad && !IsFloat(desc.dtype)) Fail("input \"{}\": dtype {} has no gradient", name, athanor::Name(desc.dtype));
  const auto id = static_cast<ValueId>(values_.size());
  by_name_.emplace(name, id);
  values_.push_back({.name = std::move(name), .desc = std::move(desc), .is_input = true, .wants_grad = wants_grad});
  inputs_.push_back(id);
  return id;
}

ValueId Graph::AddConstant(double value, DType dtype) {
  const bool shared = !std::isnan(value) && !(value == 0 && std::signbit(value));      // neither is a sound key of the map
  const auto key = std::pair(value, dtype);
  if (shared) {
    const auto found = constants_.find(key);
    if (found != constants_.end()) return found->second;
  }
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
  Node node = {.op = op, .inputs = std::move(inputs), .attrs = Complete(*op, attrs)};
  std::vector<TensorDesc> descs = op->infer({*op, *this, node.inputs, node.attrs});
  if (!output_names.empty() && output_names.size() != descs.size()) {
    Fail("{}: {} outputs are named, but it has {}", op->name, output_names.size(), descs.size());
  }
  const auto id = static_cast<NodeId>(nodes_.size());
  for (const TensorDesc& desc : descs) CheckShape(op->name, desc.shape);
  std::vector<std::string> names(output_names.begin(), output_names.end());
  names.resize(descs.size());
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i].empty()) names[i] = FreshName(by_name_, op->name, values_.size() + i);
    if (by_name_.contains(names[i]) || std::count(names.begin(), names.begin() + static_cast<int64_t>(i), names[i]) != 0) {
      Fail("{}: the output name \"{}\" is already taken", op->name, names[i]);
    }
  }
  for (size_t i = 0; i < descs.size(); ++i) {
    const auto value = static_cast<ValueId>(values_.size());
    node.outputs.push_back(value);
    by_name_.emplace(names[i], value);
    values_.push_back({.name = names[i], .desc = std::move(descs[i]), .producer = id, .output_index = static_cast<int>(i)});
  }
  nodes_.push_back(std::move(node));
  return nodes_.back().outputs;
}

ValueId Graph::Add1(std::string_view op, std::initializer_list<ValueId> inputs, Attrs attrs) {
  const std::vector<ValueId> outputs = Add(op, std::span(inputs.begin(), inputs.size()), std::move(attrs));
  ATHANOR_CHECK(outputs.size() == 1);
  return outputs[0];
}

void Graph::AddOutput(std::string name, ValueId value) {
  ATHANOR_CHECK(value >= 0 && static_cast<size_t>(value) < values_.size());
  for (const NamedValue& output : outputs_) {
    if (output.name == name) Fail("output \"{}\" is named twice", name);
  }
  outputs_.push_back({std::move(name), value});
}

}  // namespace athanor
