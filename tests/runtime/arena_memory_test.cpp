#include "runtime/arena_memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>

#include "ops/error.h"

namespace athanor {
namespace {

TEST(ArenaMemory, LiesOnAPageOrAHugePage) {
  EXPECT_EQ(reinterpret_cast<intptr_t>(ArenaMemory(1).data()) % 4096, 0);
  EXPECT_EQ(reinterpret_cast<intptr_t>(ArenaMemory(5 << 20).data()) % (2 << 20), 0);
}

TEST(ArenaMemory, KeepsWhatIsWrittenWhileItIsBroughtIn) {
  const int64_t bytes = 24 << 20;
  ArenaMemory memory(bytes);
  memory.Prefault();
  memory.Settle(bytes);
  for (int64_t at = 0; at < bytes; at += 4096) memory.data()[at] = static_cast<char>(at >> 12);
  ArenaMemory other;
  other = std::move(memory);
  for (int64_t at = 0; at < bytes; at += 4096) ASSERT_EQ(other.data()[at], static_cast<char>(at >> 12)) << at;
}

TEST(ArenaMemory, SettlesOnLessOrMore) {
  for (int64_t asked : {0, 100, 6 << 20}) {
    for (int64_t bytes : {int64_t{0}, int64_t{100}, int64_t{5} << 20, int64_t{200} << 20}) {
      ArenaMemory memory;
      if (asked > 0) {
        memory = ArenaMemory(asked, 8 << 20);
        memory.Prefault();
      }
      memory.Settle(bytes);
      ASSERT_NE(memory.data(), nullptr);
      std::memset(memory.data(), 1, static_cast<size_t>(bytes));
    }
  }
}

TEST(ArenaMemory, TooMuchIsAnError) { EXPECT_THROW(ArenaMemory(int64_t{1} << 60), Error); }

}  // namespace
}  // namespace athanor
