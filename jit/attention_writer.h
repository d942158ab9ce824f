#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "jit/attention_rows.h"
#include "jit/body_emitter.h"
#include "jit/kernel_source.h"
#include "jit/microkernel.h"
#include "jit/plan.h"
#include "jit/prelude.h"
#include "jit/schedule.h"
#include "jit/source_writer.h"

namespace athanor {

// What the forward and the backward of attention share: block products over micro-kernels, transposed packing, scratch.
//
// Scores are kept transposed, S^T[key][query], so that the softmax statistics of a query are lanes: no sum across a vector is
// ever taken. Queries (and dO in the backward) are the only operands that are transposed; K, V, Q and dO are read in place as
// the row operand of the other products, and P^T and dS^T serve as the broadcast operand in either direction.
class AttentionWriter {
 public:
  AttentionWriter(const KernelPlan& plan, const AttentionSchedule& schedule, const CpuTarget& cpu);

 protected:
  // A block product: C[rows, columns] (+)= A[rows, steps] * B[steps, columns], in tiles. Texts are C++ expressions; `rows` and
  // `columns` are constants. columns past the last whole vector of B must be readable unless `b_tail` masks them.
  struct Product {
    int64_t rows, columns;
    int mr, nv;
    int64_t a_row, a_step, b_step, c_row;
    bool mask_b = false;                                     // columns end where B's memory does
    std::string a, b, c;                                     // pointers at row 0, step 0, column 0
    std::string steps, first;                                // number of steps; whether C is overwritten
    // Causal: tiles for which the condition (over `i`, the row, and `j`, the column of the tile) does not hold are left out, and the
    // steps run from `from` to `to` (over `i` and `j` as well; empty: 0 and `steps`).
    std::string condition, from, to;
  };
  // Writes the micro-kernels that a product needs, before the function that uses it.
  void Prepare(const Product& product);
  void Write(const Product& product);

  // "static void pack_NAME(const T* x, T* to)": to[d][i] = x[i][d] * factor for `rows` rows of `depth` elements, `row` apart; rows past
  // the last are zero.
  void WriteTransposedPacking(const std::string& name, int64_t row, int64_t rows, int64_t depth, double factor);

  int64_t PlaceScratch(int64_t elements);                    // byte offset
  std::string Scratch(int64_t offset) const { return fmt::format("({}*)(scratch + {})", type_, offset); }
  // A row-wise loop over whole vectors and a masked rest of `extent` elements: body(at, live).
  template <typename F>
  void ForVectors(int64_t extent, const F& body) const {
    for (int64_t j = 0; j < extent; j += lanes_) body(j, j + lanes_ <= extent ? int64_t{0} : extent - j);
  }
  std::string LoadText(const std::string& pointer, int64_t live);
  std::string StoreText(const std::string& pointer, const std::string& value, int64_t live);
  // Rows of `from`, `from_row` elements apart, to an output, each times the scalar text `factor` (over `i`; empty: 1).
  void WriteRows(const AttentionRows& to, int64_t rows, int64_t extent, const std::string& from, int64_t from_row,
                 const std::string& factor, const std::string& row_offset);
  std::string Use(const char* helper);                       // asks the prelude; returns the helper's name
  KernelSource Finish(std::vector<KernelSource::Phase> phases);

  // Columns of products over d: as many vectors as a row has, at most 4.
  int OutputVectors(int64_t d) const;
  int RowsFor(int nv) const;                                 // the tallest tile for nv vectors

  const KernelPlan& plan_;
  const AttentionPlan& attention_;
  const AttentionSchedule& schedule_;
  CpuTarget cpu_;
  int lanes_;
  Prelude prelude_;
  SourceWriter out_;
  std::string type_, vector_;
  int64_t queries_;                                          // lq rounded up to whole tiles: the row length of S^T and packed Q
  int64_t scratch_bytes_ = 0;

 private:
  std::string KernelName(const Product& product, bool row_tail, bool column_tail);

  std::vector<Microkernel> kernels_;
};

KernelSource GenerateCppAttentionForward(const KernelPlan& plan, const AttentionSchedule& schedule, const CpuTarget& cpu);
KernelSource GenerateCppAttentionBackward(const KernelPlan& plan, const AttentionSchedule& schedule, const CpuTarget& cpu);

}  // namespace athanor
