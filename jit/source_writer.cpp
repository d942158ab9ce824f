#include "jit/source_writer.h"

#include "ops/error.h"

namespace athanor {

void SourceWriter::AddLine(std::string_view line) { text_.append(2 * depth_, ' ').append(line).push_back('\n'); }

void SourceWriter::OpenBlock() {
  AddLine("{");
  ++depth_;
}

void SourceWriter::Close(std::string_view after) {
  ATHANOR_CHECK(depth_ > 0);
  --depth_;
  AddLine(fmt::format("}}{}", after));
}

void SourceWriter::Comment(std::string_view text) {
  constexpr size_t kWidth = 110;
  while (text.size() > kWidth) {
    size_t cut = text.rfind(' ', kWidth);
    if (cut == std::string_view::npos || cut == 0) cut = kWidth;
    Line("// {}", text.substr(0, cut));
    text.remove_prefix(cut);
    if (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  }
  Line("// {}", text);
}

void SourceWriter::Unroll() { AddLine("#pragma clang loop unroll(full)"); }

void SourceWriter::Blank() {
  if (!text_.ends_with("\n\n")) text_.push_back('\n');
}

void SourceWriter::Raw(std::string_view text) { text_.append(text); }

}  // namespace athanor
