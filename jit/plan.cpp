#include "jit/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ops/error.h"

namespace athanor {
namespace {

std::string Describe(const LoopPlan& plan) {
  std::string text = ToString(plan.body);
  if (!plan.instance_elements.empty()) text += fmt::format("instances [{}]\n", fmt::join(plan.instance_elements, " "));
  return text;
}

std::string Describe(const ContractPlan& plan) {
  std::string moments;
  if (plan.moments) {
    moments = fmt::format("moments of e{}, {}, to {} and {}\n", plan.moments->expr, ToString(plan.moments->result), ToString(plan.moments->sums), ToString(plan.moments->squares));
  }
  return fmt::format("batch {} m {} n {} k {} accumulator {}\na result e{}\n{}b result e{}\n{}epilogue\n{}{}", plan.batch, plan.m,
                     plan.n, plan.k, Name(plan.accumulator), plan.a_result, ToString(plan.a), plan.b_result, ToString(plan.b),
                     ToString(plan.epilogue), moments);
}

std::string Describe(const AttentionPlan& plan) {
  std::string text =
      fmt::format("{} batch {} heads {} kv heads {} lq {} lk {} d {} dv {} scale {} band {} {} {} mask {} dropout {}\n",
                  plan.backward ? "backward" : "forward", plan.batch, plan.heads, plan.kv_heads, plan.lq, plan.lk, plan.d, plan.dv,
                  plan.scale, plan.left, plan.right, Name(plan.dtype), Name(plan.mask_dtype), plan.dropout_p);
  const std::pair<const char*, const Operand*> operands[] = {{"q", &plan.q},   {"k", &plan.k},     {"v", &plan.v},
                                                             {"y", &plan.y},   {"lse", &plan.lse}, {"dy", &plan.dy},
                                                             {"dq", &plan.dq}, {"dk", &plan.dk},   {"dv", &plan.dv_out},
                                                             {"mask", &plan.mask}, {"lengths", &plan.lengths}, {"dmask", &plan.dmask}, {"seed", &plan.seed}, {"offset", &plan.offset}};
  for (const auto& [name, operand] : operands) {
    if (operand->arg >= 0) text += fmt::format("{}: {}\n", name, ToString(*operand));
  }
  return text;
}

std::string Describe(const ScatterPlan& plan) {
  return fmt::format("{}rows {} columns {} table rows {} {} index {}\nsource: {}\nindex: {}\nout: {}\n", plan.adds ? "" : "in place ", plan.rows,
                     plan.columns, plan.table_rows, Name(plan.dtype), Name(plan.index_dtype), ToString(plan.source), ToString(plan.index),
                     ToString(plan.out));
}

}  // namespace

std::string_view Name(Skeleton skeleton) {
  switch (skeleton) {
    case Skeleton::kPointwise:
      return "pointwise";
    case Skeleton::kReduce:
      return "reduce";
    case Skeleton::kLoopNest:
      return "loop_nest";
    case Skeleton::kContract:
      return "contract";
    case Skeleton::kAttention:
      return "attention";
    case Skeleton::kScatter:
      return "scatter";
  }
  throw InternalError("unknown skeleton");
}

std::string KernelPlan::Structure() const {
  std::string text = fmt::format("{}\n", Name(skeleton));
  for (const KernelArg& arg : args) text += fmt::format("arg {}{}\n", arg.written ? "out " : "", Name(arg.dtype));
  return text + std::visit([](const auto& plan) { return Describe(plan); }, detail);
}

}  // namespace athanor
