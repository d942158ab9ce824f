#include "bench/compare.h"

#include <gmock/gmock.h>

namespace athanor::bench {
namespace {

TEST(CompareTest, ADifferenceWithinTheNoiseIsNone) {
  EXPECT_EQ(CompareFractions(0.80, 0.005, 0.81, 0.005), Change::kSame);
  EXPECT_EQ(CompareFractions(0.80, 0.04, 0.86, 0.05), Change::kSame);
}

TEST(CompareTest, ADifferenceFarBeyondTheNoiseIsOne) {
  EXPECT_EQ(CompareFractions(0.80, 0.005, 0.90, 0.005), Change::kFast);
  EXPECT_EQ(CompareFractions(0.90, 0.005, 0.80, 0.005), Change::kSlow);
}

TEST(CompareTest, InBetweenAndInLoudNoiseNothingIsKnown) {
  EXPECT_EQ(CompareFractions(0.80, 0.005, 0.84, 0.005), Change::kAmbiguous);
  EXPECT_EQ(CompareFractions(0.90, 0.05, 0.80, 0.04), Change::kAmbiguous);
  EXPECT_EQ(CompareFractions(0.80, 0.15, 0.80, 0.15), Change::kAmbiguous);
}

}  // namespace
}  // namespace athanor::bench
