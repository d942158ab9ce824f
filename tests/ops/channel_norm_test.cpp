#include "ops/channel_norm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "ops/decompose.h"
#include "ops/fragment.h"
#include "ops/gradient.h"
#include "ops/op.h"
#include "tests/ops/op_checker.h"

namespace athanor {
namespace {

using testing::HasSubstr;
using Ints = std::vector<int64_t>;

const Attrs kTraining = {{"training", true}, {"eps", 1e-2}, {"momentum", 0.25}};

HostTensor F64(Shape shape, uint64_t seed) { return RandomTensor(DType::kF64, std::move(shape), seed); }

HostTensor Positive(Shape shape, uint64_t seed) {
  HostTensor tensor = F64(std::move(shape), seed);
  for (int64_t i = 0; i < tensor.elements(); ++i) tensor.Set(i, 0.5 + std::fabs(tensor.Get(i)));
  return tensor;
}

int CountOf(const Graph& graph, OpKind kind) {
  int count = 0;
  for (const Node& node : graph.nodes()) count += node.op->kind == kind;
  return count;
}

TEST(ChannelNorm, BatchNormOfKnownChannels) {
  // Channel 0 holds 1, 2, 3, 6 (mean 3, biased variance 3.5), channel 1 four times 5.
  const HostTensor x = TensorOf(DType::kF64, {2, 2, 2}, {1, 2, 5, 5, 3, 6, 5, 5});
  const HostTensor mean = TensorOf(DType::kF64, {2}, {10, 20}), var = TensorOf(DType::kF64, {2}, {1, 2});
  const HostTensor weight = TensorOf(DType::kF64, {2}, {2, 3}), bias = TensorOf(DType::kF64, {2}, {-1, 7});
  const double r = 1 / std::sqrt(3.5 + 0.5);
  const Attrs training = {{"training", true}, {"momentum", 0.1}, {"eps", 0.5}};
  const std::vector<HostTensor> results = ResultsOf({"batch_norm", {x, mean, var, weight, bias}, training});
  ASSERT_EQ(results.size(), 3u);
  ExpectValues(results[0], {-4 * r - 1, -2 * r - 1, 7, 7, -1, 6 * r - 1, 7, 7});
  ExpectValues(results[1], {0.9 * 10 + 0.1 * 3, 0.9 * 20 + 0.1 * 5});
  ExpectValues(results[2], {0.9 * 1 + 0.1 * 3.5 * 4 / 3, 0.9 * 2});
  const std::vector<HostTensor> evaluated = ResultsOf({"batch_norm", {x, mean, var}, {{"eps", 0.0}}});
  ASSERT_EQ(evaluated.size(), 1u);
  const double s = 1 / std::sqrt(2.0);
  ExpectValues(evaluated[0], {-9, -8, -15 * s, -15 * s, -7, -4, -15 * s, -15 * s});
}

TEST(ChannelNorm, BatchNormDecomposesAndDifferentiates) {
  for (const Shape& shape : {Shape{2, 3, 4, 5}, Shape{7, 3}, Shape{1, 2, 9}, Shape{5, 1, 1, 1}, Shape{3, 2, 1, 7}}) {
    SCOPED_TRACE(ToString(shape));
    const Shape channels = {shape[1]};
    const HostTensor x = F64(shape, 1), mean = F64(channels, 2), var = Positive(channels, 3), weight = F64(channels, 4), bias = F64(channels, 5);
    ExpectAll({"batch_norm", {x, std::nullopt, std::nullopt, weight, bias}, kTraining});
    ExpectAll({"batch_norm", {x, std::nullopt, std::nullopt, weight}, kTraining});
    ExpectAll({"batch_norm", {x}, kTraining});
    ExpectDecomposes({"batch_norm", {x, mean, var, weight, bias}, kTraining});
    const OpExample evaluation = {"batch_norm", {x, mean, var, weight, bias}, {{"eps", 1e-2}}};
    ExpectDecomposes(evaluation);
    ExpectGradients(evaluation, {0, 3, 4});
  }
}

// Statistics plane by plane lose nothing where a channel's mean is much larger than its deviation.
TEST(ChannelNorm, BatchNormSurvivesLargeMeans) {
  HostTensor x = RandomTensor(DType::kF32, {3, 2, 5, 7}, 1);
  for (int64_t i = 0; i < x.elements(); ++i) x.Set(i, 1000 + x.Get(i));
  ExpectDecomposes({"batch_norm", {x}, {{"training", true}}}, 1e-3);
}

TEST(ChannelNorm, BatchNormOfHalfPrecision) {
  const HostTensor x = RandomTensor(DType::kBF16, {3, 4, 5, 5}, 1);
  const auto vector = [](DType dtype) { return RandomTensor(dtype, {4}, 2); };
  for (DType dtype : {DType::kBF16, DType::kF32}) {
    const OpExample test = {"batch_norm", {x, std::nullopt, std::nullopt, vector(dtype), vector(dtype)}, {{"training", true}}};
    ExpectDecomposes(test, 1e-2);
    const Graph core = Decompose(GraphOf(test));
    for (const Node& node : core.nodes()) {
      if (node.op->kind == OpKind::kReduce) {
        EXPECT_EQ(core.desc(node.inputs[0]).dtype, DType::kF32);
      }
    }
  }
}

// Sums over planes of the forward: mean and squares; of the backward: g and g * centred. Each is merged over the batch.
TEST(ChannelNorm, BatchNormSharesStatistics) {
  const OpExample test = {"batch_norm", {F64({2, 3, 4, 4}, 1), std::nullopt, std::nullopt, F64({3}, 2), F64({3}, 3)}, kTraining};
  EXPECT_EQ(CountOf(Decompose(GraphOf(test)), OpKind::kReduce), 4);
  EXPECT_EQ(CountOf(Decompose(Gradient(GraphOf(test))), OpKind::kReduce), 8);
}

TEST(ChannelNorm, EvaluationReducesNothing) {
  const OpExample test = {"batch_norm", {F64({2, 3, 4, 4}, 1), F64({3}, 2), Positive({3}, 3), F64({3}, 4)}};
  EXPECT_EQ(CountOf(Decompose(GraphOf(test)), OpKind::kReduce), 0);
}

TEST(ChannelNorm, RunningStatisticsNeedNotBeNamed) {
  for (const std::string outputs : {"\"y\"", "\"y\", \"m\", \"v\""}) {
    const Graph graph = ReadFragment(R"({"format": "athanor.fragment/1", "name": "b",
        "inputs": [{"name": "x", "dtype": "f32", "shape": [2, 3], "grad": true}, {"name": "rm", "dtype": "f32", "shape": [3]},
                   {"name": "rv", "dtype": "f32", "shape": [3]}],
        "nodes": [{"op": "batch_norm", "inputs": ["x", "rm", "rv"], "outputs": [)" + outputs + R"(], "attrs": {"training": true}}],
        "outputs": [)" + outputs + "]}", "test");
    EXPECT_EQ(graph.node(0).outputs.size(), 3u);
    EXPECT_NO_THROW(Decompose(Gradient(graph)));
  }
}

TEST(ChannelNorm, GroupNormOfKnownGroups) {
  const HostTensor x = TensorOf(DType::kF64, {1, 4, 1}, {1, 3, 10, 30});
  ExpectValues(ResultsOf({"group_norm", {x}, {{"num_groups", int64_t{2}}, {"eps", 0.0}}})[0], {-1, 1, -1, 1});
  const HostTensor weight = TensorOf(DType::kF64, {4}, {1, 2, 3, 4}), bias = TensorOf(DType::kF64, {4}, {0, 0, 1, 1});
  ExpectValues(ResultsOf({"group_norm", {x, weight, bias}, {{"num_groups", int64_t{2}}, {"eps", 0.0}}})[0], {-1, 2, -2, 5});
}

TEST(ChannelNorm, GroupNormDecomposesAndDifferentiates) {
  for (const Shape& shape : {Shape{2, 6, 3, 5}, Shape{3, 6}, Shape{1, 6, 7}, Shape{2, 6, 1, 1}}) {
    for (int64_t groups : {1, 3, 6}) {
      if (groups == 6 && shape.size() == 2) continue;        // one element a group: nothing but rounding is left
      SCOPED_TRACE(ToString(shape));
      const HostTensor x = F64(shape, 1), weight = F64({6}, 2), bias = F64({6}, 3);
      const Attrs attrs = {{"num_groups", groups}, {"eps", 1e-2}};
      ExpectAll({"group_norm", {x, weight, bias}, attrs});
      ExpectAll({"group_norm", {x, std::nullopt, bias}, attrs});
      ExpectAll({"group_norm", {x}, attrs});
    }
  }
}

TEST(ChannelNorm, EmptyBatches) {
  const HostTensor none(DType::kF64, {0, 4, 3}), vector = Positive({4}, 1);
  ExpectDecomposes({"batch_norm", {none, vector, vector, vector}});
  ExpectDecomposes({"group_norm", {none, vector}, {{"num_groups", int64_t{2}}}});
}

TEST(ChannelNorm, Errors) {
  const HostTensor x = F64({2, 4, 3}, 1), four = F64({4}, 2), three = F64({3}, 3);
  EXPECT_THAT(ErrorOf({"batch_norm", {x}}), HasSubstr("required where training is false"));
  EXPECT_THAT(ErrorOf({"batch_norm", {x, four}, kTraining}), HasSubstr("only one of running_mean and running_var"));
  EXPECT_THAT(ErrorOf({"batch_norm", {x, three, three}}), HasSubstr("running_mean is f64[3], expected f64[4]"));
  EXPECT_THAT(ErrorOf({"batch_norm", {x, four, four, RandomTensor(DType::kF32, {4}, 1)}}), HasSubstr("weight is f32[4], expected f64[4]"));
  EXPECT_THAT(ErrorOf({"batch_norm", {F64({4}, 1), four, four}}), HasSubstr("expected [batch, channels, ...]"));
  EXPECT_THAT(ErrorOf({"batch_norm", {F64({1, 4}, 1)}, kTraining}), HasSubstr("more than one value"));
  EXPECT_THAT(ErrorOf({"batch_norm", {RandomTensor(DType::kI64, {2, 4}, 1), four, four}}), HasSubstr("dtype i64"));
  EXPECT_THAT(ErrorOf({"group_norm", {x}, {{"num_groups", int64_t{3}}}}), HasSubstr("num_groups is 3, which does not divide the 4 channels"));
  EXPECT_THAT(ErrorOf({"group_norm", {x, four, three}, {{"num_groups", int64_t{2}}}}), HasSubstr("bias is f64[3], expected f64[4]"));
}

}  // namespace
}  // namespace athanor
