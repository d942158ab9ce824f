#include "jit/reduce_passes.h"

#include <algorithm>
#include <map>
#include <set>

#include "jit/loop_space.h"
#include "ops/error.h"

namespace athanor {
namespace {

constexpr int64_t kPrefetchedRow = 2 << 10;  // bytes; the hardware looks ahead well enough over shorter rows

bool IsReduce(const Expr& expr, uint32_t axes) { return expr.kind == Expr::Kind::kReduce && expr.axes == axes; }

bool IsExpensive(const Expr& expr) {
  if (expr.kind != Expr::Kind::kApply || !IsFloat(expr.dtype)) return false;
  switch (expr.fn) {
    case Fn::kExp:
    case Fn::kLog:
    case Fn::kTanh:
    case Fn::kErf:
    case Fn::kSigmoid:
    case Fn::kPow:
    case Fn::kDiv:
    case Fn::kSqrt:
    case Fn::kRsqrt:
      return true;
    default:
      return false;
  }
}

std::optional<Pick> AsPick(const Body& body, const std::vector<uint32_t>& varies, const Expr& sum) {
  if (!IsReduce(sum, kCols) || sum.fn != Fn::kAdd) return std::nullopt;
  const Expr& where = body.exprs[sum.args[0]];
  if (where.kind != Expr::Kind::kApply || where.fn != Fn::kWhere) return std::nullopt;
  const Expr& hit = body.exprs[where.args[0]];
  const Expr& zero = body.exprs[where.args[2]];
  if (hit.kind != Expr::Kind::kApply || hit.fn != Fn::kEq || zero.kind != Expr::Kind::kConstant || zero.value != 0)
    return std::nullopt;
  for (int i = 0; i < 2; ++i) {
    const Expr& index = body.exprs[hit.args[i]];
    const int column = hit.args[1 - i];
    if (index.kind == Expr::Kind::kIndex && index.dim == 1 && !(varies[column] & kCols)) return Pick{column, where.args[1]};
  }
  return std::nullopt;
}

}  // namespace

bool LanesOnRows(const Body& body) {
  int along_rows = 0, along_cols = 0;
  auto count = [&](const Layout& map, int weight) {
    const Digits rows = Coalesce(map.dim(0)), cols = Coalesce(map.dim(1));
    if (StrideAlong(map, 0) == 0 || StrideAlong(map, 1) == 0) return;  // row and column vectors are cheap either way
    along_rows += rows[0].stride == 1 ? weight : 0;
    along_cols += cols[0].stride == 1 ? weight : 0;
  };
  for (const Operand& operand : body.operands) count(operand.map, operand.row < 0 ? 1 : 0);
  for (const Store& store : body.stores) count(store.operand.map, 1);
  for (const Expr& expr : body.exprs) {
    if (IsReduce(expr, kRows)) return false;
  }
  return along_rows > along_cols;
}

PassPlan::PassPlan(const Body& body, const std::vector<uint32_t>& varies, bool with_picks, Keep keep)
    : body_(body), varies_(varies), keep_(keep) {
  for (const Expr& expr : body.exprs) picks_.push_back(with_picks ? AsPick(body, varies, expr) : std::nullopt);
  FindStages();
  FindWork();
  FindSaves();
  ChoosePrefetch();
}

void PassPlan::FindStages() {
  for (const Expr& expr : body_.exprs) {
    int stage = 0;
    if (const std::optional<Pick>& pick = picks_[stage_.size()]) {
      stage = std::max(stage_[pick->column], stage_[pick->value]);
    } else if (expr.kind == Expr::Kind::kReduce) {
      ATHANOR_CHECK(expr.axes == kRows || expr.axes == kCols);
      stage = stage_[expr.args[0]] + (expr.axes == kCols ? 1 : 0);
    } else if (expr.kind == Expr::Kind::kApply) {
      for (int i = 0; i < Arity(expr.fn); ++i) {
        ATHANOR_CHECK(!IsReduce(body_.exprs[expr.args[i]], kRows));  // column sums are stores' expressions only
        stage = std::max(stage, stage_[expr.args[i]]);
      }
    } else if (expr.kind == Expr::Kind::kLoad && body_.operands[expr.operand].row >= 0) {
      stage = stage_[body_.operands[expr.operand].row];
    }
    stage_.push_back(stage);
  }
  passes_.resize(1 + *std::max_element(stage_.begin(), stage_.end()));
}

// Expressions that some store depends on.
std::vector<char> PassPlan::Needed() const {
  std::vector<char> needed(body_.exprs.size(), 0);
  for (const Store& store : body_.stores) needed[store.expr] = 1;
  for (int e = static_cast<int>(body_.exprs.size()) - 1; e >= 0; --e) {
    if (!needed[e]) continue;
    const Expr& expr = body_.exprs[e];
    if (const std::optional<Pick>& pick = picks_[e]) {
      needed[pick->column] = needed[pick->value] = 1;
    } else if (expr.kind == Expr::Kind::kReduce) {
      needed[expr.args[0]] = 1;
    }
    if (expr.kind == Expr::Kind::kApply) {
      for (int i = 0; i < Arity(expr.fn); ++i) needed[expr.args[i]] = 1;
    }
    if (expr.kind == Expr::Kind::kLoad && body_.operands[expr.operand].row >= 0) needed[body_.operands[expr.operand].row] = 1;
  }
  return needed;
}

void PassPlan::FindWork() {
  std::set<int> sums;
  for (size_t s = 0; s < body_.stores.size(); ++s) {
    const int e = body_.stores[s].expr;
    if (IsReduce(body_.exprs[e], kRows)) {
      sums.insert(e);
    } else if (StrideAlong(body_.stores[s].operand.map, 1) == 0 && !(varies_[e] & kCols)) {
      passes_[stage_[e]].row_stores.push_back(static_cast<int>(s));
    } else {
      passes_[stage_[e]].stores.push_back(static_cast<int>(s));
    }
  }
  const std::vector<char> needed = Needed();
  for (size_t e = 0; e < body_.exprs.size(); ++e) {
    if (!needed[e] || !IsReduce(body_.exprs[e], kCols)) continue;
    (picks_[e] ? passes_[stage_[e]].picks : passes_[stage_[e] - 1].reductions).push_back(static_cast<int>(e));
  }
  for (int e : sums) passes_[stage_[e]].column_sums.push_back(e);
  column_sums_.assign(sums.begin(), sums.end());
}

std::vector<int> PassPlan::Roots(const Pass& pass) const {
  std::vector<int> roots;
  for (int s : pass.stores) roots.push_back(body_.stores[s].expr);
  for (int s : pass.row_stores) roots.push_back(body_.stores[s].expr);
  for (const std::vector<int>* reductions : {&pass.reductions, &pass.column_sums}) {
    for (int e : *reductions) roots.push_back(body_.exprs[e].args[0]);
  }
  return roots;
}

bool PassPlan::IsKept(int expr) const {
  if (keep_ == Keep::kNothing) return false;
  const bool load = body_.exprs[expr].kind == Expr::Kind::kLoad && varies_[expr] == (kRows | kCols);
  return IsExpensive(body_.exprs[expr]) || (keep_ == Keep::kExpensiveAndLoads && load);
}

// Values along the row that more than one pass needs and that are worth it are computed once.
void PassPlan::FindSaves() {
  std::map<int, int> first_pass;
  for (int p = 0; p < static_cast<int>(passes_.size()); ++p) {
    std::set<int> seen;
    std::vector<int> work = Roots(passes_[p]);
    while (!work.empty()) {
      const int e = work.back();
      work.pop_back();
      if (!seen.insert(e).second || !(varies_[e] & kCols)) continue;
      const Expr& expr = body_.exprs[e];
      if (IsKept(e)) {
        const auto [known, fresh] = first_pass.try_emplace(e, p);
        if (!fresh) {
          std::vector<int>& saves = passes_[known->second].saves;
          if (std::find(saves.begin(), saves.end(), e) == saves.end()) saves.push_back(e);
          passes_[p].loads.push_back(e);
          continue;
        }
      }
      if (expr.kind != Expr::Kind::kApply) continue;
      for (int i = 0; i < Arity(expr.fn); ++i) work.push_back(expr.args[i]);
    }
  }
}

// Only the first pass reads from memory, which later ones would leave idle: one of them, the most expensive if there is one, fetches the next row.
void PassPlan::ChoosePrefetch() {
  const int64_t row_bytes = body_.extents[1] * 4;
  if (passes_.size() < 2 || row_bytes < kPrefetchedRow) return;
  auto most = std::max_element(passes_.begin() + 1, passes_.end(), [](const Pass& a, const Pass& b) { return a.saves.size() < b.saves.size(); });
  most->prefetches = true;
}

}  // namespace athanor
