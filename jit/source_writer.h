#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace athanor {

// Builds C-like source text with two-space indentation. Braces are balanced by the caller through Open and Close.
class SourceWriter {
 public:
  // One line at the current indentation.
  template <typename... Args>
  void Line(fmt::format_string<Args...> format, Args&&... args) {
    AddLine(fmt::format(format, std::forward<Args>(args)...));
  }
  // One line that defines `name`. It goes when the block ends without another use of the name.
  template <typename... Args>
  void Define(std::string_view name, fmt::format_string<Args...> format, Args&&... args) {
    const size_t begin = text_.size();
    AddLine(fmt::format(format, std::forward<Args>(args)...));
    definitions_.push_back({std::string(name), depth_, begin, text_.size()});
  }
  // "<text> {", and what follows is indented.
  template <typename... Args>
  void Open(fmt::format_string<Args...> format, Args&&... args) {
    AddLine(fmt::format(format, std::forward<Args>(args)...) + " {");
    ++depth_;
  }
  void OpenBlock();                         // "{"
  void Close(std::string_view after = "");  // "}" + after
  void Comment(std::string_view text);      // "// text", wrapped
  // Asks that the loop which follows be unrolled whole. The backend unrolls no other: a loop whose index picks a lane, or a vector of an array, needs it.
  void Unroll();
  void Blank();                             // an empty line, never two in a row
  void Raw(std::string_view text);          // as it is

  int depth() const { return depth_; }
  const std::string& text() const { return text_; }

 private:
  struct Definition {
    std::string name;
    int depth;
    size_t begin, end;                                       // of its line
  };

  void AddLine(std::string_view line);
  bool IsUsed(const Definition& definition) const;

  std::string text_;
  int depth_ = 0;
  std::vector<Definition> definitions_;                      // of open blocks, in order
};

}  // namespace athanor
