#include "jit/module.h"

#include <gtest/gtest.h>

#include <dlfcn.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <random>

#include "jit/gdb_registration.h"
#include "ops/error.h"

// What gdb reads.
struct GdbEntry {
  GdbEntry* next;
  GdbEntry* previous;
  const char* file;
  uint64_t bytes;
};
struct GdbDescriptor {
  uint32_t version, action;
  GdbEntry* relevant;
  GdbEntry* first;
};

namespace athanor {
namespace {

Image SevenAndEight() {                                      // mov eax, 7; ret, and the same with 8
  Image image;
  for (int byte : {0xb8, 7, 0, 0, 0, 0xc3, 0x90, 0x90, 0xb8, 8, 0, 0, 0, 0xc3}) image.code.push_back(std::byte(byte));
  image.symbols = {{"seven", 0}, {"eight", 8}};
  return image;
}

TEST(Image, RoundTrips) {
  const Image image = SevenAndEight();
  EXPECT_EQ(DeserializeImage(Serialize(image)), image);
  EXPECT_EQ(DeserializeImage(Serialize(Image())), Image());
}

// Whatever is read, the answer is an Image that serializes to the very same bytes, or an Error.
void ExpectImageOrError(const std::vector<std::byte>& bytes) {
  try {
    const Image image = DeserializeImage(bytes);
    for (const auto& [name, offset] : image.symbols) {
      ASSERT_GE(offset, 0);
      ASSERT_LT(offset, static_cast<int64_t>(image.code.size()));
    }
    EXPECT_EQ(DeserializeImage(Serialize(image)), image);
  } catch (const Error&) {
  }
}

TEST(Image, EveryTruncationIsRefused) {
  const std::vector<std::byte> whole = Serialize(SevenAndEight());
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_THROW(DeserializeImage(std::span(whole).first(length)), Error) << length;
  }
  std::vector<std::byte> longer = whole;
  longer.push_back(std::byte(0));
  EXPECT_THROW(DeserializeImage(longer), Error);
}

TEST(Image, SurvivesDamage) {
  const std::vector<std::byte> whole = Serialize(SevenAndEight());
  std::mt19937 random(7);
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::byte> bytes = whole;
    for (int flips = 1 + static_cast<int>(random() % 4); flips > 0; --flips) {
      const size_t at = random() % bytes.size();
      switch (random() % 4) {
        case 0: bytes[at] ^= std::byte(1 << random() % 8); break;
        case 1: bytes[at] = std::byte(random() % 2 ? 0xff : 0x7f); break;
        case 2: bytes.erase(bytes.begin() + static_cast<int64_t>(at)); break;
        default: bytes.insert(bytes.begin() + static_cast<int64_t>(at), std::byte(random() % 256)); break;
      }
    }
    ExpectImageOrError(bytes);
  }
}

TEST(Module, RunsItsFunctions) {
  const Module module(SevenAndEight(), "numbers");
  EXPECT_EQ(module.Get<int()>("seven")(), 7);
  EXPECT_EQ(module.Get<int()>("eight")(), 8);
  EXPECT_THROW(module.Get<int()>("nine"), InternalError);
}

std::string Permissions(const void* address) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin = 0, end = 0;
    char permissions[5] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, permissions) != 3) continue;
    const auto at = reinterpret_cast<unsigned long>(address);
    if (begin <= at && at < end) return permissions;
  }
  return "";
}

TEST(Module, IsNeverWritableAndExecutable) {
  void* code = nullptr;
  {
    const Module module(SevenAndEight(), "numbers");
    code = reinterpret_cast<void*>(module.Get<int()>("seven"));
    EXPECT_EQ(Permissions(code), "r-xp");
  }
  EXPECT_EQ(Permissions(code).find('x'), std::string::npos) << "still mapped";
}

TEST(Module, IsKnownToGdbWhileItLives) {
  const auto* descriptor = static_cast<const GdbDescriptor*>(dlsym(RTLD_DEFAULT, "__jit_debug_descriptor"));
  ASSERT_NE(descriptor, nullptr);
  EXPECT_EQ(descriptor->version, 1u);
  const GdbEntry* before = descriptor->first;
  {
    const Module first(SevenAndEight(), "numbers");
    const Module second(SevenAndEight(), "numbers");
    const GdbEntry* entry = descriptor->first;
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ(entry->next->next, before);
    ASSERT_GT(entry->bytes, 64u);
    EXPECT_EQ(std::memcmp(entry->file, "\177ELF", 4), 0);
    EXPECT_NE(std::string(entry->file, entry->bytes).find("eight"), std::string::npos);
  }
  EXPECT_EQ(descriptor->first, before);
}

TEST(Module, IsListedForPerfOnlyWhenAsked) {
  const std::string path = "/tmp/perf-" + std::to_string(getpid()) + ".map";
  std::remove(path.c_str());
  { const Module module(SevenAndEight(), "numbers"); }
  EXPECT_FALSE(std::ifstream(path).good());
  SetPerfMap(true);
  const Module module(SevenAndEight(), "numbers");
  SetPerfMap(false);
  std::ifstream file(path);
  unsigned long address = 0, bytes = 0;
  std::string name;
  file >> std::hex >> address >> bytes >> name;
  EXPECT_EQ(name, "eight");
  EXPECT_EQ(address, reinterpret_cast<unsigned long>(module.Get<int()>("eight")));
  EXPECT_EQ(bytes, 6u);
  std::remove(path.c_str());
}

}  // namespace
}  // namespace athanor
