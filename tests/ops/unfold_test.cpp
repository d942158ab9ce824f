#include "ops/unfold.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/ops/op_checker.h"

namespace athanor {
namespace {

using testing::HasSubstr;
using Ints = std::vector<int64_t>;

HostTensor F64(Shape shape, uint64_t seed) { return RandomTensor(DType::kF64, std::move(shape), seed); }

TEST(Unfold, KnownColumns) {
  const HostTensor x = TensorOf(DType::kF64, {1, 1, 2, 3}, {1, 2, 3, 4, 5, 6});
  ExpectValues(ResultsOf({"unfold", {x}, {{"kernel_size", Ints{2}}}})[0], {1, 2, 2, 3, 4, 5, 5, 6});
  ExpectValues(ResultsOf({"unfold", {x}, {{"kernel_size", Ints{1, 2}}, {"padding", Ints{0, 1}}, {"stride", Ints{2, 2}}}})[0], {0, 2, 1, 3});
}

TEST(Unfold, DecomposesAndDifferentiates) {
  for (const Shape& shape : {Shape{2, 3, 6, 7}, Shape{2, 5, 8}}) {
    for (int64_t kernel : {1, 2, 3}) {
      for (int64_t stride : {1, 2, 3}) {
        for (int64_t dilation : {1, 2}) {
          SCOPED_TRACE(kernel * 100 + stride * 10 + dilation);
          ExpectAll({"unfold",
                     {F64(shape, 1)},
                     {{"kernel_size", Ints{kernel, 2}}, {"stride", Ints{stride, 2}}, {"dilation", Ints{dilation, 3}}, {"padding", Ints{1, 0}}}});
        }
      }
    }
  }
}

TEST(Unfold, Errors) {
  const HostTensor x = F64({1, 2, 3, 3}, 1);
  EXPECT_THAT(ErrorOf({"unfold", {x}}), HasSubstr("\"kernel_size\""));
  EXPECT_THAT(ErrorOf({"unfold", {F64({3, 3}, 1)}, {{"kernel_size", Ints{2}}}}), HasSubstr("expected [batch, channels, height, width]"));
  EXPECT_THAT(ErrorOf({"unfold", {x}, {{"kernel_size", Ints{4}}}}), HasSubstr("smaller than the kernel's reach 4"));
  EXPECT_THAT(ErrorOf({"unfold", {x}, {{"kernel_size", Ints{2}}, {"stride", Ints{0}}}}), HasSubstr("stride is [0]"));
}

}  // namespace
}  // namespace athanor
