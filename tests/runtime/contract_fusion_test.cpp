// Products with everything that is fused into them, over odd sizes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ops/fragment.h"
#include "ops/gradient.h"
#include "tests/runtime/comparison.h"

namespace athanor {
namespace {

Graph Read(const std::string& inputs, const std::string& nodes, const std::string& outputs) {
  return ReadFragment(fmt::format(R"({{"format": "athanor.fragment/1", "name": "t", "inputs": [{}], "nodes": [{}], "outputs": [{}]}})", inputs,
                                  nodes, outputs), "test");
}

std::string Input(const std::string& name, const std::string& shape, const std::string& dtype = "f32") {
  return fmt::format(R"({{"name": "{}", "dtype": "{}", "shape": [{}], "grad": true}})", name, dtype, shape);
}

void ExpectBoth(const Graph& graph) {
  for (std::optional<Isa> isa : {std::optional<Isa>(), std::optional(Isa::kAvx2)}) {
    Options options;
    options.isa = isa;
    options.threads = 2;
    ExpectEqualsReference(graph, options, 1);
    ExpectEqualsReference(Gradient(graph), options, 2);
  }
}

class Products : public testing::TestWithParam<std::tuple<int, int, int>> {};

TEST_P(Products, Matmul) {
  const auto [m, n, k] = GetParam();
  for (const char* dtype : {"f32", "f64"}) {
    ExpectBoth(Read(Input("a", fmt::format("{},{}", m, k), dtype) + "," + Input("b", fmt::format("{},{}", k, n), dtype),
                    R"({"op": "matmul", "inputs": ["a", "b"], "outputs": ["c"]})", R"("c")"));
  }
}

TEST_P(Products, LayerNormLinearGeluResidual) {
  const auto [m, n, k] = GetParam();
  ExpectBoth(Read(Input("x", fmt::format("{},{}", m, k)) + "," + Input("g", fmt::format("{}", k)) + "," + Input("h", fmt::format("{}", k)) + "," +
                      Input("w", fmt::format("{},{}", n, k)) + "," + Input("b", fmt::format("{}", n)) + "," + Input("r", fmt::format("{},{}", m, n)),
                  fmt::format(R"({{"op": "layer_norm", "inputs": ["x", "g", "h"], "outputs": ["y"], "attrs": {{"normalized_shape": [{}]}}}},
                     {{"op": "linear", "inputs": ["y", "w", "b"], "outputs": ["z"]}}, {{"op": "gelu", "inputs": ["z"], "outputs": ["u"]}},
                     {{"op": "add", "inputs": ["u", "r"], "outputs": ["v"]}})", k), R"("v")"));
}

INSTANTIATE_TEST_SUITE_P(Sizes, Products,
                         testing::Values(std::tuple(1, 1, 1), std::tuple(8, 48, 32), std::tuple(17, 33, 65), std::tuple(64, 128, 16),
                                         std::tuple(5, 100, 3), std::tuple(130, 7, 1100), std::tuple(3, 1, 50), std::tuple(40, 200, 2100)));

TEST(Products, BatchedWithBroadcast) {
  ExpectBoth(Read(Input("a", "2,1,9,20") + "," + Input("b", "3,20,35"), R"({"op": "matmul", "inputs": ["a", "b"], "outputs": ["c"]})", R"("c")"));
}

TEST(Products, HeadsAreStoredInPlace) {
  const Graph graph = Read(Input("x", "2,5,32") + "," + Input("w", "96,32") + "," + Input("b", "96"),
      R"({"op": "linear", "inputs": ["x", "w", "b"], "outputs": ["y"]}, {"op": "reshape", "inputs": ["y"], "outputs": ["r"], "attrs": {"shape": [2, 5, 3, 2, 16]}},
         {"op": "permute", "inputs": ["r"], "outputs": ["p"], "attrs": {"dims": [2, 0, 3, 1, 4]}},
         {"op": "unbind", "inputs": ["p"], "outputs": ["q", "k", "v"], "attrs": {"dim": 0}},
         {"op": "contiguous", "inputs": ["q"], "outputs": ["cq"]}, {"op": "contiguous", "inputs": ["k"], "outputs": ["ck"]},
         {"op": "contiguous", "inputs": ["v"], "outputs": ["cv"]})", R"("cq", "ck", "cv")");
  ExpectBoth(graph);
  EXPECT_EQ(Executable::Compile(graph, Options())->report().kernels.size(), 1u);
}

TEST(Products, PatchEmbeddingIsOneProduct) {
  const Graph graph = Read(Input("x", "2,3,12,8") + "," + Input("w", "20,3,4,4") + "," + Input("b", "20"),
      R"({"op": "conv2d", "inputs": ["x", "w", "b"], "outputs": ["y"], "attrs": {"stride": [4, 4]}},
         {"op": "flatten", "inputs": ["y"], "outputs": ["f"], "attrs": {"start_dim": 2}},
         {"op": "transpose", "inputs": ["f"], "outputs": ["t"], "attrs": {"dim0": 1, "dim1": 2}})", R"("t")");
  ExpectBoth(graph);
  EXPECT_EQ(Executable::Compile(graph, Options())->report().kernels.size(), 1u);
}

// The kernels that compute the node, by what they list.
std::vector<std::string> KernelsOf(const Graph& graph, const Options& options = Options()) {
  std::vector<std::string> kernels;
  const std::unique_ptr<Executable> executable = Executable::Compile(graph, options);
  for (const KernelReport& kernel : executable->report().kernels) kernels.push_back(fmt::format("{}", fmt::join(kernel.nodes, ", ")));
  return kernels;
}

Graph ConvolutionAndBatchNorm(const std::string& dtype, const std::string& weight, const std::string& more, const std::string& outputs) {
  return Read(Input("x", "3,5,17,13", dtype) + "," + Input("w", weight, dtype) + "," + Input("g", "21", dtype) + "," + Input("h", "21", dtype),
              R"({"op": "conv2d", "inputs": ["x", "w"], "outputs": ["c"]}, )" + more, outputs);
}

constexpr const char* kBatchNorm = R"({"op": "batch_norm", "inputs": ["c", null, null, "g", "h"], "outputs": ["y"], "attrs": {"training": true}})";

TEST(Moments, AreTakenByTheConvolutionInFrontOfABatchNorm) {
  for (const char* weight : {"21,5,1,1", "21,5,3,3", "21,5,2,3"}) {
    for (const std::string dtype : {"f32", "f64", "bf16"}) {
      const Graph graph = ConvolutionAndBatchNorm(dtype, weight, kBatchNorm, R"("y")");
      if (dtype != "bf16") ExpectBoth(graph);
      // The convolution, what merges the images, and the normalisation.
      const std::vector<std::string> kernels = KernelsOf(graph);
      ASSERT_EQ(kernels.size(), 3u) << fmt::format("{}", fmt::join(kernels, "\n"));
      EXPECT_THAT(kernels[0], testing::AllOf(testing::HasSubstr("_contract"), testing::HasSubstr("sum")));
    }
  }
}

// Other types and orders in memory: the moments are taken by a loop, or rounded as the result is.
TEST(Moments, OfResultsThatAreStoredOtherwise) {
  ExpectBoth(ConvolutionAndBatchNorm("f64", "21,5,1,1",
                                     R"({"op": "cast", "inputs": ["c"], "outputs": ["d"], "attrs": {"dtype": "f32"}},
                                        {"op": "cast", "inputs": ["d"], "outputs": ["e"], "attrs": {"dtype": "f64"}},
                                        {"op": "batch_norm", "inputs": ["e", null, null, "g", "h"], "outputs": ["y"], "attrs": {"training": true}})",
                                     R"("y")"));
  ExpectBoth(ConvolutionAndBatchNorm("f32", "21,5,1,1", std::string(kBatchNorm) + R"(, {"op": "permute", "inputs": ["c"], "outputs": ["p"], "attrs": {"dims": [0, 2, 3, 1]}},
                                        {"op": "contiguous", "inputs": ["p"], "outputs": ["z"]})", R"("y", "z")"));
  const Graph halves = ConvolutionAndBatchNorm("f64", "21,5,1,1",
                                               R"({"op": "cast", "inputs": ["c"], "outputs": ["d"], "attrs": {"dtype": "bf16"}},
                                                  {"op": "cast", "inputs": ["d"], "outputs": ["e"], "attrs": {"dtype": "f64"}},
                                                  {"op": "batch_norm", "inputs": ["e", null, null, "g", "h"], "outputs": ["y"], "attrs": {"training": true}})",
                                               R"("y")");
  EXPECT_GE(KernelsOf(halves).size(), 3u);                   // it compiles
}

TEST(BatchNormOfEvaluation, IsFoldedIntoItsConvolution) {
  const std::string channels = Input("g", "16") + "," + Input("h", "16") + "," + Input("m", "16") + R"(, {"name": "v", "dtype": "f32", "shape": [16]})";
  const Graph graph = Read(Input("x", "2,8,20,20") + "," + Input("w", "16,8,3,3") + "," + Input("r", "2,16,20,20") + "," + channels,
      R"({"op": "conv2d", "inputs": ["x", "w"], "outputs": ["c"], "attrs": {"padding": [1, 1]}}, {"op": "mul", "inputs": ["v", "v"], "outputs": ["u"]},
         {"op": "batch_norm", "inputs": ["c", "m", "u", "g", "h"], "outputs": ["n"], "attrs": {"training": false}},
         {"op": "add", "inputs": ["n", "r"], "outputs": ["s"]}, {"op": "relu", "inputs": ["s"], "outputs": ["y"]})", R"("y")");
  ExpectBoth(graph);
  EXPECT_EQ(KernelsOf(graph).size(), 1u);
}

// What lies between the two sums is an output: it waits for the first one, so the second is left to the loop that stores it.
TEST(Moments, AreLeftAloneWhereDistancesAreStored) {
  ExpectBoth(ConvolutionAndBatchNorm(
      "f32", "21,5,1,1",
      R"({"op": "mean", "inputs": ["c"], "outputs": ["m"], "attrs": {"dim": [2, 3], "keepdim": true}}, {"op": "sub", "inputs": ["c", "m"], "outputs": ["d"]},
         {"op": "mul", "inputs": ["d", "d"], "outputs": ["q"]}, {"op": "sum", "inputs": ["q"], "outputs": ["s"], "attrs": {"dim": [2, 3]}},
         {"op": "sum", "inputs": ["s"], "outputs": ["y"], "attrs": {"dim": [0]}})",
      R"("y", "d")"));
}

// A row that is normalised by its own moments is at hand in the loop that takes them.
TEST(Moments, OfLayerNormStayInItsLoop) {
  const Graph graph = Read(Input("x", "40,24") + "," + Input("w", "100,24"),
                           R"({"op": "linear", "inputs": ["x", "w"], "outputs": ["c"]},
                              {"op": "layer_norm", "inputs": ["c"], "outputs": ["y"], "attrs": {"normalized_shape": [100]}})", R"("y")");
  ExpectBoth(graph);
  const std::vector<std::string> kernels = KernelsOf(graph);
  ASSERT_EQ(kernels.size(), 2u);
  EXPECT_THAT(kernels[0], testing::Not(testing::HasSubstr("sum")));
}

}  // namespace
}  // namespace athanor
