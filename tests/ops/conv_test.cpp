#include "ops/conv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/ops/op_checker.h"

namespace athanor {
namespace {

using testing::HasSubstr;
using Ints = std::vector<int64_t>;

HostTensor F64(Shape shape, uint64_t seed) { return RandomTensor(DType::kF64, std::move(shape), seed); }

HostTensor Counting(Shape shape) {
  HostTensor tensor(DType::kF64, std::move(shape));
  for (int64_t i = 0; i < tensor.elements(); ++i) tensor.Set(i, static_cast<double>(i + 1));
  return tensor;
}

TEST(Conv, KnownWindows) {
  const HostTensor x = Counting({1, 1, 3, 3}), ones = TensorOf(DType::kF64, {1, 1, 2, 2}, {1, 1, 1, 1});
  ExpectValues(ResultsOf({"conv2d", {x, ones}})[0], {12, 16, 24, 28});
  ExpectValues(ResultsOf({"conv2d", {x, ones, TensorOf(DType::kF64, {1}, {100})}, {{"stride", Ints{2, 1}}}})[0], {112, 116});
  ExpectValues(ResultsOf({"conv2d", {x, ones}, {{"dilation", Ints{2}}}})[0], {1 + 3 + 7 + 9});
  ExpectValues(ResultsOf({"conv2d", {x, ones}, {{"padding", int64_t{1}}, {"stride", int64_t{2}}}})[0], {1, 2 + 3, 4 + 7, 5 + 6 + 8 + 9});
}

TEST(Conv, GroupsSeeTheirOwnChannels) {
  const HostTensor x = TensorOf(DType::kF64, {1, 4, 1, 1}, {1, 10, 100, 1000});
  const HostTensor weight = TensorOf(DType::kF64, {2, 2, 1, 1}, {1, 2, 3, 4});
  ExpectValues(ResultsOf({"conv2d", {x, weight}, {{"groups", int64_t{2}}}})[0], {1 + 20, 300 + 4000});
}

TEST(Conv, PatchesDecomposeAndDifferentiate) {
  struct Patch {
    int64_t batch, channels, out, kernel_h, kernel_w, rows, columns;
  };
  for (const Patch& p : {Patch{2, 3, 4, 2, 3, 2, 2}, Patch{1, 1, 1, 1, 1, 1, 1}, Patch{3, 2, 5, 1, 1, 3, 2}, Patch{1, 3, 2, 4, 4, 1, 2}}) {
    const HostTensor x = F64({p.batch, p.channels, p.rows * p.kernel_h, p.columns * p.kernel_w}, 1);
    const HostTensor weight = F64({p.out, p.channels, p.kernel_h, p.kernel_w}, 2), bias = F64({p.out}, 3);
    const Attrs attrs = {{"stride", Ints{p.kernel_h, p.kernel_w}}};
    ExpectAll({"conv2d", {x, weight, bias}, attrs});
    ExpectAll({"conv2d", {x, weight}, attrs});
    ExpectGradients({"conv2d", {x, weight, bias}, attrs}, {1, 2});
  }
}

TEST(Conv, WindowsDecomposeAndDifferentiate) {
  struct Case {
    Shape x, weight;
    Attrs attrs;
  };
  const std::vector<Case> cases = {
      {{2, 3, 5, 6}, {4, 3, 3, 3}, {{"padding", Ints{1}}}},
      {{1, 2, 7, 5}, {3, 2, 3, 2}, {{"stride", Ints{2}}, {"padding", Ints{1, 0}}}},
      {{1, 2, 9, 9}, {2, 2, 3, 3}, {{"stride", Ints{3, 2}}, {"padding", Ints{2, 1}}, {"dilation", Ints{2, 1}}}},
      {{1, 2, 7, 7}, {2, 2, 2, 2}, {{"stride", Ints{2}}, {"dilation", Ints{2}}, {"padding", Ints{2}}}},  // phases that no tap reaches
      {{2, 3, 6, 5}, {2, 3, 1, 1}, {{"stride", Ints{2}}}},
      {{1, 4, 5, 5}, {6, 2, 3, 3}, {{"padding", Ints{1}}, {"groups", int64_t{2}}}},
      {{1, 3, 6, 6}, {3, 1, 3, 3}, {{"padding", Ints{1}}, {"stride", Ints{2}}, {"groups", int64_t{3}}}},
      {{1, 2, 7, 6}, {9, 2, 3, 3}, {{"padding", Ints{1}}, {"stride", Ints{2, 1}}}},                      // few channels of many: all taps first
      {{1, 8, 3, 5}, {2, 8, 2, 2}, {{"stride", Ints{9, 4}}}},                                            // a stride beyond the image
      {{1, 1, 12, 11}, {2, 1, 3, 3}, {{"padding", Ints{1}}}},                                            // an image large enough for the batch
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(ToString(c.x) + " by " + ToString(c.weight));
    ExpectAll({"conv2d", {F64(c.x, 1), F64(c.weight, 2), F64({c.weight[0]}, 3)}, c.attrs});
    ExpectGradients({"conv2d", {F64(c.x, 1), F64(c.weight, 2)}, c.attrs}, {1});
  }
}

TEST(ConvTranspose, KnownValues) {
  const HostTensor x = TensorOf(DType::kF64, {1, 1, 1, 2}, {1, 10}), weight = Counting({1, 1, 1, 3});
  ExpectValues(ResultsOf({"conv_transpose2d", {x, weight}})[0], {1, 2 + 10, 3 + 20, 30});
  ExpectValues(ResultsOf({"conv_transpose2d", {x, weight}, {{"stride", Ints{1, 2}}}})[0], {1, 2, 3 + 10, 20, 30});
  ExpectValues(ResultsOf({"conv_transpose2d", {x, weight}, {{"stride", Ints{1, 2}}, {"padding", Ints{0, 1}}, {"output_padding", Ints{0, 1}}}})[0],
               {2, 3 + 10, 20, 30});
  const HostTensor bias = TensorOf(DType::kF64, {1}, {100});
  ExpectValues(ResultsOf({"conv_transpose2d", {x, weight, bias}, {{"dilation", Ints{1, 2}}}})[0], {101, 110, 102, 120, 103, 130});
}

TEST(ConvTranspose, DecomposesAndDifferentiates) {
  struct Case {
    Shape x, weight;
    Attrs attrs;
  };
  const std::vector<Case> cases = {
      {{2, 3, 5, 4}, {3, 4, 3, 3}, {}},
      {{1, 2, 3, 4}, {2, 3, 3, 2}, {{"stride", Ints{2}}, {"padding", Ints{1, 0}}, {"output_padding", Ints{1, 0}}}},
      {{1, 3, 3, 2}, {3, 2, 2, 2}, {{"stride", Ints{2}}}},                                               // patches
      {{1, 2, 3, 3}, {2, 2, 2, 3}, {{"stride", Ints{3, 2}}, {"dilation", Ints{2, 1}}, {"output_padding", Ints{2, 1}}}},
      {{1, 4, 4, 3}, {4, 3, 3, 3}, {{"groups", int64_t{2}}, {"padding", Ints{1}}}},
      {{1, 3, 4, 4}, {3, 1, 3, 3}, {{"groups", int64_t{3}}, {"stride", Ints{2}}, {"padding", Ints{1}}}},
      {{1, 2, 3, 3}, {2, 2, 1, 1}, {{"dilation", Ints{3}}, {"output_padding", Ints{2, 1}}}},             // no tap reaches the last pixels
      {{0, 2, 3, 3}, {2, 2, 2, 2}, {}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(ToString(c.x) + " by " + ToString(c.weight));
    const int64_t groups = c.attrs.contains("groups") ? Get<int64_t>(c.attrs, "groups") : 1;
    ExpectAll({"conv_transpose2d", {F64(c.x, 1), F64(c.weight, 2), F64({c.weight[1] * groups}, 3)}, c.attrs});
    ExpectGradients({"conv_transpose2d", {F64(c.x, 1), F64(c.weight, 2)}, c.attrs}, {1});
  }
}

TEST(ConvTranspose, Errors) {
  const HostTensor x = F64({1, 4, 5, 5}, 1), weight = F64({4, 2, 3, 3}, 2);
  EXPECT_THAT(ErrorOf({"conv_transpose2d", {x, F64({2, 4, 3, 3}, 1)}}), HasSubstr("weight has shape [2, 4, 3, 3], expected [4, out_channels"));
  EXPECT_THAT(ErrorOf({"conv_transpose2d", {x, weight}, {{"output_padding", Ints{1}}}}), HasSubstr("less than stride or dilation"));
  EXPECT_THAT(ErrorOf({"conv_transpose2d", {x, weight}, {{"padding", Ints{4}}}}), HasSubstr("a result of -1 x -1"));
  EXPECT_THAT(ErrorOf({"conv_transpose2d", {x, weight}, {{"stride", Ints{40}}}}), HasSubstr("phases"));
  EXPECT_THAT(ErrorOf({"conv_transpose2d", {x, weight, F64({4}, 1)}}), HasSubstr("bias is f64[4], expected f64[2]"));
}

TEST(Conv, Errors) {
  const HostTensor x = F64({1, 4, 5, 5}, 1), weight = F64({2, 4, 3, 3}, 2);
  EXPECT_THAT(ErrorOf({"conv2d", {F64({4, 5, 5}, 1), weight}}), HasSubstr("[batch, channels, height, width]"));
  EXPECT_THAT(ErrorOf({"conv2d", {x, F64({2, 4, 3}, 1)}}), HasSubstr("weight has shape [2, 4, 3]"));
  EXPECT_THAT(ErrorOf({"conv2d", {x, F64({2, 3, 3, 3}, 1)}}), HasSubstr("expected [2, 4,"));
  EXPECT_THAT(ErrorOf({"conv2d", {x, weight}, {{"groups", int64_t{3}}}}), HasSubstr("3 groups do not divide"));
  EXPECT_THAT(ErrorOf({"conv2d", {x, weight}, {{"stride", Ints{0, 1}}}}), HasSubstr("stride"));
  EXPECT_THAT(ErrorOf({"conv2d", {x, weight}, {{"padding", Ints{1, 1, 1}}}}), HasSubstr("padding"));
  EXPECT_THAT(ErrorOf({"conv2d", {x, weight}, {{"dilation", Ints{3}}}}), HasSubstr("smaller than the kernel's 7 x 7"));
  EXPECT_THAT(ErrorOf({"conv2d", {x, weight, F64({3}, 1)}}), HasSubstr("bias is f64[3], expected f64[2]"));
  EXPECT_THAT(ErrorOf({"conv2d", {x, RandomTensor(DType::kF32, {2, 4, 3, 3}, 2)}}), HasSubstr("weight has dtype f32"));
}

}  // namespace
}  // namespace athanor
