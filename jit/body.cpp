#include "jit/body.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

namespace athanor {
namespace {

uint32_t MapVaries(const Layout& map) {
  uint32_t dims = 0;
  for (int d = 0; d < map.rank(); ++d) {
    for (const Digit& digit : map.dim(d)) {
      if (digit.extent != 1 && digit.stride != 0) dims |= 1u << d;
    }
  }
  return dims;
}

std::string ToString(const Expr& expr) {
  switch (expr.kind) {
    case Expr::Kind::kConstant:
      return fmt::format("constant {}", expr.value);
    case Expr::Kind::kLoad:
      return fmt::format("load o{}", expr.operand);
    case Expr::Kind::kIndex:
      return fmt::format("index {}", expr.dim);
    case Expr::Kind::kAccumulator:
      return "accumulator";
    case Expr::Kind::kReduce:
      return fmt::format("reduce {} e{} axes {}", Name(expr.fn), expr.args[0], expr.axes);
    case Expr::Kind::kApply:
      break;
  }
  std::string text(Name(expr.fn));
  for (int i = 0; i < Arity(expr.fn); ++i) text += fmt::format(" e{}", expr.args[i]);
  return text;
}

}  // namespace

std::vector<uint32_t> Body::Varies() const {
  std::vector<uint32_t> varies(exprs.size(), 0);
  for (size_t e = 0; e < exprs.size(); ++e) {
    const Expr& expr = exprs[e];
    switch (expr.kind) {
      case Expr::Kind::kConstant:
        break;
      case Expr::Kind::kLoad:
        varies[e] = Varies(operands[expr.operand], varies);
        break;
      case Expr::Kind::kIndex:
        varies[e] = 1u << expr.dim;
        break;
      case Expr::Kind::kAccumulator:
        varies[e] = (1u << rank()) - 1;
        break;
      case Expr::Kind::kReduce:
        varies[e] = varies[expr.args[0]] & ~expr.axes;
        break;
      case Expr::Kind::kApply:
        for (int i = 0; i < Arity(expr.fn); ++i) varies[e] |= varies[expr.args[i]];
        break;
    }
  }
  return varies;
}

uint32_t Body::Varies(int expr) const { return Varies()[expr]; }

uint32_t Body::Varies(const Operand& operand, const std::vector<uint32_t>& varies) {
  uint32_t dims = 0;
  operand.ForEachMap([&](const Layout& map) { dims |= MapVaries(map); });
  return dims | (operand.row >= 0 ? varies[operand.row] : 0);
}

std::string ToString(const Operand& operand) {
  std::string text = fmt::format("arg{} {}", operand.arg, ToString(operand.map));
  if (operand.row >= 0) text += fmt::format(" + e{} * {} of {}", operand.row, operand.row_stride, operand.row_count);
  for (const Bound& bound : operand.bounds) text += fmt::format(" if 0 <= {} < {}", ToString(bound.coordinate), bound.extent);
  if (!operand.bounds.empty()) text += fmt::format(" else {}", operand.fill);
  for (const Piece& piece : operand.pieces) {
    text += fmt::format(", arg{} {} where {} >= {}", piece.arg, ToString(piece.map), ToString(operand.coordinate), piece.begin);
  }
  return text;
}

std::string ToString(const Body& body) {
  std::string text = fmt::format("extents [{}]\n", fmt::join(body.extents, " "));
  for (size_t i = 0; i < body.operands.size(); ++i) text += fmt::format("o{}: {}\n", i, ToString(body.operands[i]));
  for (size_t i = 0; i < body.exprs.size(); ++i) {
    text += fmt::format("e{}: {} {}\n", i, Name(body.exprs[i].dtype), ToString(body.exprs[i]));
  }
  for (const Store& store : body.stores) {
    text += fmt::format("store e{} -> {}", store.expr, ToString(store.operand));
    if (store.end >= 0) text += fmt::format(" [{}, {})", store.begin, store.end);
    text += store.along < 0 ? "\n" : fmt::format(" along {}\n", store.along);
  }
  return text;
}

}  // namespace athanor
