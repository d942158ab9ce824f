#include "runtime/launch_plan.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "jit/compiler.h"
#include "ops/error.h"
#include "ops/op.h"
#include "ops/strict_json.h"
#include "runtime/build_id.h"
#include "runtime/schedules.h"

namespace athanor {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFormat = "athanor.launches/1";
constexpr std::string_view kWhere = "launch plan";

// Appends to a text of which no two graphs have the same.
class Writer {
 public:
  void Number(int64_t number) { fmt::format_to(std::back_inserter(text_), "{} ", number); }
  void Real(double number) { fmt::format_to(std::back_inserter(text_), "{:a} ", number); }
  void Name(std::string_view name) {
    Number(static_cast<int64_t>(name.size()));
    text_ += name;
    text_ += ' ';
  }
  void Numbers(const auto& numbers) {
    Number(static_cast<int64_t>(numbers.size()));
    for (const auto number : numbers) Number(number);
  }
  void One(const Attr& attr) {
    Number(static_cast<int64_t>(attr.index()));
    if (const auto* flag = std::get_if<bool>(&attr)) Number(*flag);
    if (const auto* number = std::get_if<int64_t>(&attr)) Number(*number);
    if (const auto* real = std::get_if<double>(&attr)) Real(*real);
    if (const auto* name = std::get_if<std::string>(&attr)) Name(*name);
    if (const auto* list = std::get_if<std::vector<int64_t>>(&attr)) Numbers(*list);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

std::string TextOf(const Graph& graph) {
  Writer writer;
  writer.Name(graph.name());
  writer.Numbers(graph.inputs());
  for (const Value& value : graph.values()) {
    writer.Name(value.name);
    writer.Number(static_cast<int64_t>(value.desc.dtype));
    writer.Numbers(value.desc.shape);
    writer.Numbers(value.desc.strides);
    writer.Number(value.wants_grad);
    writer.Number(value.constant.has_value());
    if (value.constant) writer.Real(*value.constant);
  }
  for (const Node& node : graph.nodes()) {
    writer.Name(node.op->name);
    writer.Numbers(node.inputs);
    writer.Numbers(node.outputs);
    writer.Number(static_cast<int64_t>(node.attrs.size()));
    for (const auto& [name, attr] : node.attrs) {
      writer.Name(name);
      writer.One(attr);
    }
    writer.Number(node.origin.node);
    writer.Number(node.origin.backward);
  }
  for (const NamedValue& output : graph.outputs()) {
    writer.Name(output.name);
    writer.Number(output.value);
  }
  return writer.text();
}

Json Written(const LaunchPlan::Kernel& kernel) {
  Json phases = Json::array();
  for (const auto& phase : kernel.ref.phases) phases.push_back({phase.symbol, phase.tasks});
  return {{"name", kernel.ref.name},
          {"source", kernel.ref.source},
          {"schedule", kernel.ref.schedule},
          {"phases", phases},
          {"temporaries", kernel.ref.temporary_bytes},
          {"scratch", kernel.ref.scratch_bytes},
          {"structure", kernel.structure},
          {"remembered", kernel.remembered}};
}

Json Written(const LaunchPlan::Launch& launch) {
  Json args = Json::array();
  for (const auto& arg : launch.args) args.push_back({static_cast<int>(arg.place), arg.position, arg.offset});
  return {{"kernel", launch.kernel}, {"args", args},         {"nodes", launch.nodes},  {"skeleton", launch.skeleton},
          {"flops", launch.flops},   {"bytes", launch.bytes}, {"origin", {launch.origin.node, launch.origin.backward}}};
}

// nlohmann's own conversion lets any number pass, and casts it.
template <class Int>
Int Integer(const Json& json) {
  if (!json.is_number_integer() || !std::in_range<Int>(json.get<int64_t>())) {
    Fail("{}: {}, expected an integer of {} bits", kWhere, json.dump(-1, ' ', false, Json::error_handler_t::replace), 8 * sizeof(Int));
  }
  return static_cast<Int>(json.get<int64_t>());
}

LaunchPlan::Kernel ReadKernel(const Json& json) {
  LaunchPlan::Kernel kernel;
  json.at("name").get_to(kernel.ref.name);
  json.at("source").get_to(kernel.ref.source);
  json.at("schedule").get_to(kernel.ref.schedule);
  for (const Json& phase : json.at("phases")) kernel.ref.phases.push_back({phase.at(0).get<std::string>(), Integer<int64_t>(phase.at(1))});
  for (const Json& bytes : json.at("temporaries")) kernel.ref.temporary_bytes.push_back(Integer<int64_t>(bytes));
  kernel.ref.scratch_bytes = Integer<int64_t>(json.at("scratch"));
  json.at("structure").get_to(kernel.structure);
  json.at("remembered").get_to(kernel.remembered);
  if (kernel.ref.scratch_bytes < 0 || kernel.ref.phases.empty()) Fail("{}: kernel {} has no phase, or less than no scratch", kWhere, kernel.ref.name);
  return kernel;
}

LaunchPlan::Launch ReadLaunch(const Json& json) {
  LaunchPlan::Launch launch;
  launch.kernel = Integer<int>(json.at("kernel"));
  for (const Json& arg : json.at("args")) {
    const int place = Integer<int>(arg.at(0));
    if (place < 0 || place > static_cast<int>(LaunchPlan::Place::kOutput)) Fail("{}: place {} is unknown", kWhere, place);
    launch.args.push_back({static_cast<LaunchPlan::Place>(place), Integer<int>(arg.at(1)), Integer<int64_t>(arg.at(2))});
  }
  json.at("nodes").get_to(launch.nodes);
  json.at("skeleton").get_to(launch.skeleton);
  json.at("flops").get_to(launch.flops);
  json.at("bytes").get_to(launch.bytes);
  launch.origin = {Integer<NodeId>(json.at("origin").at(0)), json.at("origin").at(1).get<bool>()};
  return launch;
}

void Check(const LaunchPlan& plan, const LaunchPlan::Launch& launch, size_t inputs, size_t outputs) {
  if (launch.kernel < 0 || launch.kernel >= static_cast<int>(plan.kernels.size())) Fail("{}: there is no kernel {}", kWhere, launch.kernel);
  for (const auto& arg : launch.args) {
    const size_t limit = arg.place == LaunchPlan::Place::kInput ? inputs : arg.place == LaunchPlan::Place::kOutput ? outputs : 1;
    if (arg.position < 0 || static_cast<size_t>(arg.position) >= limit || arg.offset < 0 ||
        (arg.place == LaunchPlan::Place::kArena && arg.offset > plan.arena_bytes)) {
      Fail("{}: an argument at place {}, {}, {}", kWhere, static_cast<int>(arg.place), arg.position, arg.offset);
    }
  }
}

}  // namespace

CacheKey LaunchPlanKey(const Graph& graph, const std::vector<InPlace>& in_place, Fusing fusing, const CpuTarget& cpu, int threads) {
  CacheKey key("launches");
  key.Add("library", BuildId()).Add("compiler", CompilerIdentity(cpu)).Add("space", kScheduleSpace).Add("cpu", cpu.model);
  key.Add("caches", fmt::format("{} {} {}", cpu.l1_bytes, cpu.l2_bytes, cpu.l3_bytes)).Add("threads", std::to_string(threads));
  key.Add("fusing", std::to_string(static_cast<int>(fusing)));
  Writer pairs;
  for (const InPlace& pair : in_place) {
    pairs.Name(pair.output);
    pairs.Name(pair.input);
  }
  key.Add("in_place", Digest(pairs.text())).Add("graph", Digest(TextOf(graph)));
  return key;
}

std::string WriteLaunchPlan(const LaunchPlan& plan) {
  Json kernels = Json::array(), launches = Json::array();
  for (const auto& kernel : plan.kernels) kernels.push_back(Written(kernel));
  for (const auto& launch : plan.launches) launches.push_back(Written(launch));
  return Json{{"format", kFormat}, {"arena", plan.arena_bytes}, {"kernels", kernels}, {"launches", launches}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);  // names may hold any bytes
}

LaunchPlan ReadLaunchPlan(std::string_view text, size_t inputs, size_t outputs) {
  const Json json = ParseStrictJson(text, kWhere);
  LaunchPlan plan;
  try {
    if (json.at("format") != kFormat) Fail("{}: not of format {}", kWhere, kFormat);
    plan.arena_bytes = Integer<int64_t>(json.at("arena"));
    for (const Json& kernel : json.at("kernels")) plan.kernels.push_back(ReadKernel(kernel));
    for (const Json& launch : json.at("launches")) plan.launches.push_back(ReadLaunch(launch));
  } catch (const nlohmann::json::exception& error) {
    Fail("{}: {}", kWhere, error.what());
  }
  if (plan.arena_bytes < 0) Fail("{}: an arena of {} bytes", kWhere, plan.arena_bytes);
  for (const auto& launch : plan.launches) Check(plan, launch, inputs, outputs);
  return plan;
}

}  // namespace athanor
