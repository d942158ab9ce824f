#pragma once

#include <string>
#include <string_view>

#include "jit/kernel_source.h"
#include "jit/loop_writer.h"
#include "jit/plan.h"
#include "jit/prelude.h"
#include "jit/sizes.h"
#include "jit/source_writer.h"

namespace athanor {

// Writes how a contraction takes the moments of its rows (ContractPlan::moments): the epilogue those of the columns that it stores, and a phase merges these
// parts; or, for schedules whose epilogue sees a row in short pieces, that phase reads the rows again, for the mean and then for the distances from
// it. A part is summed once, with its first element subtracted, which errs by at most its length times the rounding of a sum of squares (and
// by little more than that rounding where the element is like the others); parts are merged by their means. Both are from Chan, Golub and LeVeque, "Algorithms for computing the
// sample variance" (1983).
class ContractMoments {
 public:
  // How the epilogue sees a row: in blocks of columns, each in strips; the last ones have what is left. 0: in short pieces.
  struct Parts {
    int64_t block = 0, strip = 0;
  };
  // Where the plan has no moments nothing is ever written.
  ContractMoments(const KernelPlan& plan, const Parts& parts, Prelude* prelude, SourceWriter* out);

  // The temporary that holds the parts, behind those that the kernel has already.
  void PlaceParts(KernelSource* source);

  bool by_parts() const { return contract_.moments.has_value() && parts_.block > 0; }
  // For the epilogue, which is a routine, where moments are taken by parts. BeginParts: before its loop over rows. BeginPart and EndPart: around the loop
  // over columns [n0, n1), a strip, of row `m` of batch `b` that stores them; `loops` loops over the epilogue's body, of `emitter`.
  void BeginParts(Sizes* sizes, SourceWriter* out);
  void BeginPart(LoopWriter* loops, BodyEmitter* emitter, SourceWriter* out);
  void EndPart(Sizes* sizes, SourceWriter* out);

  void WritePhase(KernelSource* source);

 private:
  // Rounded as its store rounds it.
  std::string AsStored(const std::string& value) const;
  // Sums and squares are vectors, one for each chain. Adds a term to one, of the first `live` lanes (all if empty).
  void DeclareSums(SourceWriter* out);
  void Add(const std::string& sums, int chain, const std::string& term, const std::string& live, SourceWriter* out);
  static std::string Total(const std::string& sums);
  void WriteMerge();
  void WriteRow();

  const KernelPlan& plan_;
  const ContractPlan& contract_;
  Parts parts_;
  int64_t block_parts_ = 1, row_parts_ = 1;
  std::string_view type_, vector_;
  int parts_arg_ = -1;
  Prelude* prelude_;
  SourceWriter* out_;
};

}  // namespace athanor
