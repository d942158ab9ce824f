#include "ops/host_tensor.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "tests/ops/testing.h"

namespace athanor {
namespace {

uint16_t Bits16(DType dtype, double value) {
  const HostTensor tensor = Tensor(dtype, {}, {value});
  uint16_t bits;
  std::memcpy(&bits, tensor.data(), sizeof(bits));
  return bits;
}

TEST(HostTensor, StartsWithZerosAndKeepsWhatFits) {
  for (const char* name : {"f32", "f64", "bf16", "f16", "i32", "i64", "u8", "bool"}) {
    HostTensor tensor(*ParseDType(name), {2, 3});
    EXPECT_EQ(tensor.bytes(), 6 * SizeOf(*ParseDType(name)));
    EXPECT_EQ(tensor.Get(5), 0);
    tensor.Set(4, 1);
    EXPECT_EQ(tensor.ToDoubles(), (std::vector<double>{0, 0, 0, 0, 1, 0})) << name;
  }
}

TEST(HostTensor, RoundsF16ToNearestEven) {
  EXPECT_EQ(Bits16(DType::kF16, 1), 0x3c00);
  EXPECT_EQ(Bits16(DType::kF16, 1 + 0x1p-11), 0x3c00);       // a tie goes to the even neighbour
  EXPECT_EQ(Bits16(DType::kF16, 1 + 3 * 0x1p-11), 0x3c02);
  EXPECT_EQ(Bits16(DType::kF16, 65504), 0x7bff);
  EXPECT_EQ(Bits16(DType::kF16, 65519.99), 0x7bff);
  EXPECT_EQ(Bits16(DType::kF16, 65520), 0x7c00);
  EXPECT_EQ(Bits16(DType::kF16, 0x1p-24), 0x0001);
  EXPECT_EQ(Bits16(DType::kF16, 0x1p-25), 0x0000);
  EXPECT_EQ(Bits16(DType::kF16, 0x1.8p-25), 0x0001);
  EXPECT_EQ(Bits16(DType::kF16, -0.0), 0x8000);
  EXPECT_EQ(Bits16(DType::kF16, -INFINITY), 0xfc00);
  EXPECT_EQ(Bits16(DType::kF16, 2047.0 / 2048 * 0x1p-14), 0x0400);   // rounds up into the smallest normal number
}

TEST(HostTensor, RoundsBF16AsTruncatedF32WithRounding) {
  EXPECT_EQ(Bits16(DType::kBF16, 1), 0x3f80);
  EXPECT_EQ(Bits16(DType::kBF16, 1 + 0x1p-8), 0x3f80);
  EXPECT_EQ(Bits16(DType::kBF16, 1 + 3 * 0x1p-8), 0x3f82);
  EXPECT_EQ(Bits16(DType::kBF16, -3.14159), 0xc049);
  EXPECT_EQ(Bits16(DType::kBF16, 3.4e38), 0x7f80);
  EXPECT_EQ(Bits16(DType::kBF16, 0x1p-133), 0x0001);
  EXPECT_TRUE(std::isnan(RoundTo(DType::kBF16, NAN)));
}

// Every finite 16-bit number is its own image.
TEST(HostTensor, DecodesWhatItEncodes) {
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    HostTensor tensor(dtype, {});
    for (int bits = 0; bits < 0x10000; ++bits) {
      const auto word = static_cast<uint16_t>(bits);
      std::memcpy(tensor.data(), &word, sizeof(word));
      if (!std::isnan(tensor.Get(0))) {
        ASSERT_EQ(Bits16(dtype, tensor.Get(0)), word);
      }
    }
  }
}

TEST(HostTensor, IntegersTruncateAndSaturate) {
  EXPECT_EQ(RoundTo(DType::kI32, -2.9), -2);
  EXPECT_EQ(RoundTo(DType::kI64, 1e30), static_cast<double>(std::numeric_limits<int64_t>::max()));
  EXPECT_EQ(RoundTo(DType::kI64, NAN), 0);
  EXPECT_EQ(RoundTo(DType::kBool, 0.25), 1);
  EXPECT_EQ(RoundTo(DType::kU8, 257), 1);                    // wraps as a C++ conversion of the integer does
}

TEST(HostTensor, RelativeErrorSeesEveryElement) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  auto error = [](const std::vector<double>& expected, const std::vector<double>& actual) {
    HostTensor e(DType::kF64, {static_cast<int64_t>(expected.size())}), a(DType::kF64, {static_cast<int64_t>(actual.size())});
    e.Assign(expected), a.Assign(actual);
    return RelativeError(e, a);
  };
  EXPECT_EQ(error({1, -4, 2}, {1, -4, 2}), 0);
  EXPECT_EQ(error({1, -4, 2}, {1, -3, 2}), 0.25);
  EXPECT_EQ(error({1, nan, inf}, {1, nan, inf}), 0);
  EXPECT_EQ(error({1, 2, 3}, {1, nan, 3}), inf);             // between right elements
  EXPECT_EQ(error({1, nan, 3}, {1, 2, 3}), inf);
  EXPECT_EQ(error({1, inf, 3}, {1, -inf, 3}), inf);
}

}  // namespace
}  // namespace athanor
