#include "jit/machine_code.h"

#include <algorithm>
#include <charconv>

#include "ops/error.h"

namespace athanor {
namespace {

constexpr std::string_view kBegin = "asm(\".text\\n.p2align 6\\n.globl ", kBytes = "    \".byte ", kEnd = "\\n\"\n";
constexpr size_t kBytesOfLine = 24;

// `text` from `*at` up to `end`, behind which `*at` is then.
std::string_view Until(std::string_view text, std::string_view end, size_t* at) {
  const size_t found = text.find(end, *at);
  ATHANOR_CHECK(found != std::string_view::npos);
  const std::string_view part = text.substr(*at, found - *at);
  *at = found + end.size();
  return part;
}

}  // namespace

void WriteMachineCode(const MachineCode& code, SourceWriter* out) {
  std::string text = fmt::format("{0}{1}\\n.type {1},@function\\n{1}:{2}", kBegin, code.name, kEnd);
  char digits[4];
  for (size_t i = 0; i < code.bytes.size(); i += kBytesOfLine) {
    text += kBytes;
    for (size_t j = i; j < std::min(i + kBytesOfLine, code.bytes.size()); ++j) {
      if (j > i) text += ',';
      text.append(digits, std::to_chars(digits, digits + sizeof digits, code.bytes[j]).ptr);
    }
    text += kEnd;
  }
  text += fmt::format("    \".size {0}, .-{0}\\n\");\n", code.name);
  out->Raw(text);
}

std::vector<MachineCode> TakeMachineCode(std::string* source) {
  std::vector<MachineCode> codes;
  std::string rest;
  size_t at = 0;
  for (size_t begin; (begin = source->find(kBegin, at)) != std::string::npos;) {
    rest.append(*source, at, begin - at);
    at = begin + kBegin.size();
    MachineCode& code = codes.emplace_back();
    code.name = Until(*source, "\\n", &at);
    Until(*source, kEnd, &at);
    while (source->compare(at, kBytes.size(), kBytes) == 0) {
      at += kBytes.size();
      for (std::string_view line = Until(*source, kEnd, &at); !line.empty();) {
        const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), code.bytes.emplace_back());
        ATHANOR_CHECK(error == std::errc());
        line.remove_prefix(std::min<size_t>(end - line.data() + 1, line.size()));
      }
    }
    Until(*source, ");\n", &at);
  }
  rest.append(*source, at);
  *source = std::move(rest);
  return codes;
}

}  // namespace athanor
