#include "jit/routine_archive.h"

#include <dlfcn.h>
#include <fmt/core.h>
#include <xxhash.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "jit/compiler.h"
#include "jit/prelude.h"
#include "ops/error.h"

namespace athanor {
namespace {

// The symbols of a routine: its key at its first byte, and with these behind it.
constexpr const char *kEntry = ".entry", *kLast = ".last";
constexpr size_t kAlignment = 64;

}  // namespace

RoutineArchive::RoutineArchive(Image image) : image_(std::move(image)) {
  for (const auto& [symbol, offset] : image_.symbols) {
    if (symbol.find('.') != std::string::npos) continue;
    const auto entry = image_.symbols.find(symbol + kEntry), last = image_.symbols.find(symbol + kLast);
    const bool whole = entry != image_.symbols.end() && last != image_.symbols.end() && 0 <= offset && offset <= entry->second && entry->second <= last->second &&
                       last->second < static_cast<int64_t>(image_.code.size());
    if (!whole) Fail("archive of routines: {} has no code", symbol);
  }
}

std::string RoutineArchive::Key(const Routine& routine, const CpuTarget& cpu) {
  const std::string all = CompilerIdentity(cpu) + "\n" + VocabularyText(cpu) + routine.definition;
  const XXH128_hash_t hash = XXH3_128bits(all.data(), all.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

void RoutineArchive::Add(const std::string& key, const MachineCode& code) {
  ATHANOR_CHECK(!Has(key) && code.entry < code.bytes.size());
  image_.code.resize((image_.code.size() + kAlignment - 1) / kAlignment * kAlignment);
  const auto begin = static_cast<int64_t>(image_.code.size());
  for (const uint8_t byte : code.bytes) image_.code.push_back(static_cast<std::byte>(byte));
  image_.symbols[key] = begin;
  image_.symbols[key + kEntry] = begin + static_cast<int64_t>(code.entry);
  image_.symbols[key + kLast] = static_cast<int64_t>(image_.code.size()) - 1;
}

std::optional<MachineCode> RoutineArchive::Find(const std::string& key, const std::string& name) const {
  const auto begin = image_.symbols.find(key);
  if (begin == image_.symbols.end()) return std::nullopt;
  MachineCode code{name, {}, static_cast<uint64_t>(image_.symbols.at(key + kEntry) - begin->second)};
  for (int64_t at = begin->second; at <= image_.symbols.at(key + kLast); ++at) code.bytes.push_back(std::to_integer<uint8_t>(image_.code[at]));
  return code;
}

std::string RoutineArchivePath() {
  Dl_info self;
  ATHANOR_CHECK(dladdr(reinterpret_cast<void*>(&RoutineArchivePath), &self) != 0);
  return (std::filesystem::path(self.dli_fname).parent_path() / "libathanor_clang.routines").string();
}

const RoutineArchive& InstalledRoutines() {
  static const RoutineArchive archive = [] {
    const std::string path = RoutineArchivePath();
    std::ifstream file(path, std::ios::binary);
    if (!file) return RoutineArchive();
    std::error_code error;
    const uintmax_t size = std::filesystem::file_size(path, error);
    std::vector<char> bytes(error ? 0 : size);               // at once: byte by byte it takes milliseconds
    try {
      if (!file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) Fail("it can't be read");
      return RoutineArchive(DeserializeImage(std::as_bytes(std::span(bytes))));
    } catch (const Error& error) {
      Fail("{}: {}", path, error.what());
    }
  }();
  return archive;
}

}  // namespace athanor
