#include "jit/contract_operand.h"

#include <algorithm>

#include "ops/error.h"

namespace athanor {
namespace {

constexpr int64_t kShortest = 8;                             // blocks of C below this are not worth transposing

// The largest tensor that an expression reads: its layout decides how the operand is walked.
int MainOperand(const Body& body, int result) {
  std::vector<bool> needed(body.exprs.size());
  needed[result] = true;
  int main = -1;
  size_t most = 0;
  for (int e = result; e >= 0; --e) {
    if (!needed[e]) continue;
    const Expr& expr = body.exprs[e];
    for (int arg : expr.args) {
      if (arg >= 0) needed[arg] = true;
    }
    if (expr.kind != Expr::Kind::kLoad) continue;
    size_t varying = 0;
    for (const Digits& digits : body.operands[expr.operand].map.dims()) varying += FirstStride(digits) != 0;
    if (varying > most) most = varying, main = expr.operand;
  }
  return main;
}

}  // namespace

ContractOperand::ContractOperand(const Body& body, int result, int across, const std::vector<KernelArg>& args)
    : body_(&body), result_(result), main_operand_(MainOperand(body, result)), k_(3 - across) {
  for (const Expr& expr : body.exprs) {
    if (expr.kind == Expr::Kind::kApply) {
      for (int i = 0; i < Arity(expr.fn); ++i) has_statistics_ |= body.exprs[expr.args[i]].kind == Expr::Kind::kReduce;
    }
  }
  same_for_batch_ = body.stores.empty();
  for (uint32_t varies : body.Varies()) same_for_batch_ &= (varies & 1u) == 0;
  if (main_operand_ < 0) return;
  windows_ = WindowCopier::For(body, result, 2, 1, across == 2, args);
  const Layout& map = body.operands[main_operand_].map;
  addressable_ = body.operands[main_operand_].row < 0 && body.operands[main_operand_].bounds.empty();
  across_contiguous_ = !windows_ && FirstStride(map.dim(across)) == 1 && FirstStride(map.dim(k_)) != 1;
  const Expr& expr = body.exprs[result];
  loads_ = expr.kind == Expr::Kind::kLoad && addressable_ && args[body.operands[expr.operand].arg].dtype == expr.dtype;
  plain_ = loads_ && body.operands[main_operand_].pieces.empty();
  in_runs_ = plain_;
  for (int d = 0; d < 3; ++d) {
    const Digits digits = Coalesce(map.dim(d));
    plain_ &= d == 0 || digits.size() <= 1;
    in_runs_ &= d == 0 || digits.size() <= 1 || (d == k_ && digits.size() == 2);
    strides_[d] = digits.empty() ? 0 : digits[0].stride;
    if (d == k_ && digits.size() == 2) run_ = digits[0].extent, run_stride_ = digits[1].stride;
  }
}

bool ContractOperand::in_pieces(int lanes) const {
  if (!loads_ || ValueType(dtype()) != dtype()) return false;
  const Operand& operand = body_->operands[main_operand_];
  const int across = 3 - k_;
  const auto one_stride = [&](const Layout& map) {
    return Coalesce(map.dim(k_)).size() <= 1 && Coalesce(map.dim(across)).size() <= 1 && FirstStride(map.dim(k_)) == strides_[k_] &&
           FirstStride(map.dim(across)) == strides_[across];
  };
  const Layout& at = operand.coordinate;
  const bool by_vectors = !operand.pieces.empty() && at.offset() % lanes == 0 && FirstStride(at.dim(across)) == 1 && Coalesce(at.dim(across)).size() == 1 &&
                          FirstStride(at.dim(0)) == 0 && FirstStride(at.dim(k_)) == 0;
  return by_vectors && one_stride(operand.map) &&
         std::all_of(operand.pieces.begin(), operand.pieces.end(), [&](const Piece& piece) { return piece.begin % lanes == 0 && one_stride(piece.map); });
}

bool StoresAlongRows(const ContractPlan& contract) {
  const std::vector<Store>& stores = contract.epilogue.stores;
  return contract.m >= kShortest && contract.n >= kShortest && std::all_of(stores.begin(), stores.end(), [](const Store& store) {
    return !store.HasRange(1, 3) && FirstStride(store.operand.map.dim(1)) == 1 && FirstStride(store.operand.map.dim(2)) != 1;
  });
}

std::string ContractOperand::Base(const std::string& batch) const {
  ATHANOR_CHECK(plain_ || in_runs_);
  const Operand& operand = body_->operands[main_operand_];
  std::string text = fmt::format("a{}", operand.arg);
  if (operand.map.offset() != 0) text += fmt::format(" + {}", operand.map.offset());
  int64_t below = 1;
  for (const Digit& digit : Coalesce(operand.map.dim(0))) {
    text += fmt::format(" + {} / {} % {} * {}", batch, below, digit.extent, digit.stride);
    below *= digit.extent;
  }
  return text;
}

}  // namespace athanor
