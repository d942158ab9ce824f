#include "tests/coverage/op_table.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "ops/fragment.h"
#include "runtime/index_check.h"

namespace athanor {
namespace {

using Json = nlohmann::ordered_json;

std::vector<int64_t> Strides(const Shape& shape, InputLayout layout) {
  std::vector<int64_t> strides(shape.size());
  int64_t step = layout == InputLayout::kSliced ? 2 : 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    const size_t d = layout == InputLayout::kTransposed ? i : shape.size() - 1 - i;
    strides[d] = step;
    step *= std::max<int64_t>(shape[d], 1);
    if (layout == InputLayout::kSliced) step += 3;
  }
  return strides;
}

std::string InputName(const Json& given, size_t i) { return given.value("weight", false) ? "weight" : "i" + std::to_string(i); }

Json Objects(const Json& given) { return given.is_array() ? Json{{"shape", given}} : given; }

}  // namespace

Graph OpRow::Build(DType dtype, InputLayout layout) const {
  const Json row = Json::parse(text);
  Json fragment = {{"format", "athanor.fragment/1"}, {"name", name}, {"inputs", Json::array()}}, operands = Json::array(),
       outputs = Json::array();
  for (size_t i = 0; i < row["inputs"].size(); ++i) {
    const Json given = Objects(row["inputs"][i]);
    operands.push_back(given.is_object() ? Json(InputName(given, i)) : given);
    if (!given.is_object()) continue;
    Json input = {{"name", InputName(given, i)}, {"dtype", given.value("dtype", std::string(Name(dtype)))}, {"shape", given["shape"]}};
    if (given.contains("strides")) input["strides"] = given["strides"];
    else if (layout != InputLayout::kContiguous) input["strides"] = Strides(given["shape"].get<Shape>(), layout);
    if (IsFloat(*ParseDType(input["dtype"].get<std::string>())) && given.value("grad", true)) input["grad"] = true;
    fragment["inputs"].push_back(input);
  }
  for (int i = 0; i < row.value("outputs", 1); ++i) outputs.push_back("y" + std::to_string(i));
  fragment["nodes"] = Json::array({{{"op", op}, {"inputs", operands}, {"outputs", outputs}, {"attrs", row.value("attrs", Json::object())}}});
  fragment["outputs"] = outputs;
  return ReadFragment(fragment.dump(), name);
}

std::vector<HostTensor> OpRow::Inputs(const Graph& graph, uint32_t seed) const {
  const Json row = Json::parse(text);
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::vector<int64_t> extents(graph.inputs().size(), 5);
  for (const IndexUse& use : FindIndexUses(graph)) extents[use.input] = use.extent;
  std::vector<HostTensor> inputs;
  for (const Json& operand : row["inputs"]) {
    const Json given = Objects(operand);
    if (!given.is_object()) continue;
    const size_t i = inputs.size();
    const TensorDesc& desc = graph.desc(graph.inputs()[i]);
    double low = 0, high = static_cast<double>(desc.dtype == DType::kBool ? 2 : extents[i]);
    if (given.contains("range")) low = given["range"][0], high = given["range"][1];
    std::uniform_real_distribution<double> uniform(low, std::max(low, high));
    const double scale = given.value("weight", false) ? 1 / std::sqrt(static_cast<double>(desc.elements()) / static_cast<double>(desc.shape[0])) : 1;
    HostTensor tensor(desc.dtype, desc.shape);
    for (int64_t e = 0; e < tensor.elements(); ++e) {
      const double x = IsFloat(desc.dtype) && !given.contains("range") ? scale * normal(random) : uniform(random);
      tensor.Set(e, !IsFloat(desc.dtype) ? std::floor(x) : rounded ? std::round(x) : x);
    }
    inputs.push_back(std::move(tensor));
  }
  return inputs;
}

const std::vector<OpRow>& OpTable() {
  static const std::vector<OpRow> table = [] {
    std::ifstream file(ATHANOR_SOURCE_DIR "/tests/coverage/op_cases.json");
    std::vector<OpRow> rows;
    for (const Json& row : Json::parse(file)) rows.push_back({row["case"], row["op"], row.dump(), row.value("rounded", false)});
    return rows;
  }();
  return table;
}

}  // namespace athanor
