#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "jit/body_emitter.h"
#include "jit/plan.h"
#include "jit/window_copier.h"
#include "jit/schedule.h"

namespace athanor {

// One operand of a contraction, A over [batch, m, k] or B over [batch, k, n], as the generator sees it.
class ContractOperand {
 public:
  // `across`: the dimension that is not k (1 for A, 2 for B).
  ContractOperand(const Body& body, int result, int across, const std::vector<KernelArg>& args);

  const Body& body() const { return *body_; }
  int result() const { return result_; }
  // A plain load of the accumulator's dtype, with one stride along each dimension: usable where it lies.
  bool in_place() const { return plain_ && ValueType(dtype()) == dtype(); }
  // The same, but along k in runs of so many steps, `run_stride` elements apart: usable where it lies, or in pairs of k, for blocks of k within a run.
  // 0: not so.
  int64_t run(bool pairs) const {
    const bool usable = pairs ? PairsLieTogether() && run_ % 2 == 0 && run_stride_ % 2 == 0 : ValueType(dtype()) == dtype();
    return in_runs_ && usable ? run_ : 0;
  }
  int64_t run_stride() const { return run_stride_; }
  // The same, but across in pieces of one stride, each of so many whole vectors.
  bool in_pieces(int lanes) const;
  // A bf16 value: may be used as pairs of k. Whether it needs no rounding, and whether its pairs may be used where they lie.
  bool halves() const { return dtype() == DType::kBF16; }
  bool exact_halves() const { return halves() && body_->exprs[result_].kind == Expr::Kind::kLoad; }
  bool pairs_in_place() const { return plain_ && PairsLieTogether() && body_->extents[k_] % 2 == 0; }
  // Its main tensor has unit stride across (along m or n), not along k.
  bool across_contiguous() const { return across_contiguous_; }
  // Reductions over k whose value the operand itself needs (a normalisation's statistics).
  bool has_statistics() const { return has_statistics_; }
  // Its main tensor, where that is addressed by indices alone; else null.
  const Operand* main() const { return addressable_ ? &body_->operands[main_operand_] : nullptr; }
  bool has_stores() const { return !body_->stores.empty(); }
  // An access map that is copied in runs of pixels.
  const std::optional<WindowCopier>& windows() const { return windows_; }
  bool same_for_batch() const { return same_for_batch_; }
  // As A: packed in panels along m. As A: may be packed by parts of k.
  bool panels() const { return across_contiguous_ && !has_statistics_; }
  bool by_parts() const { return panels() || (windows_ && !has_statistics_ && !has_stores()); }
  int64_t stride(int dim) const { return strides_[dim]; }    // elements; in place or in runs only
  // "a3 + offset of batch b", the same.
  std::string Base(const std::string& batch) const;

 private:
  bool PairsLieTogether() const { return halves() && strides_[k_] == 1 && strides_[3 - k_] % 2 == 0; }
  DType dtype() const { return body_->exprs[result_].dtype; }

  const Body* body_;
  int result_;
  int main_operand_ = -1;
  std::optional<WindowCopier> windows_;
  bool same_for_batch_ = true;
  int k_;                                                    // the dimension
  bool loads_ = false;                                       // nothing but an element, of the accumulator's dtype
  bool plain_ = false, in_runs_ = false, across_contiguous_ = false, has_statistics_ = false, addressable_ = false;
  int64_t strides_[3] = {};
  int64_t run_ = 0, run_stride_ = 0;
};

// The results lie contiguously along m, not along n: the epilogue transposes blocks of C, so that it stores whole vectors.
bool StoresAlongRows(const ContractPlan& contract);

}  // namespace athanor
