#include "ops/dropout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "ops/philox.h"
#include "tests/ops/op_checker.h"

namespace athanor {
namespace {

using testing::HasSubstr;

HostTensor Scalar(double value) { return TensorOf(DType::kI64, {}, {value}); }

OpExample Dropout(HostTensor x, double seed, double offset, Attrs attrs) {
  return {"dropout", {std::move(x), Scalar(seed), Scalar(offset)}, std::move(attrs)};
}

TEST(Dropout, WordsAreThoseOfPhilox) {
  EXPECT_EQ(static_cast<uint32_t>(RandomWord(0, 0, 0)), 0x6627e8d5u ^ 0x80000000u);
  EXPECT_EQ(static_cast<uint32_t>(RandomWord(3, 0, 0)), 0x9b00dbd8u ^ 0x80000000u);
  // Both halves of the counter and of the key count.
  const int64_t far = int64_t{1} << 40;
  EXPECT_NE(RandomWord(far, 0, 0), RandomWord(0, 0, 0));
  EXPECT_NE(RandomWord(0, far, 0), RandomWord(0, 0, 0));
  EXPECT_NE(RandomWord(0, 0, far), RandomWord(0, 0, 0));
}

TEST(Dropout, KeepsTheShareAskedForAndScalesIt) {
  const HostTensor ones = TensorOf(DType::kF64, {10000}, std::vector<double>(10000, 1));
  for (const double p : {0.1, 0.5, 0.75}) {
    int kept = 0;
    for (const double y : Values(ResultsOf(Dropout(ones, 7, 9, {{"p", p}}))[0])) {
      kept += y != 0;
      EXPECT_TRUE(y == 0 || y == 1 / (1 - p)) << y;
    }
    EXPECT_NEAR(kept, 10000 * (1 - p), 200);
  }
}

TEST(Dropout, SeedsAndOffsetsNameMasks) {
  const HostTensor x = RandomTensor(DType::kF64, {100}, 1);
  const auto y = [&](double seed, double offset) { return Values(ResultsOf(Dropout(x, seed, offset, {}))[0]); };
  EXPECT_EQ(y(1, 2), y(1, 2));
  EXPECT_NE(y(1, 2), y(1, 3));
  EXPECT_NE(y(1, 2), y(2, 2));
}

TEST(Dropout, NothingOrAllIsDropped) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const HostTensor x = TensorOf(DType::kF32, {3}, {1, -2, 3});
  ExpectValues(ResultsOf(Dropout(x, 1, 2, {{"p", 0.0}}))[0], {1, -2, 3});
  ExpectValues(ResultsOf(Dropout(x, 1, 2, {{"training", false}}))[0], {1, -2, 3});
  ExpectValues(ResultsOf(Dropout(x, 1, 2, {{"p", 1.0}}))[0], {0, 0, 0});
  EXPECT_TRUE(std::isnan(ResultsOf(Dropout(TensorOf(DType::kF32, {1}, {nan}), 1, 2, {{"p", 1.0}}))[0].Get(0)));
}

TEST(Dropout, DecomposesAndDifferentiates) {
  for (const Shape& shape : {Shape{}, {7}, {3, 5}, {2, 0}, {2, 3, 1, 4}}) {
    for (const double p : {0.0, 0.3, 1.0}) ExpectAll(Dropout(RandomTensor(DType::kF64, shape, 3), 5, 6, {{"p", p}}));
    ExpectAll(Dropout(RandomTensor(DType::kF64, shape, 3), 5, 6, {{"training", false}}));
  }
  ExpectDecomposes({"dropout", {RandomTensor(DType::kBF16, {40}, 3), Scalar(1)}}, 1e-2);
}

TEST(Dropout, Errors) {
  const HostTensor x = RandomTensor(DType::kF32, {3}, 1);
  EXPECT_THAT(ErrorOf(Dropout(x, 1, 2, {{"p", 1.5}})), HasSubstr("p is 1.5, expected a probability"));
  EXPECT_THAT(ErrorOf(Dropout(TensorOf(DType::kI32, {1}, {1}), 1, 2, {})), HasSubstr("input has dtype i32"));
  EXPECT_THAT(ErrorOf({"dropout", {x, TensorOf(DType::kI64, {1}, {1}), Scalar(0)}}), HasSubstr("seed is i64[1], expected i64[]"));
  EXPECT_THAT(ErrorOf({"dropout", {x, Scalar(0), TensorOf(DType::kF32, {}, {1})}}), HasSubstr("offset is f32[], expected i64[]"));
  EXPECT_THAT(ErrorOf({"dropout", {x}}), HasSubstr("dropout"));
}

}  // namespace
}  // namespace athanor
