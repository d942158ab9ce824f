#include "jit/iteration_space.h"

#include <algorithm>
#include <set>

#include "ops/error.h"

namespace athanor {
namespace {

// Extents, least significant first, into which dimension `d` falls apart.
std::vector<int64_t> PiecesOf(const Body& body, int d) {
  std::set<int64_t> cuts;
  auto add = [&](const Layout& map) {
    int64_t product = 1;
    for (const Digit& digit : Coalesce(map.dim(d))) {
      product *= digit.extent;
      if (product > 1 && product < body.extents[d]) cuts.insert(product);
    }
  };
  for (const Operand& operand : body.operands) operand.ForEachMap(add);
  for (const Store& store : body.stores) add(store.operand.map);
  std::vector<int64_t> pieces;
  int64_t done = 1;
  for (int64_t cut : cuts) {
    if (cut % done == 0 && body.extents[d] % cut == 0) pieces.push_back(cut / done), done = cut;
  }
  pieces.push_back(body.extents[d] / done);
  return pieces;
}

// The digits of [start, start + extent) in the index's mixed radix, or nothing when a digit straddles a boundary.
bool CutDigits(const Digits& digits, const std::vector<int64_t>& pieces, std::vector<Digits>* out) {
  Digits rest = digits;
  size_t next = 0;
  for (int64_t piece : pieces) {
    Digits cut;
    int64_t need = piece;
    while (need > 1) {
      if (next >= rest.size()) return false;
      Digit& digit = rest[next];
      if (digit.extent <= need) {
        if (need % digit.extent) return false;
        need /= digit.extent;
        cut.push_back(digit);
        ++next;
      } else {
        if (digit.extent % need) return false;
        cut.push_back({need, digit.stride});
        digit = {digit.extent / need, digit.stride * need};
        need = 1;
      }
    }
    if (cut.empty()) cut.push_back({1, 0});
    out->push_back(Coalesce(cut).empty() ? Digits{{1, 0}} : Coalesce(cut));
  }
  return true;
}

bool SplitMap(const Layout& map, const std::vector<std::vector<int64_t>>& pieces, Layout* out) {
  std::vector<Digits> dims;
  for (int d = 0; d < map.rank(); ++d) {
    std::vector<Digits> parts;
    if (!CutDigits(Coalesce(map.dim(d)), pieces[d], &parts)) return false;
    dims.insert(dims.end(), parts.rbegin(), parts.rend());
  }
  *out = Layout(map.offset(), std::move(dims));
  return true;
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
  for (Operand& operand : result.operands) {
    bool split = true;
    operand.ForEachMap([&](Layout& map) { split = split && SplitMap(Layout(map), pieces, &map); });
    if (!split) return body;
  }
  for (Store& store : result.stores) {
    if (!SplitMap(Layout(store.operand.map), pieces, &store.operand.map)) return body;
  }
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
