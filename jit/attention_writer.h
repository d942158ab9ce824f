#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "jit/attention_rows.h"
#include "jit/body_emitter.h"
#include "jit/kernel_source.h"
#include "jit/microkernel.h"
#include "jit/plan.h"
#include "jit/prelude.h"
#include "jit/schedule.h"
#include "jit/sizes.h"
#include "jit/source_writer.h"

namespace athanor {

// What the forward and the backward of attention share: block products over micro-kernels, transposed packing, scratch.
//
// Scores are kept transposed, S^T[key][query], so that the softmax statistics of a query are lanes: no sum across a vector is
// ever taken. Queries (and dO in the backward) are the only operands that are transposed; K, V, Q and dO are read in place as
// the row operand of the other products, and P^T and dS^T serve as the broadcast operand in either direction.
//
// With `pairs` of a schedule, products take bf16 in pairs of steps, as ints: rows in pairs along their extent are what memory holds,
// pairs of rows are zipped beforehand, and P^T and dS^T are rounded behind the softmax, in pairs along the direction summed over.
class AttentionWriter {
 public:
  AttentionWriter(const KernelPlan& plan, const AttentionSchedule& schedule, const CpuTarget& cpu);

 protected:
  // Rows of the next head that a product fetches into the cache while it computes: row i of the product, row i here.
  struct Ahead {
    std::string pointer;
    int64_t stride, extent, element_bytes;
  };
  // A block product: C[rows, columns] (+)= A[rows, steps] * B[steps, columns], in tiles of rows that differ in height by one at
  // most. Texts are C++ expressions; `rows` and `columns` are constants. Columns past the last whole vector of B must be readable
  // unless `mask_b` is set.
  struct Product {
    int64_t rows, columns;
    int mr, nv;
    int64_t a_row, a_step, b_step, c_row;
    bool mask_b = false;       // columns end where B's memory does
    std::string a, b, c;       // pointers at row 0, step 0, column 0
    std::string steps, first;  // number of steps; whether C is overwritten
    // Where scores have a band, over `i` and `last`, the first and the last row of a tile: the steps run from `from` to `to`, and
    // a tile without steps is left out unless it is the first; columns are those of whole vectors in [column_from, column_to).
    // Empty: all.
    std::string from, to, column_from, column_to;
    std::string condition;     // row tiles for which it does not hold are left out
    std::vector<Ahead> ahead;  // fetched row by row on the way
  };
  // Writes what computes between the products as a function of its own: the one that has the products only calls, and is compiled quickly
  // (jit/clang/backend.cpp). One that calls nothing but the prelude is `shared` as a routine. `body` may use Size().
  struct Function {
    std::string name, numbers;                               // a call: "name(arguments" + numbers + ")"
  };
  Function WriteFunction(std::string_view name, std::string_view comment, std::string_view parameters, bool shared, const std::function<void()>& body);
  // A number as C++ text, in a function of its own an argument of that name.
  std::string Size(std::string_view name, int64_t value) const { return sizes_ != nullptr ? sizes_->Named(name, value) : std::to_string(value); }

  // Writes the micro-kernels that a product needs, before the function that uses it.
  void Prepare(const Product& product);
  void Write(const Product& product);

  // The band of scores in absolute numbers, as C++ text: the first key that a query may see and the one behind the last, the same
  // for the queries that see a key. `key` and `query` are texts.
  std::string Keys() const { return ragged() ? "live" : Size("keys", attention_.lk); }  // how many a sequence has
  std::string FirstKey(const std::string& query) const;
  std::string EndKey(const std::string& query) const;
  std::string FirstQuery(const std::string& key) const;
  std::string EndQuery(const std::string& key) const;
  bool pairs() const { return schedule_.pairs; }
  // Steps of a product as elements: a number, and the bounds of a range as C++ text, none of which is negative.
  int64_t Steps(int64_t steps) const { return pairs() ? (steps + 1) / 2 : steps; }
  std::string FirstStep(const std::string& begin) const { return pairs() ? fmt::format("({}) / 2", begin) : begin; }
  std::string EndStep(const std::string& end) const { return pairs() ? fmt::format("({} + 1) / 2", end) : end; }
  bool drops() const { return attention_.dropout_p > 0; }
  bool ragged() const { return attention_.lengths.arg >= 0; }
  bool banded() const { return attention_.left >= 0 || attention_.right >= 0 || ragged(); }
  bool masked() const { return attention_.mask.arg >= 0; }
  // Whether there may be a query that sees no key.
  bool may_see_nothing() const { return masked() || ragged() || attention_.left >= 0; }
  // Defines for the vector of queries from `query` on, relative to key `origin` and within [0, keys): [low, high), keys that any
  // of them sees, and [all_low, all_high) inside, keys that all of them see.
  void WriteKeyRanges(const std::string& query, const std::string& origin, const std::string& keys);
  // Scores are kept as Q K^T, or scaled where there is a mask or the scale is not positive; P = 2^(factor * score - base), the
  // products by the scale and by log2(e) in one.
  double QueryFactor() const { return !masked() && attention_.scale <= 0 ? attention_.scale : 1; }
  double ExponentFactor() const;
  // Three loops over [low, high), of which the middle one needs no mask: body(masked). The mask of lanes that do not see `key`:
  void ForKeys(const std::function<void(bool)>& body);
  std::string Unseen(const std::string& query, const std::string& origin) const;
  // `add_mask`, `drop` and `store_mask_gradient`, as far as the plan needs them, and what UseBandHelpers() asks the prelude for.
  void WriteHelpers();
  void UseBandHelpers();
  void DefineLive();  // `live`, how many keys sequence b has

  // Writes to[d][i] = from[i][d] * factor for `rows` rows of `depth` elements, `row` apart; the last vector of rows is filled with zeros. Of pairs,
  // elements are ints and the factor is 1.
  void WriteTransposedPacking(const std::string& from, int64_t row, int64_t rows, int64_t depth, double factor, const std::string& to);

  // "static void zip_NAME(const int* x, int* to, long rows)": to[i / 2] = rows i and i + 1 of x, of `depth` ints, `row` apart, in
  // turns; behind an odd number of rows the upper half is zero, and so is what lies behind the last column.
  void WriteZipping(const std::string& name, int64_t row, int64_t depth);
  int64_t ZippedRow(int64_t extent) const;  // ints from one pair of rows to the next, whose extent is given in bf16

  int64_t PlaceScratch(int64_t elements);  // byte offset
  std::string Scratch(int64_t offset) const { return fmt::format("({}*)(scratch + {})", type_, offset); }
  // What products read: T or, of pairs, ints.
  std::string Packed(int64_t offset) const { return fmt::format("({}*)(scratch + {})", ScalarType(packed()), offset); }
  DType packed() const { return pairs() ? DType::kI32 : attention_.dtype; }
  // A row-wise loop over whole vectors and a masked rest of `extent` elements: body(at, live).
  template <typename F>
  void ForVectors(int64_t extent, const F& body) const {
    for (int64_t j = 0; j < extent; j += lanes_) body(j, j + lanes_ <= extent ? int64_t{0} : extent - j);
  }
  std::string LoadText(const std::string& pointer, int64_t live);
  // Rows of results on their way to an output, each times a factor where `scaled`. WriteStoreRows writes a function for them and StoreRows its call; rows
  // that do not lie linearly are stored by the function at hand.
  struct Stored {
    const AttentionRows& rows;
    int64_t count, extent, from_row;                         // elements from row to row of `from`
    bool scaled;
  };
  Function WriteStoreRows(const Stored& stored);
  void StoreRows(const Function& function, const Stored& stored, const std::string& from, const std::string& factors, const std::string& row_offset,
                 const std::string& head = "h");
  std::string Use(const char* helper);  // asks the prelude; returns the helper's name
  KernelSource Finish(std::vector<KernelSource::Phase> phases);

  // Columns of products over d: as many vectors as a row has, at most 4.
  int OutputVectors(int64_t d) const;
  int RowsFor(int nv) const;  // the tallest tile for nv vectors

  const KernelPlan& plan_;
  const AttentionPlan& attention_;
  const AttentionSchedule& schedule_;
  CpuTarget cpu_;
  int lanes_;
  Prelude prelude_;
  SourceWriter out_;
  std::string type_, vector_;
  int64_t ScoreRow(int64_t queries) const;  // elements from one key's scores to the next's
  int64_t queries_;  // the row length of S^T and packed Q
  int64_t scratch_bytes_ = 0;

 private:
  std::string KernelName(const Product& product, int height, int64_t columns);
  void WriteTile(const Product& product, int height, int64_t columns);
  void WriteColumns(const Product& product, int height);
  void WriteAhead(const Product& product, int height);

  std::vector<Microkernel> kernels_;
  Sizes* sizes_ = nullptr;                                   // of the function of its own that is written
  std::map<std::string, std::string> functions_;             // by name, those that are not routines
};

// Rows of zeros around the scores that a band leaves: the tallest tile that reaches past it.
inline constexpr int kTallestTile = 12;

// Forward with so few queries that the work is reading K and V: one query of a decoder against its cache.
KernelSource GenerateCppAttentionDecode(const KernelPlan& plan, const AttentionSchedule& schedule, const CpuTarget& cpu);
inline bool IsDecode(const AttentionPlan& plan) { return !plan.backward && plan.lq <= 4 && plan.dropout_p == 0; }
KernelSource GenerateCppAttentionForward(const KernelPlan& plan, const AttentionSchedule& schedule, const CpuTarget& cpu);
KernelSource GenerateCppAttentionBackward(const KernelPlan& plan, const AttentionSchedule& schedule, const CpuTarget& cpu);

}  // namespace athanor
