#include "ops/pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ops/gradient.h"
#include "ops/reference.h"
#include "tests/ops/op_checker.h"

namespace athanor {
namespace {

using testing::HasSubstr;
using Ints = std::vector<int64_t>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

HostTensor F64(Shape shape, uint64_t seed) { return RandomTensor(DType::kF64, std::move(shape), seed); }

HostTensor Counting(Shape shape) {
  HostTensor tensor(DType::kF64, std::move(shape));
  for (int64_t i = 0; i < tensor.elements(); ++i) tensor.Set(i, static_cast<double>(i + 1));
  return tensor;
}

TEST(Pool, KnownMaxima) {
  const HostTensor x = Counting({1, 1, 3, 4});
  ExpectValues(ResultsOf({"max_pool2d", {x}, {{"kernel_size", Ints{2}}}})[0], {6, 8});
  ExpectValues(ResultsOf({"max_pool2d", {x}, {{"kernel_size", Ints{2}}, {"ceil_mode", true}}})[0], {6, 8, 10, 12});
  ExpectValues(ResultsOf({"max_pool2d", {x}, {{"kernel_size", Ints{2, 3}}, {"stride", Ints{1}}}})[0], {7, 8, 11, 12});
  ExpectValues(ResultsOf({"max_pool2d", {x}, {{"kernel_size", Ints{2}}, {"stride", Ints{1, 2}}, {"dilation", Ints{2, 1}}}})[0], {10, 12});
  ExpectValues(ResultsOf({"max_pool2d", {x}, {{"kernel_size", Ints{3}}, {"stride", Ints{2}}, {"padding", Ints{1}}}})[0], {6, 8, 10, 12});
}

TEST(Pool, KnownAverages) {
  const HostTensor x = Counting({1, 3, 3});                  // without a batch
  ExpectValues(ResultsOf({"avg_pool2d", {x}, {{"kernel_size", Ints{2}}, {"stride", Ints{1}}}})[0], {3, 4, 6, 7});
  const Attrs padded = {{"kernel_size", Ints{2}}, {"padding", Ints{1}}};
  ExpectValues(ResultsOf({"avg_pool2d", {x}, padded})[0], {1 / 4.0, 5 / 4.0, 11 / 4.0, 28 / 4.0});
  Attrs valid = padded;
  valid["count_include_pad"] = false;
  ExpectValues(ResultsOf({"avg_pool2d", {x}, valid})[0], {1, 5 / 2.0, 11 / 2.0, 28 / 4.0});
  Attrs divided = padded;
  divided["divisor_override"] = int64_t{10};
  ExpectValues(ResultsOf({"avg_pool2d", {x}, divided})[0], {0.1, 0.5, 1.1, 2.8});
  // A window that starts inside and reaches beyond the padding does not count what lies there.
  ExpectValues(ResultsOf({"avg_pool2d", {x}, {{"kernel_size", Ints{2}}, {"ceil_mode", true}}})[0], {3, 4.5, 7.5, 9});
}

std::vector<Attrs> Windows() {
  const auto attrs = [](Ints kernel, Ints stride, Ints padding, bool ceil) {
    return Attrs{{"kernel_size", kernel}, {"stride", stride}, {"padding", padding}, {"ceil_mode", ceil}};
  };
  return {attrs({2}, {2}, {0}, false),       attrs({2}, {2}, {0}, true),        attrs({3}, {2}, {1}, false),      attrs({3}, {2}, {1}, true),
          attrs({3, 2}, {1, 2}, {1}, false), attrs({3}, {3}, {1}, true),        attrs({2, 3}, {3, 1}, {0}, false), attrs({5}, {1}, {2}, false),
          attrs({5, 4}, {2, 3}, {2}, true),  attrs({1}, {2}, {0}, false),       attrs({6, 7}, {1}, {0}, false)};
}

TEST(Pool, DecomposesAndDifferentiates) {
  for (const Shape& shape : {Shape{2, 2, 6, 7}, Shape{3, 8, 9}}) {
    for (const Attrs& attrs : Windows()) {
      SCOPED_TRACE(ToString(shape) + " kernel " + ToString(Get<Ints>(attrs, "kernel_size")) + " stride " + ToString(Get<Ints>(attrs, "stride")));
      ExpectAll({"max_pool2d", {F64(shape, 1)}, attrs});
      ExpectAll({"avg_pool2d", {F64(shape, 1)}, attrs});
      Attrs more = attrs;
      more["count_include_pad"] = false;
      ExpectAll({"avg_pool2d", {F64(shape, 1)}, more});
      more["divisor_override"] = int64_t{-3};
      ExpectAll({"avg_pool2d", {F64(shape, 1)}, more});
    }
  }
}

TEST(Pool, DilatedMaxima) {
  for (int64_t stride : {1, 2, 3}) {
    for (int64_t kernel : {2, 3, 5}) {
      SCOPED_TRACE(kernel * 10 + stride);
      const Attrs attrs = {{"kernel_size", Ints{kernel, 2}}, {"stride", Ints{stride}}, {"padding", Ints{1}}, {"dilation", Ints{2, 3}}, {"ceil_mode", true}};
      ExpectAll({"max_pool2d", {F64({2, 9, 10}, 1)}, attrs});
    }
  }
}

TEST(Pool, AveragesOfHalfPrecisionAreSummedInF32) {
  ExpectDecomposes({"avg_pool2d", {RandomTensor(DType::kBF16, {2, 33, 35}, 1)}, {{"kernel_size", Ints{31}}, {"stride", Ints{1}}}}, 1e-2);
}

// d(sum of maxima)/dx through Gradient, before and after decomposition.
std::vector<double> GradientOfSum(const HostTensor& x, Attrs attrs) {
  const Graph joint = Gradient(GraphOf({"max_pool2d", {x}, std::move(attrs)}));
  HostTensor ones(DType::kF64, joint.desc(joint.inputs()[1]).shape);
  for (int64_t i = 0; i < ones.elements(); ++i) ones.Set(i, 1);
  const std::vector<HostTensor> inputs = {x, ones};
  return Values(Interpret(joint, inputs)[1]);
}

TEST(Pool, TheFirstMaximumTakesTheGradient) {
  const HostTensor flat = TensorOf(DType::kF64, {1, 2, 2}, {5, 5, 5, 5});
  EXPECT_EQ(GradientOfSum(flat, {{"kernel_size", Ints{2}}}), (std::vector<double>{1, 0, 0, 0}));
  EXPECT_EQ(GradientOfSum(flat, {{"kernel_size", Ints{3}}, {"stride", Ints{1}}, {"padding", Ints{1}}}), (std::vector<double>{4, 0, 0, 0}));
  const HostTensor wide = TensorOf(DType::kF64, {1, 1, 20}, std::vector<double>(20, 1));
  std::vector<double> first(20, 0);
  first[0] = first[1] = first[2] = first[3] = 1;
  EXPECT_EQ(GradientOfSum(wide, {{"kernel_size", Ints{1, 17}}, {"stride", Ints{1}}}), first);
}

TEST(Pool, NothingButMinusInfinityStillHasAPlace) {
  const HostTensor low = TensorOf(DType::kF64, {1, 2, 2}, std::vector<double>(4, -kInfinity));
  EXPECT_EQ(GradientOfSum(low, {{"kernel_size", Ints{3}}, {"stride", Ints{2}}, {"padding", Ints{1}}}), (std::vector<double>{1, 0, 0, 0}));
  const HostTensor more = TensorOf(DType::kF64, {1, 5, 5}, std::vector<double>(25, -kInfinity));
  std::vector<double> dilated(25, 0);                        // the only window's first input that exists is at 1, 1
  dilated[6] = 1;
  EXPECT_EQ(GradientOfSum(more, {{"kernel_size", Ints{3}}, {"stride", Ints{5}}, {"padding", Ints{1}}, {"dilation", Ints{2}}}), dilated);
}

TEST(Pool, NanWins) {
  const HostTensor x = TensorOf(DType::kF64, {1, 2, 4}, {1, kNan, 3, 4, kNan, 0, 9, 1});
  const std::vector<double> y = Values(ResultsOf({"max_pool2d", {x}, {{"kernel_size", Ints{2}}}})[0]);
  EXPECT_TRUE(std::isnan(y[0]));
  EXPECT_EQ(y[1], 9);
  EXPECT_EQ(GradientOfSum(x, {{"kernel_size", Ints{2}}}), (std::vector<double>{0, 0, 0, 0, 1, 0, 1, 0}));
}

TEST(Pool, Errors) {
  const HostTensor x = F64({1, 2, 5, 5}, 1);
  EXPECT_THAT(ErrorOf({"max_pool2d", {x}}), HasSubstr("\"kernel_size\""));
  EXPECT_THAT(ErrorOf({"max_pool2d", {F64({5, 5}, 1)}, {{"kernel_size", Ints{2}}}}), HasSubstr("expected [batch, channels, height, width]"));
  EXPECT_THAT(ErrorOf({"max_pool2d", {x}, {{"kernel_size", Ints{6}}}}), HasSubstr("smaller than the kernel"));
  EXPECT_THAT(ErrorOf({"max_pool2d", {x}, {{"kernel_size", Ints{2, 2, 2}}}}), HasSubstr("kernel_size is [2, 2, 2]"));
  EXPECT_THAT(ErrorOf({"max_pool2d", {x}, {{"kernel_size", Ints{3}}, {"padding", Ints{2}}}}), HasSubstr("at most half"));
  EXPECT_THAT(ErrorOf({"max_pool2d", {x}, {{"kernel_size", Ints{2}}, {"stride", Ints{0}}}}), HasSubstr("stride is [0]"));
  EXPECT_THAT(ErrorOf({"avg_pool2d", {x}, {{"kernel_size", Ints{2}}, {"dilation", Ints{2}}}}), HasSubstr("unknown attribute \"dilation\""));
  EXPECT_THAT(ErrorOf({"avg_pool2d", {x}, {{"kernel_size", Ints{int64_t{1} << 62}}}}), HasSubstr("too large"));
  EXPECT_THAT(ErrorOf({"avg_pool2d", {RandomTensor(DType::kI64, {1, 4, 4}, 1)}, {{"kernel_size", Ints{2}}}}), HasSubstr("dtype i64"));
}

}  // namespace
}  // namespace athanor
