// Convolutions through windows, forward and backward, against the interpreter: both instruction sets, both threadings.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "ops/gradient.h"
#include "tests/runtime/comparison.h"

namespace athanor {
namespace {

using Ints = std::vector<int64_t>;

struct Case {
  const char* name;
  Shape x, weight;
  Attrs attrs;
};

std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }

Graph ConvRelu(const Case& c, DType dtype) {
  Graph graph(c.name);
  const ValueId x = graph.AddInput("x", {dtype, c.x}, true), weight = graph.AddInput("weight", {dtype, c.weight}, true),
                bias = graph.AddInput("bias", {dtype, {c.weight[0]}}, true);
  graph.AddOutput("y", graph.Add1("sigmoid", {graph.Add1("conv2d", {x, weight, bias}, c.attrs)}));
  return graph;
}

class Convolutions : public testing::TestWithParam<Case> {};

TEST_P(Convolutions, EqualTheReference) {
  for (std::optional<Isa> isa : {std::optional<Isa>(), std::optional(Isa::kAvx2)}) {
    for (DType dtype : {DType::kF32, DType::kF64}) {
      Options options;
      options.isa = isa;
      options.threads = 2;
      ExpectEqualsReference(Gradient(ConvRelu(GetParam(), dtype)), options, 1);
    }
  }
}

TEST_P(Convolutions, AreTheSameBitsForAnyNumberOfThreads) {
  const Graph graph = Gradient(ConvRelu(GetParam(), DType::kF32));
  const std::vector<HostTensor> inputs = RandomInputs(graph, 3);
  std::vector<HostTensor> first;
  for (int threads : {1, 2, 5}) {
    Options options;
    options.threads = threads;
    const std::unique_ptr<Executable> executable = Executable::Compile(graph, options);
    const std::vector<HostTensor> outputs = RunExecutable(*executable, graph, inputs);
    if (first.empty()) first = outputs;
    for (size_t i = 0; i < outputs.size(); ++i) {
      EXPECT_EQ(std::memcmp(outputs[i].data(), first[i].data(), static_cast<size_t>(first[i].bytes())), 0) << graph.outputs()[i].name;
    }
  }
}

// ConvNeXt: statistics and normalisation both read the convolution, which would be 49 taps in each of three loops.
TEST(DepthwiseConvolution, OfManyTapsIsStoredBeforeANormalisation) {
  Graph graph("block");
  const ValueId x = graph.AddInput("x", {DType::kF32, {2, 6, 11, 12}}, true), weight = graph.AddInput("weight", {DType::kF32, {6, 1, 7, 7}}, true),
                scale = graph.AddInput("scale", {DType::kF32, {6}}, true), shift = graph.AddInput("shift", {DType::kF32, {6}}, true);
  const ValueId conv = graph.Add1("conv2d", {x, weight}, {{"padding", Ints{3}}, {"groups", int64_t{6}}});
  const ValueId pixels = graph.Add1("permute", {conv}, {{"dims", Ints{0, 2, 3, 1}}});
  graph.AddOutput("y", graph.Add1("layer_norm", {pixels, scale, shift}, {{"normalized_shape", Ints{6}}}));
  EXPECT_EQ(Executable::Compile(graph, Options())->report().kernels.size(), 2u);
  ExpectEqualsReference(Gradient(graph), Options(), 1);
}

// A product's vectors run over the ends of rows of pixels, where windows change: lane by lane, a pool in its packing would take seconds to
// compile and longer to run than the product.
TEST(Pools, AreStoredBeforeAProduct) {
  for (int64_t taps : {1, 3}) {                              // as they are, not as the windows that the convolution sees
    Graph graph("pool");
    const ValueId x = graph.AddInput("x", {DType::kF32, {2, 5, 21, 22}}, true), weight = graph.AddInput("weight", {DType::kF32, {7, 5, taps, taps}}, true);
    const ValueId pool = graph.Add1("max_pool2d", {graph.Add1("sigmoid", {x})}, {{"kernel_size", Ints{3}}, {"stride", Ints{2}}, {"padding", Ints{1}}});
    graph.AddOutput("y", graph.Add1("conv2d", {pool, weight}, {{"padding", Ints{taps / 2}}}));
    EXPECT_EQ(Executable::Compile(graph, Options())->report().kernels.size(), 3u);  // windows read the sigmoid from memory as well
    ExpectEqualsReference(Gradient(graph), Options(), 1);
  }
}

// The vectors of a sum over pixels run over the ends of rows as well.
TEST(Pools, AreStoredBeforeAReduction) {
  Graph graph("pool");
  const ValueId x = graph.AddInput("x", {DType::kF32, {2, 5, 21, 22}}, true);
  const ValueId pool = graph.Add1("max_pool2d", {x}, {{"kernel_size", Ints{3}}, {"stride", Ints{2}}, {"padding", Ints{1}}});
  graph.AddOutput("y", graph.Add1("sum", {pool}, {{"dim", Ints{2, 3}}}));
  EXPECT_EQ(Executable::Compile(graph, Options())->report().kernels.size(), 2u);
  ExpectEqualsReference(Gradient(graph), Options(), 1);
}

// The gradient's terms are read through a view with an odd number of rows: their sum is stored, not each of them.
TEST(Pools, OfOddSizesStoreTheSumOfTheirGradient) {
  Graph graph("pool");
  const ValueId x = graph.AddInput("x", {DType::kF32, {2, 5, 13, 11}}, true);
  graph.AddOutput("y", graph.Add1("max_pool2d", {x}, {{"kernel_size", Ints{3}}, {"stride", Ints{2}}}));
  const Graph both = Gradient(graph);
  EXPECT_EQ(Executable::Compile(both, Options())->report().kernels.size(), 5u);  // y, the places, a short iota, the sum, what is cut of it
  ExpectEqualsReference(both, Options(), 1);
}

INSTANTIATE_TEST_SUITE_P(
    Forms, Convolutions,
    testing::Values(Case{"same", {2, 20, 14, 13}, {24, 20, 3, 3}, {{"padding", Ints{1}}}},
                    Case{"large_image", {2, 9, 23, 37}, {17, 9, 3, 3}, {{"padding", Ints{1}}}},
                    Case{"small_image", {5, 40, 7, 7}, {65, 40, 3, 3}, {{"padding", Ints{1}}}},
                    Case{"pointwise", {2, 33, 16, 16}, {50, 33, 1, 1}, {}}, Case{"pointwise_small", {3, 33, 7, 7}, {50, 33, 1, 1}, {}},
                    Case{"downsample", {3, 20, 15, 14}, {40, 20, 1, 1}, {{"stride", Ints{2}}}},
                    Case{"stem", {2, 3, 41, 40}, {16, 3, 7, 7}, {{"stride", Ints{2}}, {"padding", Ints{3}}}},
                    Case{"far_stride", {2, 3, 47, 45}, {16, 3, 11, 11}, {{"stride", Ints{4}}, {"padding", Ints{2}}}},
                    Case{"dilated", {2, 10, 19, 18}, {12, 10, 3, 2}, {{"stride", Ints{3, 2}}, {"padding", Ints{2, 1}}, {"dilation", Ints{2, 1}}}},
                    Case{"groups", {2, 12, 17, 12}, {18, 4, 3, 3}, {{"padding", Ints{1}}, {"groups", int64_t{3}}}},
                    Case{"depthwise", {2, 6, 15, 16}, {6, 1, 3, 3}, {{"padding", Ints{1}}, {"groups", int64_t{6}}}},
                    Case{"one_pixel", {4, 10, 3, 3}, {8, 10, 3, 3}, {}}),
    [](const testing::TestParamInfo<Case>& info) { return info.param.name; });

}  // namespace
}  // namespace athanor
