#include "ops/philox.h"

#include <gtest/gtest.h>

namespace athanor {
namespace {

// The known answers that come with the authors' Random123 library.
TEST(Philox, KnownAnswers) {
  using Words = std::array<uint32_t, 4>;
  EXPECT_EQ(Philox({0, 0, 0, 0}, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox({~0u, ~0u, ~0u, ~0u}, ~uint64_t{0}), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, DropsTheShareAskedFor) {
  for (const double p : {0.0, 0.1, 0.5, 1.0}) {
    int kept = 0;
    for (uint32_t i = 0; i < 100000; ++i) kept += DropoutKeeps(3, 4, i / 300, i % 300, p) && DropoutFactor(p) > 0;
    EXPECT_NEAR(kept / 100000.0, 1 - p, 0.005);
  }
}

}  // namespace
}  // namespace athanor
