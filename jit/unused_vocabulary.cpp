#include "jit/unused_vocabulary.h"

#include <algorithm>
#include <unordered_set>
#include <vector>

namespace athanor {
namespace {

bool IsNamePart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; }

using Names = std::unordered_set<std::string_view>;

void AddNames(std::string_view text, Names* names) {
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (end < text.size() && IsNamePart(text[end])) ++end;
    if (end > at) names->insert(text.substr(at, end - at));
    at = end + 1;
  }
}

// What stands at one place of the outermost level: a declaration of the vocabulary, with its name, or a line of anything else.
struct Piece {
  std::string_view text, name;                               // no name: it stays
};

std::string_view NameBefore(std::string_view text, std::string_view mark) {
  const size_t end = std::min(text.find(mark), text.size());
  size_t begin = end;
  while (begin > 0 && IsNamePart(text[begin - 1])) --begin;
  return text.substr(begin, end - begin);
}

Piece FirstPiece(std::string_view rest) {
  const auto line_end = [&](size_t at) { return std::min(rest.find('\n', at), rest.size() - 1) + 1; };
  const std::string_view line = rest.substr(0, line_end(0));
  if (line.starts_with("typedef ")) return {line, NameBefore(line, " __attribute__")};
  if (!line.starts_with("INLINE ")) return {line, {}};
  size_t end = line_end(std::min(rest.find('{'), rest.size()));
  if (!rest.substr(0, end).ends_with("}\n")) end = std::min(rest.find("\n}\n"), rest.size() - 3) + 3;
  return {rest.substr(0, end), NameBefore(rest, "(")};
}

}  // namespace

std::string WithoutUnusedVocabulary(std::string_view source) {
  std::vector<Piece> pieces, kept;
  for (std::string_view rest = source; !rest.empty(); rest.remove_prefix(pieces.back().text.size())) pieces.push_back(FirstPiece(rest));
  Names names;
  for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) {  // a declaration stands before its uses
    if (!piece->name.empty() && !names.contains(piece->name)) continue;
    AddNames(piece->text, &names);
    kept.push_back(*piece);
  }
  std::string result;
  for (auto piece = kept.rbegin(); piece != kept.rend(); ++piece) result += piece->text;
  return result;
}

}  // namespace athanor
