#include "jit/schedule.h"

#include <fmt/format.h>

#include <charconv>
#include <map>
#include <sstream>
#include <type_traits>

#include "jit/codegen_cpp.h"
#include "ops/error.h"

namespace athanor {
namespace {

// Every schedule's name and fields, in the order they are printed: the one list that ToString and ParseSchedule share.
template <typename S, typename Visitor>
void VisitFields(S& s, Visitor&& visit) {
  using T = std::remove_const_t<S>;
  if constexpr (std::is_same_v<T, LoopSchedule>) {
    visit("task", s.task_elements), visit("unroll", s.unroll), visit("streaming", s.streaming), visit("row_chunks", s.row_chunks);
  } else if constexpr (std::is_same_v<T, ContractSchedule>) {
    visit("mr", s.mr), visit("nv", s.nv), visit("mc", s.mc), visit("nc", s.nc), visit("kc", s.kc), visit("pack_a", s.pack_a);
    visit("pack_b", s.pack_b), visit("k_split", s.k_split), visit("unroll", s.unroll), visit("maker", s.maker);
    visit("pairs", s.pairs);
  } else if constexpr (std::is_same_v<T, AttentionSchedule>) {
    visit("block_q", s.block_q), visit("block_k", s.block_k), visit("mr", s.mr), visit("nv", s.nv);
    visit("pairs", s.pairs);
  } else if constexpr (std::is_same_v<T, WinogradSchedule>) {
    visit("tile", s.tile), visit("mr", s.mr), visit("nv", s.nv), visit("mc", s.mc), visit("mb", s.mb), visit("kc", s.kc), visit("k_split", s.k_split);
    visit("maker", s.maker), visit("weights", s.weights), visit("streaming", s.streaming);
  } else {
    visit("column_block", s.column_block);
  }
}

constexpr std::string_view kScheduleNames[] = {"loop", "contract", "attention", "scatter", "winograd"};
static_assert(std::variant_size_v<Schedule> == std::size(kScheduleNames));

std::string FieldText(int64_t value) { return std::to_string(value); }
std::string FieldText(ContractSchedule::Maker maker) { return maker == ContractSchedule::Maker::kCpp ? "cpp" : "asmjit"; }
std::string FieldText(ContractSchedule::Pack pack) {
  return pack == ContractSchedule::Pack::kNone ? "none" : pack == ContractSchedule::Pack::kPhase ? "phase" : "task";
}

template <typename T>
bool ParseField(std::string_view text, T* field) {
  if constexpr (std::is_enum_v<T>) {
    for (int value = 0; value < (std::is_same_v<T, ContractSchedule::Maker> ? 2 : 3); ++value) {
      *field = static_cast<T>(value);
      if (text == FieldText(*field)) return true;
    }
    return false;
  } else {
    std::conditional_t<std::is_same_v<T, bool>, int, T> value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || text != FieldText(value)) return false;
    if (std::is_same_v<T, bool> && value != 0 && value != 1) return false;
    *field = static_cast<T>(value);
    return true;
  }
}

template <typename S>
Schedule ParseFields(const std::map<std::string, std::string, std::less<>>& fields, std::string_view text) {
  S schedule;
  size_t known = 0;
  VisitFields(schedule, [&](std::string_view name, auto& field) {
    const auto found = fields.find(name);
    if (found == fields.end()) Fail("schedule '{}': field '{}' is missing", text, name);
    if (!ParseField(found->second, &field)) Fail("schedule '{}': field '{}' cannot be '{}'", text, name, found->second);
    ++known;
  });
  if (known != fields.size()) Fail("schedule '{}': {} fields given, {} expected", text, fields.size(), known);
  return schedule;
}

bool Fits(const Schedule& schedule, Skeleton skeleton) {
  switch (skeleton) {
    case Skeleton::kContract:
      return std::holds_alternative<ContractSchedule>(schedule) || std::holds_alternative<WinogradSchedule>(schedule);
    case Skeleton::kAttention:
      return std::holds_alternative<AttentionSchedule>(schedule);
    case Skeleton::kScatter:
      return std::holds_alternative<ScatterSchedule>(schedule);
    default:
      return std::holds_alternative<LoopSchedule>(schedule);
  }
}

}  // namespace

std::string ToString(const Schedule& schedule) {
  std::string text(kScheduleNames[schedule.index()]);
  std::visit(
      [&](const auto& s) {
        VisitFields(s, [&](std::string_view name, auto field) { text += fmt::format(" {}={}", name, FieldText(field)); });
      },
      schedule);
  return text;
}

Schedule ParseSchedule(std::string_view text) {
  std::istringstream words{std::string(text)};
  std::string kind, word;
  words >> kind;
  std::map<std::string, std::string, std::less<>> fields;
  while (words >> word) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos) Fail("schedule '{}': '{}' is not name=value", text, word);
    if (!fields.emplace(word.substr(0, equals), word.substr(equals + 1)).second)
      Fail("schedule '{}': '{}' is given twice", text, word);
  }
  if (kind == kScheduleNames[0]) return ParseFields<LoopSchedule>(fields, text);
  if (kind == kScheduleNames[1]) return ParseFields<ContractSchedule>(fields, text);
  if (kind == kScheduleNames[2]) return ParseFields<AttentionSchedule>(fields, text);
  if (kind == kScheduleNames[3]) return ParseFields<ScatterSchedule>(fields, text);
  if (kind == kScheduleNames[4]) return ParseFields<WinogradSchedule>(fields, text);
  Fail("schedule '{}': unknown kind '{}'; expected loop, contract, attention, scatter or winograd", text, kind);
}

std::string Validate(const Schedule& schedule, const KernelPlan& plan, const CpuTarget& cpu) {
  if (!Fits(schedule, plan.skeleton)) {
    return fmt::format("a {} schedule cannot carry out a {} plan", kScheduleNames[schedule.index()], Name(plan.skeleton));
  }
  if (const auto* contract = std::get_if<ContractSchedule>(&schedule)) return ValidateContract(*contract, plan, cpu);
  if (const auto* winograd = std::get_if<WinogradSchedule>(&schedule)) return ValidateWinograd(*winograd, plan, cpu);
  if (const auto* attention = std::get_if<AttentionSchedule>(&schedule)) return ValidateAttention(*attention, plan, cpu);
  if (const auto* scatter = std::get_if<ScatterSchedule>(&schedule)) return ValidateScatter(*scatter, plan, cpu);
  return ValidateLoop(std::get<LoopSchedule>(schedule), plan, cpu);
}

Schedule DefaultSchedule(const KernelPlan& plan, const CpuTarget& cpu) {
  switch (plan.skeleton) {
    case Skeleton::kPointwise:
      return DefaultPointwise(plan, cpu);
    case Skeleton::kReduce:
      return DefaultReduce(plan, cpu);
    case Skeleton::kLoopNest:
      return DefaultLoopNest(plan, cpu);
    case Skeleton::kContract:
      if (const auto winograd = DefaultWinograd(plan, cpu)) return *winograd;
      return DefaultContract(plan, cpu);
    case Skeleton::kAttention:
      return DefaultAttention(plan, cpu);
    case Skeleton::kScatter:
      return DefaultScatter(plan, cpu);
  }
  throw InternalError("unknown skeleton");
}

}  // namespace athanor
