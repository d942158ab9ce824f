#include "ops/fragment.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <vector>

#include <nlohmann/json.hpp>

#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFormat = "athanor.fragment/1";
constexpr size_t kMaxBytes = 64 << 20;
constexpr int kMaxDepth = 8;
constexpr size_t kMaxRank = 16;

// Builds a document while refusing what nlohmann's own parser lets pass: repeated keys and deep nesting.
class StrictParser : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return Value(nullptr); }
  bool boolean(bool value) override { return Value(value); }
  bool number_integer(number_integer_t value) override { return Value(value); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<uint64_t>(INT64_MAX)) return Refuse(fmt::format("the integer {} is too large", value));
    return Value(static_cast<int64_t>(value));
  }
  bool number_float(number_float_t value, const string_t&) override { return Value(value); }
  bool string(string_t& value) override { return Value(value); }
  bool binary(binary_t&) override { return Refuse("binary data"); }
  bool start_object(size_t) override { return Open(Json::object()); }
  bool start_array(size_t) override { return Open(Json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(string_t& name) override {
    if (open_.back()->contains(name)) return Refuse(fmt::format("the key \"{}\" stands twice in one object", name));
    key_ = name;
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    const std::string text = error.what();                   // "[json.exception...] parse error at line 1, column 2: ..."
    const size_t start = text.find("parse error");
    return Refuse(start == std::string::npos ? fmt::format("malformed JSON at byte {}", position) : "JSON " + text.substr(start));
  }

  Json document;
  std::string error;

 private:
  bool Refuse(std::string why) {
    if (error.empty()) error = std::move(why);
    return false;
  }
  Json* Place(Json value) {
    if (open_.empty()) return &(document = std::move(value));
    if (open_.back()->is_array()) return open_.back()->push_back(std::move(value)), &open_.back()->back();
    return &((*open_.back())[key_] = std::move(value));
  }
  bool Value(Json value) {
    Place(std::move(value));
    return true;
  }
  bool Open(Json value) {
    if (open_.size() == kMaxDepth) return Refuse(fmt::format("nested deeper than {} levels", kMaxDepth));
    open_.push_back(Place(std::move(value)));
    return true;
  }
  bool Close() {
    open_.pop_back();
    return true;
  }

  std::vector<Json*> open_;
  std::string key_;
};

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
    const std::string name = Text(json["name"], place + ".name");
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
      node.outputs.push_back(Text(output, node.place + " outputs"));
    }
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

  // Adds each node as soon as its inputs are known.
  void AddNodes(const std::vector<FileNode>& nodes, Graph* graph) const {
    std::set<std::string> defined_later;
    for (const FileNode& node : nodes) {
      for (const std::string& name : node.outputs) {
        if (graph->Find(name) || !defined_later.insert(name).second) {
          Refuse(node.place, fmt::format("the output name \"{}\" is already taken", name));
        }
      }
    }
    for (const FileNode& node : nodes) {
      for (const Json& input : node.inputs) {
        if (input.is_string() && !graph->Find(input.get<std::string>()) && !defined_later.count(input.get<std::string>())) {
          Refuse(node.place, fmt::format("the input \"{}\" is not defined", input.get<std::string>()));
        }
      }
    }
    std::vector<bool> done(nodes.size());
    for (size_t added = 0; added < nodes.size();) {
      const size_t before = added;
      for (size_t i = 0; i < nodes.size(); ++i) {
        if (!done[i] && Ready(nodes[i], *graph)) AddNode(nodes[i], graph), done[i] = true, ++added;
      }
      if (added == before) {
        const size_t stuck = std::find(done.begin(), done.end(), false) - done.begin();
        Refuse(nodes[stuck].place, "the node is part of a cycle, or waits for one");
      }
    }
  }

  static bool Ready(const FileNode& node, const Graph& graph) {
    return std::all_of(node.inputs.begin(), node.inputs.end(), [&](const Json& input) {
      return !input.is_string() || graph.Find(input.get<std::string>());
    });
  }

  void AddNode(const FileNode& node, Graph* graph) const {
    // A literal takes the dtype of the first tensor beside it.
    DType dtype = DType::kF32;
    for (auto input = node.inputs.rbegin(); input != node.inputs.rend(); ++input) {
      if (!input->is_string()) continue;
      const DType found = graph->desc(*graph->Find(input->get<std::string>())).dtype;
      if (found != DType::kBool || node.op != "where") dtype = found;
    }
    std::vector<ValueId> inputs;
    for (const Json& input : node.inputs) {
      if (input.is_string()) inputs.push_back(*graph->Find(input.get<std::string>()));
      if (input.is_number()) inputs.push_back(graph->AddConstant(input.get<double>(), dtype));
      if (input.is_null()) inputs.push_back(kNone);
    }
    At(node.place, [&] { graph->Add(node.op, inputs, node.attrs, node.outputs); });
  }

  std::string where_;
};

Json ToJson(const Attr& attr) {
  return std::visit([](const auto& value) { return Json(value); }, attr);
}

Json InputToJson(const Value& value) {
  Json json = {{"name", value.name}, {"dtype", std::string(Name(value.desc.dtype))}, {"shape", value.desc.shape}};
  if (!value.desc.strides.empty()) json["strides"] = value.desc.strides;
  if (value.wants_grad) json["grad"] = true;
  return json;
}

}  // namespace

Graph ReadFragment(std::string_view json, std::string_view where) {
  if (json.size() > kMaxBytes) Fail("{}: {} bytes, at most {} expected", where, json.size(), kMaxBytes);
  StrictParser parser;
  if (!Json::sax_parse(json, &parser)) Fail("{}: {}", where, parser.error);
  return FragmentReader(where).Read(parser.document);
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
  for (const Node& node : graph.nodes()) {
    if (node.op->internal) Fail("{}: the internal op {} can't be written to a fragment file", graph.name(), node.op->name);
    Json item = {{"op", node.op->name}, {"inputs", Json::array()}, {"outputs", Json::array()}};
    for (ValueId v : node.inputs) {
      if (v == kNone) item["inputs"].push_back(nullptr);
      else if (graph.value(v).constant) item["inputs"].push_back(*graph.value(v).constant);
      else item["inputs"].push_back(graph.value(v).name);
    }
    for (ValueId v : node.outputs) item["outputs"].push_back(graph.value(v).name);
    for (const auto& [name, attr] : node.attrs) item["attrs"][name] = ToJson(attr);
    json["nodes"].push_back(std::move(item));
  }
  for (const NamedValue& output : graph.outputs()) json["outputs"].push_back(graph.value(output.value).name);
  return json.dump(1) + "\n";
}

}  // namespace athanor
