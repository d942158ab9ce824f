#include "cache/key.h"

#include <fmt/core.h>
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <stdexcept>
#include <utility>

namespace athanor {
namespace {

bool IsWord(std::string_view text, size_t max_size) {
  return !text.empty() && text.size() <= max_size && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

// Cuts text up to `end` off the front of `text`; nothing when `end` does not occur.
std::optional<std::string_view> TakeUntil(std::string_view& text, char end) {
  const size_t at = text.find(end);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view head = text.substr(0, at);
  text.remove_prefix(at + 1);
  return head;
}

std::optional<size_t> ParseLength(std::string_view text) {
  size_t length = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), length);
  const bool canonical = text.size() == 1 || (text.size() > 1 && text[0] != '0');
  if (status != std::errc() || end != text.data() + text.size() || !canonical) return std::nullopt;
  return length;
}

std::string Shorten(std::string_view value) {
  return value.size() <= 100 ? std::string(value) : fmt::format("{}... ({} bytes)", value.substr(0, 100), value.size());
}

// A field of one key, and what another has in its place.
struct Difference {
  std::string tag, wanted, found;
};

std::vector<Difference> Compare(const CacheKey& wanted, const CacheKey& other) {
  std::vector<Difference> differences;
  for (const CacheKey::Field& field : wanted.fields()) {
    const auto same = std::find_if(other.fields().begin(), other.fields().end(), [&](const CacheKey::Field& f) { return f.tag == field.tag; });
    const std::string found = same == other.fields().end() ? "(absent)" : same->value;
    if (found != field.value) differences.push_back({field.tag, field.value, found});
  }
  return differences;
}

}  // namespace

std::string Digest(std::string_view text) {
  return Digest(std::as_bytes(std::span(text)));
}

std::string Digest(std::span<const std::byte> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

bool IsKind(std::string_view text) {
  return IsWord(text, 32);
}

CacheKey::CacheKey(std::string_view kind) {
  if (!IsKind(kind)) throw std::logic_error(fmt::format("bad kind of cache entry: '{}'", kind));
  Append("kind", kind);
}

CacheKey& CacheKey::Add(std::string_view tag, std::string_view value) {
  if (!Append(tag, value)) throw std::logic_error(fmt::format("bad or repeated tag in a cache key: '{}'", tag));
  return *this;
}

bool CacheKey::Append(std::string_view tag, std::string_view value) {
  if (!IsWord(tag, 64)) return false;
  for (const Field& field : fields_) {
    if (field.tag == tag) return false;
  }
  fields_.push_back({std::string(tag), std::string(value)});
  text_ += fmt::format("{} {}\n{}\n", tag, value.size(), value);
  return true;
}

std::optional<CacheKey> CacheKey::Parse(std::string_view text) {
  CacheKey key;
  while (!text.empty()) {
    const auto tag = TakeUntil(text, ' ');
    const auto length_text = tag ? TakeUntil(text, '\n') : std::nullopt;
    const auto length = length_text ? ParseLength(*length_text) : std::nullopt;
    if (!length || *length >= text.size() || text[*length] != '\n') return std::nullopt;
    if (!key.Append(*tag, text.substr(0, *length))) return std::nullopt;
    text.remove_prefix(*length + 1);
  }
  if (key.fields_.empty() || key.fields_[0].tag != "kind" || !IsKind(key.kind())) return std::nullopt;
  return key;
}

std::string ExplainMiss(const CacheKey& wanted, std::span<const CacheKey> present) {
  const CacheKey* nearest = nullptr;
  std::vector<Difference> differences;
  for (const CacheKey& key : present) {
    if (key == wanted) return "the entry is there";
    std::vector<Difference> here = Compare(wanted, key);
    if (nearest != nullptr && here.size() >= differences.size()) continue;
    nearest = &key;
    differences = std::move(here);
  }
  if (nearest == nullptr) return fmt::format("no entry of kind {}", wanted.kind());
  std::string text = fmt::format("the nearest entry is {}-{}", wanted.kind(), nearest->digest());
  for (const Difference& d : differences) text += fmt::format("; {} is '{}' there, '{}' here", d.tag, Shorten(d.found), Shorten(d.wanted));
  return text;
}

}  // namespace athanor
