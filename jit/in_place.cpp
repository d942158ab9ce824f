#include "jit/in_place.h"

#include <algorithm>
#include <climits>
#include <utility>
#include <vector>

#include "jit/plan.h"
#include "jit/reduce_passes.h"
#include "jit/reduction.h"

namespace athanor {
namespace {

// When an expression is computed at a point: in which pass, as which of its stores (kLast: for something else). What one has loaded, the
// others of its pass have at hand.
struct Use {
  std::pair<int, bool> pass;                                 // false: before the pass, once a row
  int order = 0;
  std::vector<int> exprs;
};
constexpr int kLast = INT_MAX;

bool Reads(const Operand& operand, int arg) {
  return operand.arg == arg || std::any_of(operand.pieces.begin(), operand.pieces.end(), [&](const Piece& p) { return p.arg == arg; });
}

bool AnyReads(const Body& body, int arg) {
  return std::any_of(body.operands.begin(), body.operands.end(), [&](const Operand& o) { return Reads(o, arg); });
}

bool AnyStores(const Body& body, int arg) {
  return std::any_of(body.stores.begin(), body.stores.end(), [&](const Store& s) { return s.operand.arg == arg; });
}

// The expressions that computing `expr` in one pass takes. Statistics of rows are known from an earlier one.
std::vector<char> Needs(const Body& body, const std::vector<int>& roots, bool through_reductions) {
  std::vector<char> needed(body.exprs.size());
  for (int root : roots) needed[root] = 1;
  for (int e = static_cast<int>(body.exprs.size()) - 1; e >= 0; --e) {
    const Expr& expr = body.exprs[e];
    if (!needed[e]) continue;
    if (expr.kind == Expr::Kind::kApply) {
      for (int i = 0; i < Arity(expr.fn); ++i) needed[expr.args[i]] = 1;
    }
    if (expr.kind == Expr::Kind::kReduce && through_reductions) needed[expr.args[0]] = 1;
    if (expr.kind == Expr::Kind::kLoad && body.operands[expr.operand].row >= 0) needed[body.operands[expr.operand].row] = 1;
  }
  return needed;
}

std::vector<Use> UsesOf(const Body& body, bool passes) {
  std::vector<Use> uses;
  if (!passes) {
    for (size_t s = 0; s < body.stores.size(); ++s) uses.push_back({{0, true}, static_cast<int>(s), {body.stores[s].expr}});
    return uses;
  }
  const std::vector<uint32_t> varies = body.Varies();
  const PassPlan plan(body, varies, /*with_picks=*/false, Keep::kNothing);
  for (int p = 0; p < static_cast<int>(plan.passes().size()); ++p) {
    const Pass& pass = plan.passes()[p];
    for (int s : pass.row_stores) uses.push_back({{p, false}, s, {body.stores[s].expr}});
    for (int s : pass.stores) uses.push_back({{p, true}, s, {body.stores[s].expr}});
    for (const std::vector<int>* reductions : {&pass.reductions, &pass.column_sums}) {
      for (int e : *reductions) uses.push_back({{p, true}, kLast, {body.exprs[e].args[0]}});
    }
  }
  return uses;
}

// Whether all that is read of argument `input` is read before store `s` puts the same element into it.
bool ReadsInTime(const Body& body, int s, int input, bool passes) {
  const Store& store = body.stores[s];
  if (!AnyReads(body, input)) return true;
  if (store.end >= 0) return false;
  const std::vector<Use> uses = UsesOf(body, passes);
  const auto write = std::find_if(uses.begin(), uses.end(), [&](const Use& u) { return u.order == s; });
  if (write == uses.end()) return false;                     // a sum of columns
  for (size_t e = 0; e < body.exprs.size(); ++e) {
    const Expr& expr = body.exprs[e];
    if (expr.kind != Expr::Kind::kLoad || !Reads(body.operands[expr.operand], input)) continue;
    const Operand& operand = body.operands[expr.operand];
    if (operand.row >= 0 || !operand.bounds.empty() || !operand.pieces.empty() || !SameMap(operand.map, store.operand.map)) return false;
    bool loaded = false, later = false;
    for (const Use& use : uses) {
      if (!Needs(body, use.exprs, !passes)[e]) continue;
      if (use.pass > write->pass) return false;
      if (use.pass < write->pass) continue;
      (use.order <= s ? loaded : later) = true;
    }
    if (later && !loaded) return false;
  }
  return true;
}

bool StoresInTime(const Body& body, int output, int input, bool passes) {
  for (size_t s = 0; s < body.stores.size(); ++s) {
    if (body.stores[s].operand.arg == output && !ReadsInTime(body, static_cast<int>(s), input, passes)) return false;
  }
  return true;
}

// Whether a kernel that writes argument `output` and reads `input`, the same memory, reads each element before it is written.
bool KeepsInput(const KernelPlan& kernel, int output, int input) {
  if (const auto* loop = std::get_if<LoopPlan>(&kernel.detail)) {
    return StoresInTime(loop->body, output, input, kernel.skeleton == Skeleton::kReduce);
  }
  if (const auto* contract = std::get_if<ContractPlan>(&kernel.detail)) {
    // Operands are read again and again while results are stored; statistics of theirs are stored before the epilogue runs.
    if (AnyReads(contract->a, input) || AnyReads(contract->b, input)) return false;
    const std::optional<RowMoments>& moments = contract->moments;
    if (AnyStores(contract->a, output) || (moments && (moments->sums.arg == output || moments->squares.arg == output))) return false;
    return StoresInTime(contract->epilogue, output, input, /*passes=*/false);
  }
  return false;
}

}  // namespace

std::optional<std::string> FindOverwritten(const Program& program) {
  for (const KernelPlan& kernel : program.kernels) {
    for (size_t output = 0; output < kernel.args.size(); ++output) {
      const Program::Buffer& buffer = program.buffers[kernel.args[output].buffer];
      if (!kernel.args[output].written || buffer.alias < 0) continue;
      for (size_t input = 0; input < kernel.args.size(); ++input) {
        if (kernel.args[input].buffer != buffer.alias) continue;
        if (!KeepsInput(kernel, static_cast<int>(output), static_cast<int>(input))) return buffer.name;
      }
    }
  }
  return std::nullopt;
}

}  // namespace athanor
