#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "ops/tensor_desc.h"

namespace athanor {

struct OpDef;

using ValueId = int;
using NodeId = int;
inline constexpr int kNone = -1;                             // no value (an omitted optional input), no node

using Attr = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>>;
using Attrs = std::map<std::string, Attr, std::less<>>;

struct Value {
  std::string name;
  TensorDesc desc;
  NodeId producer = kNone;                                   // kNone for inputs and constants
  int output_index = 0;                                      // which output of `producer`
  std::optional<double> constant;                            // a scalar literal
  bool is_input = false;
  bool wants_grad = false;                                   // inputs only
};

// Where a node comes from: the node of the author's graph that it computes or, `backward`, through which it carries the gradient.
struct Origin {
  NodeId node = kNone;
  bool backward = false;
  bool operator==(const Origin&) const = default;
};

struct Node {
  const OpDef* op = nullptr;
  std::vector<ValueId> inputs;                               // kNone where an optional argument is omitted
  std::vector<ValueId> outputs;
  Attrs attrs;                                               // complete: defaults filled in
  Origin origin;                                             // kept by Gradient and Decompose
};

struct NamedValue {
  std::string name;
  ValueId value = kNone;
};

// Finds names without making strings of them.
struct NameHash {
  using is_transparent = void;
  size_t operator()(std::string_view name) const { return std::hash<std::string_view>()(name); }
};

// A fragment: nodes in topological order. It only grows, and every addition is checked, so a Graph is always valid.
// Errors are `Error`s that say which op, which argument, what was given and what is needed.
class Graph {
 public:
  explicit Graph(std::string name = "fragment") : name_(std::move(name)) {}

  const std::string& name() const { return name_; }
  const std::vector<Value>& values() const { return values_; }
  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<ValueId>& inputs() const { return inputs_; }
  const std::vector<NamedValue>& outputs() const { return outputs_; }
  const Value& value(ValueId id) const { return values_[id]; }
  const Node& node(NodeId id) const { return nodes_[id]; }
  const TensorDesc& desc(ValueId id) const { return values_[id].desc; }
  std::optional<ValueId> Find(std::string_view name) const;

  ValueId AddInput(std::string name, TensorDesc desc, bool wants_grad = false);
  ValueId AddConstant(double value, DType dtype);            // a scalar literal; equal literals share a value
  // Runs the op's checks and shape rule and appends a node. `output_names` may be empty (names are made up) or one each
  // (optional outputs may be left out).
  std::vector<ValueId> Add(std::string_view op, std::span<const ValueId> inputs, Attrs attrs = {},
                           std::span<const std::string> output_names = {});
  // Appends a node that has been checked elsewhere: its attributes are complete, its outputs described.
  std::vector<ValueId> Append(Node node, std::vector<TensorDesc> descs, std::span<const std::string> output_names);
  ValueId Add1(std::string_view op, std::initializer_list<ValueId> inputs, Attrs attrs = {});  // the only output of an op
  // The origin of the nodes added from now on; without one, each is its own.
  void SetOrigin(std::optional<Origin> origin) { origin_ = origin; }
  void AddOutput(std::string name, ValueId value);
  void ClearOutputs() { outputs_.clear(); }

 private:
  std::string name_;
  std::optional<Origin> origin_;
  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::vector<ValueId> inputs_;
  std::vector<NamedValue> outputs_;
  std::unordered_map<std::string, ValueId, NameHash, std::equal_to<>> by_name_;
  std::map<std::pair<double, DType>, ValueId> constants_;
};

template <typename T>
const T& Get(const Attrs& attrs, std::string_view name) {
  return std::get<T>(attrs.find(name)->second);
}

}  // namespace athanor
