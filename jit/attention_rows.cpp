#include "jit/attention_rows.h"

#include "jit/prelude.h"

namespace athanor {

std::string DigitsText(const Digits& digits, const std::string& index) {
  std::string text;
  const Digits simple = Coalesce(digits);
  int64_t below = 1;
  for (size_t i = 0; i < simple.size(); ++i) {
    std::string digit = below == 1 ? index : fmt::format("{} / {}", index, below);
    if (i + 1 < simple.size()) digit += fmt::format(" % {}", simple[i].extent);
    if (simple[i].stride != 1) digit += fmt::format(" * {}", simple[i].stride);
    if (simple[i].stride != 0) text += (text.empty() ? "" : " + ") + digit;
    below *= simple[i].extent;
  }
  return text.empty() ? "0" : text;
}

AttentionRows::AttentionRows(std::string name, const Operand& operand, int64_t rows, int64_t extent, DType dtype)
    : name_(std::move(name)), operand_(&operand), rows_(rows), extent_(extent), type_(ScalarType(dtype)) {
  const Digits row = Coalesce(operand.map.dim(2)), element = Coalesce(operand.map.dim(3));
  in_place_ = row.size() <= 1 && (element.empty() || (element.size() == 1 && element[0].stride == 1));
  stride_ = row.empty() ? extent : row[0].stride;
}

std::string AttentionRows::Base(const std::string& batch, const std::string& head) const {
  return fmt::format("a{} + {} + {} + {}", operand_->arg, operand_->map.offset(), DigitsText(operand_->map.dim(0), batch),
                     DigitsText(operand_->map.dim(1), head));
}

void AttentionRows::DefineInput(const std::string& batch, const std::string& head, const std::string& scratch, SourceWriter* out) const {
  if (in_place_) {
    out->Line("const {}* const {} = {};", type_, name_, Base(batch, head));
    return;
  }
  out->Line("{}* const {} = {};", type_, name_, scratch);
  out->Open("for (long i = 0; i < {}; ++i)", rows_);
  out->Line("for (long j = 0; j < {0}; ++j) {1}[i * {0} + j] = {2};", extent_, name_, Element(batch, head, "i", "j"));
  out->Close();
}

void AttentionRows::DefineOutput(const std::string& batch, const std::string& head, SourceWriter* out) const {
  if (in_place_) out->Line("{}* const {} = {};", type_, name_, Base(batch, head));
}

std::string AttentionRows::Element(const std::string& batch, const std::string& head, const std::string& i, const std::string& j) const {
  return fmt::format("({})[{} + {}]", Base(batch, head), DigitsText(operand_->map.dim(2), i), DigitsText(operand_->map.dim(3), j));
}

}  // namespace athanor
