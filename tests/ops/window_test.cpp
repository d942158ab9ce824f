#include "ops/window.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/ops/op_checker.h"

namespace athanor {
namespace {

using testing::HasSubstr;
using Ints = std::vector<int64_t>;

Attrs Slide(Ints dim, Ints extent, Ints kernel, Ints start, Ints stride, Ints dilation, double fill = 0) {
  return {{"dim", std::move(dim)},       {"extent", std::move(extent)}, {"kernel", std::move(kernel)}, {"start", std::move(start)},
          {"stride", std::move(stride)}, {"dilation", std::move(dilation)}, {"fill", fill}};
}

TEST(Window, KnownValues) {
  const HostTensor line = TensorOf(DType::kF64, {4}, {1, 2, 3, 4});
  ExpectValues(ResultsOf({"_window", {line}, Slide({0}, {4}, {3}, {-1}, {1}, {1})})[0], {0, 1, 2, 1, 2, 3, 2, 3, 4, 3, 4, 0});
  ExpectValues(ResultsOf({"_window", {line}, Slide({0}, {2}, {2}, {3}, {-2}, {-1}, -9)})[0], {4, 3, 2, 1});
  ExpectValues(ResultsOf({"_window", {line}, Slide({0}, {3}, {1}, {-1}, {3}, {1}, -9)})[0], {-9, 3, -9});
}

TEST(Window, TwoDimensionsKeepTheOthers) {
  const HostTensor x = TensorOf(DType::kF64, {1, 2, 2}, {1, 2, 3, 4});
  const HostTensor result = ResultsOf({"_window", {x}, Slide({1, 2}, {2, 1}, {1, 3}, {0, -1}, {1, 1}, {1, 1})})[0];
  EXPECT_EQ(result.desc().shape, (Shape{1, 2, 1, 1, 3}));
  ExpectValues(result, {0, 1, 2, 0, 3, 4});
}

TEST(Window, Errors) {
  const HostTensor x = TensorOf(DType::kF64, {4}, {1, 2, 3, 4});
  EXPECT_THAT(ErrorOf({"_window", {x}, Slide({1}, {1}, {1}, {0}, {1}, {1})}), HasSubstr("dim is [1]"));
  EXPECT_THAT(ErrorOf({"_window", {x}, Slide({0, 0}, {1, 1}, {1, 1}, {0, 0}, {1, 1}, {1, 1})}), HasSubstr("ascending"));
  EXPECT_THAT(ErrorOf({"_window", {x}, Slide({0}, {1, 2}, {1}, {0}, {1}, {1})}), HasSubstr("extent has 2 numbers, expected 1"));
  EXPECT_THAT(ErrorOf({"_window", {x}, Slide({0}, {1}, {-1}, {0}, {1}, {1})}), HasSubstr("kernel is [-1]"));
}

}  // namespace
}  // namespace athanor
