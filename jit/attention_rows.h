#pragma once

#include <cstdint>
#include <string>

#include "jit/plan.h"
#include "jit/prelude.h"
#include "jit/source_writer.h"

namespace athanor {

// One operand of attention for one batch and head: rows of elements, of `memory` dtype where they lie and of `dtype` in the
// arithmetic. Rows are linear when they lie a constant stride apart with unit stride inside; linear rows of the dtype of the
// arithmetic are used in place, all others are copied to or from scratch.
//
// Rows of `pairs` are bf16 and stay it: what is defined points to ints, and stride() and scratch_elements() count those. Behind an
// odd extent the upper half is zero.
class AttentionRows {
 public:
  // `name` of the pointer variable; `extent` elements a row.
  AttentionRows(std::string name, const KernelPlan& plan, const Operand& operand, int64_t rows, int64_t extent, DType dtype,
                bool pairs = false);

  const std::string& name() const { return name_; }
  bool linear() const { return linear_; }
  bool in_place() const { return linear_ && (pairs_ ? extent_ % 2 == 0 && stride_ % 2 == 0 : memory_ == dtype_); }
  DType memory() const { return memory_; }
  int64_t rows() const { return rows_; }
  int64_t extent() const { return extent_; }
  int64_t stride() const { return in_place() ? Elements(stride_) : Elements(extent_); }  // of what DefineInput defines
  int64_t memory_stride() const { return stride_; }                                      // of linear rows
  int64_t scratch_elements() const { return in_place() ? 0 : rows_ * Elements(extent_); }
  // Defines the pointer of an operand that is read: into memory, or to `scratch`, filled first.
  void DefineInput(const std::string& batch, const std::string& head, const std::string& scratch, Prelude* prelude,
                   SourceWriter* out) const;
  // Elements from j on of the row at `row`, a pointer as DefineInput defines it, as values; `live` of them, 0: a vector.
  std::string Values(const std::string& row, int64_t j, int64_t live, Prelude* prelude) const;
  // Defines a pointer into memory, linear() only.
  void DefineMemory(const std::string& batch, const std::string& head, SourceWriter* out) const;
  // A vector at `pointer` into memory, and storing one there; `live` lanes of it, 0: all.
  std::string Load(const std::string& pointer, int64_t live, Prelude* prelude) const;
  std::string Store(const std::string& pointer, const std::string& value, int64_t live, Prelude* prelude) const;
  // The address of a head's rows.
  std::string Base(const std::string& batch, const std::string& head) const;
  // The scalar at row i, element j, and its assignment.
  std::string Element(const std::string& batch, const std::string& head, const std::string& i, const std::string& j,
                      Prelude* prelude) const;
  std::string Assign(const std::string& batch, const std::string& head, const std::string& i, const std::string& j,
                     const std::string& value, Prelude* prelude) const;

 private:
  std::string Place(const std::string& batch, const std::string& head, const std::string& i, const std::string& j) const;
  bool narrow() const { return memory_ != dtype_; }
  int64_t Elements(int64_t extent) const { return pairs_ ? (extent + 1) / 2 : extent; }
  void DefinePairs(const std::string& batch, const std::string& head, const std::string& scratch, SourceWriter* out) const;

  std::string name_;
  const Operand* operand_;
  int64_t rows_, extent_;
  DType dtype_, memory_;
  bool pairs_, linear_ = false;
  int64_t stride_ = 0;
};

// The address of an index in digits, as C++ text: "i / 4 % 3 * 64".
std::string DigitsText(const Digits& digits, const std::string& index);

}  // namespace athanor
