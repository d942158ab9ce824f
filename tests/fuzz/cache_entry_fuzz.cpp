// Bytes from a cache directory never do more than be refused, and whatever is accepted is exactly what was written.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "cache/entry.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace athanor;
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto decoded = DecodeEntry(bytes);
  if (const auto* entry = std::get_if<CacheEntry>(&decoded)) {
    Require(std::ranges::equal(EncodeEntry(entry->key, entry->payload), bytes));
  }

  // The checksum stops nearly every input above: feed the key parser and the rest of the decoder separately.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = CacheKey::Parse(text);
  if (parsed) Require(parsed->text() == text);
  const CacheKey key = parsed ? *parsed : CacheKey("fuzz").Add("text", text);
  auto encoded = EncodeEntry(key, bytes);
  const auto again = DecodeEntry(encoded);
  const auto* entry = std::get_if<CacheEntry>(&again);
  Require(entry != nullptr && entry->key == key && std::ranges::equal(entry->payload, bytes));
  if (size >= 3) {
    encoded[(data[0] | data[1] << 8) % encoded.size()] ^= static_cast<std::byte>(1 << data[2] % 8);
    Require(std::holds_alternative<std::string>(DecodeEntry(encoded)));
  }
  return 0;
}
