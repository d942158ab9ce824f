#include "cache/entry.h"

#include <fmt/core.h>
#include <xxhash.h>

#include <cstring>

namespace athanor {
namespace {

constexpr char kMagic[8] = {'A', 'T', 'H', 'A', 'N', 'O', 'R', '\n'};
constexpr uint64_t kVersion = 1;
constexpr size_t kHeaderBytes = 32;                          // magic, version, key bytes, payload bytes
constexpr size_t kChecksumBytes = sizeof(XXH128_canonical_t);

XXH128_canonical_t Checksum(std::span<const std::byte> bytes) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes.data(), bytes.size()));
  return canonical;
}

void AppendU64(std::vector<std::byte>& out, uint64_t value) {
  for (int i = 0; i < 8; ++i) out.push_back(static_cast<std::byte>(value >> (8 * i)));
}

uint64_t ReadU64(const std::byte* at) {
  uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value |= static_cast<uint64_t>(at[i]) << (8 * i);
  return value;
}

void AppendBytes(std::vector<std::byte>& out, const void* data, size_t size) {
  const auto* bytes = static_cast<const std::byte*>(data);
  out.insert(out.end(), bytes, bytes + size);
}

}  // namespace

std::vector<std::byte> EncodeEntry(const CacheKey& key, std::span<const std::byte> payload) {
  std::vector<std::byte> out;
  out.reserve(kHeaderBytes + key.text().size() + payload.size() + kChecksumBytes);
  AppendBytes(out, kMagic, sizeof kMagic);
  AppendU64(out, kVersion);
  AppendU64(out, key.text().size());
  AppendU64(out, payload.size());
  AppendBytes(out, key.text().data(), key.text().size());
  AppendBytes(out, payload.data(), payload.size());
  const XXH128_canonical_t checksum = Checksum(out);
  AppendBytes(out, checksum.digest, kChecksumBytes);
  return out;
}

std::variant<CacheEntry, std::string> DecodeEntry(std::span<const std::byte> bytes) {
  if (bytes.size() < kHeaderBytes + kChecksumBytes) {
    return fmt::format("truncated: {} bytes, fewer than header and checksum", bytes.size());
  }
  if (std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0) return "not a cache entry: bad magic";
  const uint64_t version = ReadU64(bytes.data() + 8), key_bytes = ReadU64(bytes.data() + 16);
  const uint64_t payload_bytes = ReadU64(bytes.data() + 24), room = bytes.size() - kHeaderBytes - kChecksumBytes;
  if (version != kVersion) return fmt::format("format version {}, expected {}", version, kVersion);
  if (key_bytes > room || payload_bytes != room - key_bytes) {
    return fmt::format("{} bytes where key ({}) and payload ({}) were announced", room, key_bytes, payload_bytes);
  }
  const auto body = bytes.first(bytes.size() - kChecksumBytes);
  if (std::memcmp(Checksum(body).digest, bytes.data() + body.size(), kChecksumBytes) != 0) return "wrong checksum";
  auto key = CacheKey::Parse({reinterpret_cast<const char*>(bytes.data()) + kHeaderBytes, key_bytes});
  if (!key) return "malformed key";
  const auto payload = body.subspan(kHeaderBytes + key_bytes);
  return CacheEntry{std::move(*key), {payload.begin(), payload.end()}};
}

}  // namespace athanor
