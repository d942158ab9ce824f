#include "jit/iteration_space.h"

#include <algorithm>

#include "ops/error.h"

namespace athanor {
namespace {

// Extents, least significant first, into which dimension `d` falls apart; itself where the maps' digits do not nest.
std::vector<int64_t> PiecesOf(const Body& body, int d) {
  std::vector<Digits> functions;
  const auto add = [&](const Layout& map) { functions.push_back(map.dim(d)); };
  for (const Operand& operand : body.operands) operand.ForEachMap(add);
  for (const Store& store : body.stores) store.operand.ForEachMap(add);
  return CommonRadix(functions).value_or(std::vector<int64_t>{body.extents[d]});
}

}  // namespace

Body SplitDigits(const Body& body) {
  if (std::any_of(body.extents.begin(), body.extents.end(), [](int64_t e) { return e == 0; })) return body;
  for (const Store& store : body.stores) {
    if (store.end >= 0) return body;                         // ranges refer to the last dimension as it is
  }
  std::vector<std::vector<int64_t>> pieces;
  std::vector<uint32_t> masks;                               // new dimensions of each old one
  Body result = body;
  result.extents.clear();
  for (int d = 0; d < body.rank(); ++d) {
    pieces.push_back(PiecesOf(body, d));
    const int first = static_cast<int>(result.extents.size());
    result.extents.insert(result.extents.end(), pieces[d].rbegin(), pieces[d].rend());
    masks.push_back(((1u << pieces[d].size()) - 1) << first);
  }
  ATHANOR_CHECK(result.extents.size() <= 32);
  const auto split = [&](Layout& map) { map = map.Split(pieces); };
  for (Operand& operand : result.operands) operand.ForEachMap(split);
  for (Store& store : result.stores) store.operand.ForEachMap(split);
  for (Expr& expr : result.exprs) {
    if (expr.kind == Expr::Kind::kIndex && pieces[expr.dim].size() > 1) return body;
    if (expr.kind == Expr::Kind::kIndex) {
      int first = 0;
      for (int d = 0; d < expr.dim; ++d) first += static_cast<int>(pieces[d].size());
      expr.dim = first;
    }
    uint32_t axes = 0;
    for (int d = 0; d < body.rank(); ++d) axes |= (expr.axes >> d & 1) ? masks[d] : 0;
    expr.axes = axes;
  }
  return result;
}

}  // namespace athanor
