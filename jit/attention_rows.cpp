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

AttentionRows::AttentionRows(std::string name, const KernelPlan& plan, const Operand& operand, int64_t rows, int64_t extent,
                             DType dtype, bool pairs)
    : name_(std::move(name)), operand_(&operand), rows_(rows), extent_(extent), dtype_(dtype), memory_(dtype), pairs_(pairs) {
  if (operand.map.rank() != 4) return;  // an operand that this kernel does not have
  memory_ = plan.args[operand.arg].dtype;
  const Digits row = Coalesce(operand.map.dim(2)), element = Coalesce(operand.map.dim(3));
  linear_ = row.size() <= 1 && (element.empty() || (element.size() == 1 && element[0].stride == 1));
  stride_ = row.empty() ? extent : row[0].stride;
}

std::string AttentionRows::Base(const std::string& batch, const std::string& head) const {
  return fmt::format("a{} + {} + {} + {}", operand_->arg, operand_->map.offset(), DigitsText(operand_->map.dim(0), batch),
                     DigitsText(operand_->map.dim(1), head));
}

void AttentionRows::DefineMemory(const std::string& batch, const std::string& head, SourceWriter* out) const {
  out->Line("auto* const {}{} = {};", name_, in_place() ? "" : "_memory", Base(batch, head));
}

void AttentionRows::DefineInput(const std::string& batch, const std::string& head, const std::string& scratch, Prelude* prelude,
                                SourceWriter* out) const {
  if (pairs_) return DefinePairs(batch, head, scratch, out);
  if (in_place()) return DefineMemory(batch, head, out);
  out->Line("{}* const {} = {};", ScalarType(dtype_), name_, scratch);
  if (!linear_) {
    out->Open("for (long i = 0; i < {}; ++i)", rows_);
    out->Line("for (long j = 0; j < {0}; ++j) {1}[i * {0} + j] = {2};", extent_, name_, Element(batch, head, "i", "j", prelude));
    out->Close();
    return;
  }
  DefineMemory(batch, head, out);
  for (const char* helper : {"store", "tail"}) prelude->Use(helper, dtype_);
  out->Open("for (long i = 0; i < {}; ++i)", rows_);
  for (int64_t j = 0; j < extent_; j += prelude->lanes()) {
    const int64_t live = j + prelude->lanes() <= extent_ ? 0 : extent_ - j;
    const std::string value = Load(fmt::format("{}_memory + i * {} + {}", name_, stride_, j), live, prelude);
    const std::string to = fmt::format("{} + i * {} + {}", name_, extent_, j);
    if (live) {
      out->Line("store_tail({}, {}, {});", to, value, live);
    } else {
      out->Line("store({}, {});", to, value);
    }
  }
  out->Close();
}

void AttentionRows::DefinePairs(const std::string& batch, const std::string& head, const std::string& scratch,
                                SourceWriter* out) const {
  if (in_place()) {
    out->Line("auto* const {} = (const int*)({});", name_, Base(batch, head));
    return;
  }
  out->Line("auto* const {} = (int*)({});", name_, scratch);
  out->Open("for (long i = 0; i < {}; ++i)", rows_);
  out->Line("auto* const row = (unsigned short*)({} + i * {});", name_, stride());
  out->Line("for (long j = 0; j < {}; ++j) row[j] = {};", extent_, Place(batch, head, "i", "j"));
  if (extent_ % 2 != 0) out->Line("row[{}] = 0;", extent_);
  out->Close();
}

std::string AttentionRows::Values(const std::string& row, int64_t j, int64_t live, Prelude* prelude) const {
  if (pairs_) return Load(fmt::format("(const unsigned short*){} + {}", row, j), live, prelude);
  prelude->Use(live ? "tail" : "load", dtype_);
  return live ? fmt::format("load_tail({} + {}, {})", row, j, live) : fmt::format("load({} + {})", row, j);
}

std::string AttentionRows::Load(const std::string& pointer, int64_t live, Prelude* prelude) const {
  if (narrow()) {
    prelude->Use(Name(memory_));
  } else {
    prelude->Use(live ? "tail" : "load", dtype_);
  }
  const std::string suffix = MemorySuffix(memory_);
  return live ? fmt::format("load{}_tail({}, {})", suffix, pointer, live) : fmt::format("load{}({})", suffix, pointer);
}

std::string AttentionRows::Store(const std::string& pointer, const std::string& value, int64_t live, Prelude* prelude) const {
  if (narrow()) {
    prelude->Use(Name(memory_));
  } else {
    prelude->Use(live ? "tail" : "store", dtype_);
  }
  const std::string suffix = MemorySuffix(memory_);
  return live ? fmt::format("store{}_tail({}, {}, {});", suffix, pointer, value, live)
              : fmt::format("store{}({}, {});", suffix, pointer, value);
}

std::string AttentionRows::Place(const std::string& batch, const std::string& head, const std::string& i,
                                 const std::string& j) const {
  return fmt::format("({})[{} + {}]", Base(batch, head), DigitsText(operand_->map.dim(2), i),
                     DigitsText(operand_->map.dim(3), j));
}

std::string AttentionRows::Element(const std::string& batch, const std::string& head, const std::string& i, const std::string& j,
                                   Prelude* prelude) const {
  if (!narrow()) return Place(batch, head, i, j);
  prelude->Use(Name(memory_));
  return fmt::format("{}_value({})", Name(memory_), Place(batch, head, i, j));
}

std::string AttentionRows::Assign(const std::string& batch, const std::string& head, const std::string& i, const std::string& j,
                                  const std::string& value, Prelude* prelude) const {
  if (!narrow()) return fmt::format("{} = {};", Place(batch, head, i, j), value);
  prelude->Use(Name(memory_));
  return fmt::format("{} = {}_bits({});", Place(batch, head, i, j), Name(memory_), value);
}

}  // namespace athanor
