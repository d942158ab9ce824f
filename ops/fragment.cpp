#include "ops/fragment.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <vector>

#include <nlohmann/json.hpp>

#include "ops/error.h"
#include "ops/op.h"
#include "ops/strict_json.h"

namespace athanor {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFormat = "athanor.fragment/1";
constexpr size_t kMaxRank = 16;
constexpr size_t kMaxNameBytes = 200;                        // names become file names

// A node of the file, with its attributes read but its inputs still names.
struct FileNode {
  std::string place, op;
  std::vector<Json> inputs;
  std::vector<std::string> outputs;
  Attrs attrs;
};

class FragmentReader {
 public:
  explicit FragmentReader(std::string_view where) : where_(where) {}

  Graph Read(const Json& document) {
    ExpectObject(document, "the fragment", {"format", "name", "inputs", "nodes", "outputs"}, {});
    const std::string format = Text(document["format"], "\"format\"");
    if (format != kFormat) Refuse("\"format\"", fmt::format("is \"{}\", expected \"{}\"", format, kFormat));
    Graph graph(Text(document["name"], "\"name\""));
    for (size_t i = 0; i < List(document["inputs"], "\"inputs\"").size(); ++i) ReadInput(document["inputs"][i], i, &graph);
    std::vector<FileNode> nodes;
    for (size_t i = 0; i < List(document["nodes"], "\"nodes\"").size(); ++i) nodes.push_back(ReadNode(document["nodes"][i], i));
    AddNodes(nodes, &graph);
    for (size_t i = 0; i < List(document["outputs"], "\"outputs\"").size(); ++i) {
      const std::string place = fmt::format("outputs[{}]", i);
      const std::string name = Text(document["outputs"][i], place);
      const std::optional<ValueId> value = graph.Find(name);
      if (!value) Refuse(place, fmt::format("\"{}\" is not defined", name));
      At(place, [&] { graph.AddOutput(name, *value); });
    }
    if (graph.outputs().empty()) Refuse("\"outputs\"", "is empty, at least one output expected");
    return graph;
  }

  [[noreturn]] void Refuse(std::string_view place, std::string_view why) const { Fail("{}: {}: {}", where_, place, why); }

 private:
  // Runs something that may throw Error, and adds the place to its message.
  template <typename F>
  void At(const std::string& place, const F& action) const {
    try {
      action();
    } catch (const Error& error) {
      Refuse(place, error.what());
    }
  }

  void ExpectObject(const Json& json, const std::string& place, const std::set<std::string>& required,
                    const std::set<std::string>& optional) const {
    if (!json.is_object()) Refuse(place, fmt::format("is {}, expected an object", json.type_name()));
    for (const std::string& key : required) {
      if (!json.contains(key)) Refuse(place, fmt::format("has no \"{}\"", key));
    }
    for (const auto& [key, value] : json.items()) {
      if (!required.count(key) && !optional.count(key)) Refuse(place, fmt::format("has the unknown key \"{}\"", key));
    }
  }

  const Json& List(const Json& json, const std::string& place) const {
    if (!json.is_array()) Refuse(place, fmt::format("is {}, expected a list", json.type_name()));
    return json;
  }

  std::string Text(const Json& json, const std::string& place) const {
    if (!json.is_string()) Refuse(place, fmt::format("is {}, expected a string", json.type_name()));
    return json.get<std::string>();
  }

  // The name of a value.
  std::string NameOf(const Json& json, const std::string& place) const {
    std::string name = Text(json, place);
    const bool plain = std::none_of(name.begin(), name.end(), [](unsigned char c) { return c < ' ' || c == 0x7f || c == '/' || c == '\\'; });
    if (name.empty() || name.size() > kMaxNameBytes || !plain || name[0] == '.') {
      Refuse(place, fmt::format("the name \"{}\" is not usable: expected 1 to {} bytes without slashes or control characters, not "
                                "beginning with a dot", name.substr(0, kMaxNameBytes), kMaxNameBytes));
    }
    return name;
  }

  std::vector<int64_t> Integers(const Json& json, const std::string& place) const {
    std::vector<int64_t> result;
    for (const Json& item : List(json, place)) {
      if (!item.is_number_integer()) Refuse(place, fmt::format("holds {}, expected integers", item.type_name()));
      result.push_back(item.get<int64_t>());
    }
    if (result.size() > kMaxRank) Refuse(place, fmt::format("has {} entries, expected at most {}", result.size(), kMaxRank));
    return result;
  }

  void ReadInput(const Json& json, size_t index, Graph* graph) const {
    std::string place = fmt::format("inputs[{}]", index);
    ExpectObject(json, place, {"name", "dtype", "shape"}, {"grad", "strides"});
    const std::string name = NameOf(json["name"], place + ".name");
    place += fmt::format(" \"{}\"", name);
    const std::string dtype_name = Text(json["dtype"], place + " dtype");
    const std::optional<DType> dtype = ParseDType(dtype_name);
    if (!dtype) Refuse(place, fmt::format("dtype is \"{}\", expected f32, bf16, f16, f64, i32, i64, u8 or bool", dtype_name));
    TensorDesc desc{*dtype, Integers(json["shape"], place + " shape")};
    if (json.contains("strides")) desc.strides = Integers(json["strides"], place + " strides");
    bool grad = false;
    if (json.contains("grad")) {
      if (!json["grad"].is_boolean()) Refuse(place, fmt::format("grad is {}, expected true or false", json["grad"].type_name()));
      grad = json["grad"].get<bool>();
    }
    At(place, [&] { graph->AddInput(name, desc, grad); });
  }

  FileNode ReadNode(const Json& json, size_t index) const {
    FileNode node;
    node.place = fmt::format("nodes[{}]", index);
    ExpectObject(json, node.place, {"op", "inputs", "outputs"}, {"attrs"});
    node.op = Text(json["op"], node.place + ".op");
    node.place += " " + node.op;
    const OpDef* op = FindOp(node.op);
    if (op == nullptr || op->internal) Refuse(node.place, fmt::format("unknown op \"{}\"", node.op));
    for (const Json& input : List(json["inputs"], node.place + " inputs")) {
      if (!input.is_string() && !input.is_number() && !input.is_null()) {
        Refuse(node.place, fmt::format("an input is {}, expected a name, a number or null", input.type_name()));
      }
      node.inputs.push_back(input);
    }
    for (const Json& output : List(json["outputs"], node.place + " outputs")) {
      node.outputs.push_back(NameOf(output, node.place + " outputs"));
    }
    if (node.outputs.empty()) Refuse(node.place, "names no outputs");
    if (!json.contains("attrs")) return node;
    if (!json["attrs"].is_object()) Refuse(node.place, "attrs is no object");
    for (const auto& [key, value] : json["attrs"].items()) {
      if (!value.is_null()) node.attrs[key] = ReadAttr(value, fmt::format("{} attribute \"{}\"", node.place, key));
    }
    return node;
  }

  Attr ReadAttr(const Json& json, const std::string& place) const {
    if (json.is_boolean()) return json.get<bool>();
    if (json.is_number_integer()) return json.get<int64_t>();
    if (json.is_number_float()) return json.get<double>();
    if (json.is_string()) return json.get<std::string>();
    return Integers(json, place);
  }

  // Adds the nodes, each after those it reads from and otherwise in the order of the file.
  void AddNodes(const std::vector<FileNode>& nodes, Graph* graph) const {
    const std::map<std::string, size_t> producers = Producers(nodes, *graph);
    std::vector<State> states(nodes.size(), State::kWaiting);
    for (size_t i = 0; i < nodes.size(); ++i) AddWithProducers(nodes, producers, i, &states, graph);
  }

  enum class State : uint8_t { kWaiting, kOpen, kAdded };

  // The node that defines each name.
  std::map<std::string, size_t> Producers(const std::vector<FileNode>& nodes, const Graph& graph) const {
    std::map<std::string, size_t> producers;
    for (size_t i = 0; i < nodes.size(); ++i) {
      for (const std::string& name : nodes[i].outputs) {
        if (graph.Find(name) || !producers.emplace(name, i).second) {
          Refuse(nodes[i].place, fmt::format("the output name \"{}\" is already taken", name));
        }
      }
    }
    return producers;
  }

  // Depth first over producers, on a stack of its own: chains may be as long as the file.
  void AddWithProducers(const std::vector<FileNode>& nodes, const std::map<std::string, size_t>& producers, size_t first,
                        std::vector<State>* states, Graph* graph) const {
    std::vector<size_t> stack = {first};
    while (!stack.empty()) {
      const FileNode& node = nodes[stack.back()];
      State& state = (*states)[stack.back()];
      if (state == State::kAdded) {
        stack.pop_back();
        continue;
      }
      state = State::kOpen;
      const size_t depth = stack.size();
      for (const Json& input : node.inputs) {
        if (!input.is_string() || graph->Find(input.get<std::string>())) continue;
        const auto producer = producers.find(input.get<std::string>());
        if (producer == producers.end()) Refuse(node.place, fmt::format("the input \"{}\" is not defined", input.get<std::string>()));
        if ((*states)[producer->second] == State::kOpen) {
          Refuse(node.place, fmt::format("the nodes form a cycle: its input \"{}\" depends on its own outputs", producer->first));
        }
        stack.push_back(producer->second);
        break;
      }
      if (stack.size() > depth) continue;
      AddNode(node, graph);
      state = State::kAdded;
    }
  }

  void AddNode(const FileNode& node, Graph* graph) const {
    std::vector<ValueId> inputs;
    for (const Json& input : node.inputs) {
      if (input.is_string()) inputs.push_back(*graph->Find(input.get<std::string>()));
      // Pointwise ops give literals the dtype they compute in.
      const DType literal = input.is_number_integer() ? DType::kI64 : DType::kF32;
      if (input.is_number()) inputs.push_back(graph->AddConstant(input.get<double>(), literal));
      if (input.is_null()) inputs.push_back(kNone);
    }
    At(node.place, [&] { graph->Add(node.op, inputs, node.attrs, node.outputs); });
  }

  std::string where_;
};

// Null for an infinite number: these only stand for attributes that were not given.
Json ToJson(const Attr& attr) {
  const auto* number = std::get_if<double>(&attr);
  if (number && !std::isfinite(*number)) return nullptr;
  return std::visit([](const auto& value) { return Json(value); }, attr);
}

// The names that values have in the file: their own, except that a computed output is called by the output's name.
class Names {
 public:
  explicit Names(const Graph& graph) {
    std::set<std::string> taken;
    for (const NamedValue& output : graph.outputs()) taken.insert(output.name);
    for (const Value& value : graph.values()) names_.push_back(value.name);
    for (size_t v = 0; v < names_.size(); ++v) {
      if (graph.values()[v].producer == kNone) continue;
      while (taken.contains(names_[v])) names_[v] += '%';
    }
    std::set<ValueId> named;
    for (const NamedValue& output : graph.outputs()) {
      if (graph.value(output.value).producer != kNone && named.insert(output.value).second) names_[output.value] = output.name;
    }
  }
  const std::string& Of(ValueId v) const { return names_[v]; }

 private:
  std::vector<std::string> names_;
};

Json InputToJson(const Graph& graph, ValueId v, const Names& names) {
  if (v == kNone) return nullptr;
  const Value& value = graph.value(v);
  if (!value.constant) return names.Of(v);
  // Literals of integer ops are written as integers, so that they come back as such.
  if (!IsFloat(value.desc.dtype)) return static_cast<int64_t>(*value.constant);
  return *value.constant;
}

Json InputToJson(const Value& value) {
  Json json = {{"name", value.name}, {"dtype", std::string(Name(value.desc.dtype))}, {"shape", value.desc.shape}};
  if (!value.desc.strides.empty()) json["strides"] = value.desc.strides;
  if (value.wants_grad) json["grad"] = true;
  return json;
}

}  // namespace

Graph ReadFragment(std::string_view json, std::string_view where) {
  return FragmentReader(where).Read(ParseStrictJson(json, where));
}

Graph LoadFragment(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  if (!file || !(text << file.rdbuf())) Fail("{}: the fragment file can't be read", path);
  return ReadFragment(text.str(), path);
}

std::string WriteFragment(const Graph& graph) {
  Json json = {{"format", kFormat}, {"name", graph.name()}, {"inputs", Json::array()}, {"nodes", Json::array()}, {"outputs", Json::array()}};
  for (ValueId input : graph.inputs()) json["inputs"].push_back(InputToJson(graph.value(input)));
  const Names names(graph);
  for (const Node& node : graph.nodes()) {
    if (node.op->internal) Fail("{}: the internal op {} can't be written to a fragment file", graph.name(), node.op->name);
    Json item = {{"op", node.op->name}, {"inputs", Json::array()}, {"outputs", Json::array()}};
    for (ValueId v : node.inputs) item["inputs"].push_back(InputToJson(graph, v, names));
    for (ValueId v : node.outputs) item["outputs"].push_back(names.Of(v));
    for (const auto& [name, attr] : node.attrs) {
      if (const Json value = ToJson(attr); !value.is_null()) item["attrs"][name] = value;
    }
    json["nodes"].push_back(std::move(item));
  }
  for (const NamedValue& output : graph.outputs()) {
    // An output by another name than its value's: a node of its own.
    if (graph.value(output.value).constant || names.Of(output.value) != output.name) {
      json["nodes"].push_back({{"op", "cast"},
                               {"inputs", {InputToJson(graph, output.value, names)}},
                               {"outputs", {output.name}},
                               {"attrs", {{"dtype", std::string(Name(graph.desc(output.value).dtype))}}}});
    }
    json["outputs"].push_back(output.name);
  }
  return json.dump(1) + "\n";
}

}  // namespace athanor
