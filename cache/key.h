#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace athanor {

// 32 lower-case hexadecimal digits: XXH3-128 in its canonical (big-endian) form. For naming, not against an adversary.
std::string Digest(std::string_view text);
std::string Digest(std::span<const std::byte> bytes);

// What an entry of the cache depends on: ordered fields, each a tag and a text value. The first has the tag "kind". Only
// causes belong in a key (source, compiler identity, ISA features, SM target): no paths, no device index, no unrelated
// environment. Large values go in as their Digest.
class CacheKey {
 public:
  struct Field {
    std::string tag, value;
    bool operator==(const Field&) const = default;
  };

  // `kind` ("schedule", "binary") becomes part of a file name. REQUIRES: 1 to 32 characters of [a-z0-9_].
  explicit CacheKey(std::string_view kind);
  // REQUIRES: `tag` is 1 to 64 characters of [a-z0-9_] and new to this key. The value may hold any bytes.
  CacheKey& Add(std::string_view tag, std::string_view value);

  const std::string& kind() const { return fields_.front().value; }
  const std::vector<Field>& fields() const { return fields_; }
  // The canonical text: for each field "TAG LENGTH\nVALUE\n", so no two keys share a text. Its digest is the entry's address.
  const std::string& text() const { return text_; }
  std::string digest() const { return Digest(text_); }

  // The inverse of text(); nothing for text that is not exactly of that form.
  static std::optional<CacheKey> Parse(std::string_view text);

  bool operator==(const CacheKey& other) const { return text_ == other.text_; }

 private:
  CacheKey() = default;
  bool Append(std::string_view tag, std::string_view value);

  std::vector<Field> fields_;
  std::string text_;
};

// Why none of the keys `present` will do for `wanted`, for people: the fields in which the most similar one differs.
std::string ExplainMiss(const CacheKey& wanted, std::span<const CacheKey> present);

// True when `text` may be a kind: see CacheKey's constructor.
bool IsKind(std::string_view text);

}  // namespace athanor
