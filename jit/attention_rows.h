#pragma once

#include <cstdint>
#include <string>

#include "jit/plan.h"
#include "jit/source_writer.h"

namespace athanor {

// One operand of attention for one batch and head: rows of elements. Operands whose rows lie a constant stride apart, with unit
// stride inside, are used in place; any other access map is copied to or from scratch element by element.
class AttentionRows {
 public:
  // `name` of the pointer variable; `extent` elements a row.
  AttentionRows(std::string name, const Operand& operand, int64_t rows, int64_t extent, DType dtype);

  const std::string& name() const { return name_; }
  bool in_place() const { return in_place_; }
  int64_t extent() const { return extent_; }
  int64_t stride() const { return in_place_ ? stride_ : extent_; }
  int64_t scratch_elements() const { return in_place_ ? 0 : rows_ * extent_; }
  // Defines the pointer of an operand that is read: into memory, or to `scratch`, filled first.
  void DefineInput(const std::string& batch, const std::string& head, const std::string& scratch, SourceWriter* out) const;
  // Defines the pointer of one that is written, in_place() only.
  void DefineOutput(const std::string& batch, const std::string& head, SourceWriter* out) const;
  // The address of a head's rows, in_place() only.
  std::string Base(const std::string& batch, const std::string& head) const;
  // "(address)[element]" of row i, element j.
  std::string Element(const std::string& batch, const std::string& head, const std::string& i, const std::string& j) const;

 private:
  std::string name_;
  const Operand* operand_;
  int64_t rows_, extent_;
  std::string type_;
  bool in_place_ = false;
  int64_t stride_ = 0;
};

// The address of an index in digits, as C++ text: "i / 4 % 3 * 64".
std::string DigitsText(const Digits& digits, const std::string& index);

}  // namespace athanor
