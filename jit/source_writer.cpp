#include "jit/source_writer.h"

#include <cctype>

#include "ops/error.h"

namespace athanor {

void SourceWriter::AddLine(std::string_view line) { text_.append(2 * depth_, ' ').append(line).push_back('\n'); }

void SourceWriter::OpenBlock() {
  AddLine("{");
  ++depth_;
}

void SourceWriter::Close(std::string_view after) {
  ATHANOR_CHECK(depth_ > 0);
  for (; !definitions_.empty() && definitions_.back().depth == depth_; definitions_.pop_back()) {
    const Definition& last = definitions_.back();
    if (!IsUsed(last)) text_.erase(last.begin, last.end - last.begin);
  }
  --depth_;
  AddLine(fmt::format("}}{}", after));
}

bool SourceWriter::IsUsed(const Definition& definition) const {
  const auto in_name = [&](size_t at) { return at < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at])) || text_[at] == '_'); };
  const std::string& name = definition.name;
  for (size_t at = definition.end; (at = text_.find(name, at)) != std::string::npos; at += name.size()) {
    if (!in_name(at - 1) && !in_name(at + name.size())) return true;
  }
  return false;
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
