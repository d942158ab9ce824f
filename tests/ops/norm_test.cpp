#include "ops/norm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "ops/decompose.h"
#include "ops/gradient.h"
#include "ops/op.h"
#include "tests/ops/op_checker.h"

namespace athanor {
namespace {

using testing::HasSubstr;
using Ints = std::vector<int64_t>;

HostTensor F64(Shape shape, uint64_t seed) { return RandomTensor(DType::kF64, std::move(shape), seed); }

TEST(Norm, LayerNormOfKnownRows) {
  const HostTensor x = TensorOf(DType::kF64, {2, 4}, {1, 2, 3, 4, -3, -1, 1, 3});
  const double a = 1.5 / std::sqrt(1.25), b = 0.5 / std::sqrt(1.25), c = 3 / std::sqrt(5.0), d = 1 / std::sqrt(5.0);
  ExpectValues(ResultsOf({"layer_norm", {x}, {{"normalized_shape", Ints{4}}, {"eps", 0.0}}})[0], {-a, -b, b, a, -c, -d, d, c});
  const HostTensor weight = TensorOf(DType::kF64, {4}, {1, 2, 3, 4}), bias = TensorOf(DType::kF64, {4}, {0, 1, 0, -1});
  ExpectValues(ResultsOf({"layer_norm", {x, weight, bias}, {{"normalized_shape", Ints{4}}, {"eps", 0.0}}})[0],
               {-a, 1 - 2 * b, 3 * b, 4 * a - 1, -c, 1 - 2 * d, 3 * d, 4 * c - 1});
}

TEST(Norm, RmsNormOfKnownRows) {
  const HostTensor x = TensorOf(DType::kF64, {1, 4}, {1, 2, 3, 4});
  const double r = 1 / std::sqrt(7.5);
  ExpectValues(ResultsOf({"rms_norm", {x}, {{"normalized_shape", Ints{4}}, {"eps", 0.0}}})[0], {r, 2 * r, 3 * r, 4 * r});
  const HostTensor zero = TensorOf(DType::kF32, {1, 2}, {0x1p-12, 0});
  const double machine = 0x1p-23, mean = 0x1p-25;            // without eps: the machine epsilon of f32
  ExpectValues(ResultsOf({"rms_norm", {zero}, {{"normalized_shape", Ints{2}}}})[0], {0x1p-12 / std::sqrt(mean + machine), 0}, 1e-7);
}

TEST(Norm, DecompositionsAndGradients) {
  for (const Shape& lead : {Shape{}, Shape{1}, Shape{5}, Shape{2, 3}}) {
    for (const Shape& normalized : {Shape{1}, Shape{7}, Shape{3, 5}}) {
      Shape shape = lead;
      shape.insert(shape.end(), normalized.begin(), normalized.end());
      SCOPED_TRACE(ToString(shape));
      const HostTensor x = F64(shape, 1), weight = F64(normalized, 2), bias = F64(normalized, 3);
      const Attrs attrs = {{"normalized_shape", normalized}, {"eps", 1e-2}};
      ExpectAll({"layer_norm", {x, weight, bias}, attrs});
      ExpectAll({"layer_norm", {x, std::nullopt, bias}, attrs});
      ExpectAll({"layer_norm", {x}, attrs});
      ExpectAll({"rms_norm", {x, weight}, attrs});
      ExpectAll({"rms_norm", {x}, attrs});
    }
  }
  ExpectGradients({"layer_norm", {F64({3, 4}, 1), F64({4}, 2), F64({4}, 3)}, {{"normalized_shape", Ints{4}}}}, {1});
}

TEST(Norm, EmptyRowsStayEmpty) {
  ExpectDecomposes({"layer_norm", {HostTensor(DType::kF64, {0, 4})}, {{"normalized_shape", Ints{4}}}});
}

TEST(Norm, HalfPrecisionStatisticsAreComputedInF32) {
  const OpExample test = {"layer_norm", {RandomTensor(DType::kBF16, {3, 65}, 1)}, {{"normalized_shape", Ints{65}}}};
  ExpectDecomposes(test, 1e-2);
  const Graph core = Decompose(GraphOf(test));
  for (const Node& node : core.nodes()) {
    if (node.op->kind == OpKind::kReduce) {
      EXPECT_EQ(core.desc(node.inputs[0]).dtype, DType::kF32);
    }
  }
}

// What forward and backward both need is computed once: the mean and the variance, and per gradient two row sums and two column sums.
TEST(Norm, ForwardAndBackwardShareStatistics) {
  const OpExample test = {"layer_norm", {F64({6, 8}, 1), F64({8}, 2), F64({8}, 3)}, {{"normalized_shape", Ints{8}}}};
  const Graph core = Decompose(Gradient(GraphOf(test)));
  int reductions = 0, roots = 0;
  for (const Node& node : core.nodes()) {
    reductions += node.op->kind == OpKind::kReduce;
    roots += node.op->name == "rsqrt";
  }
  EXPECT_EQ(reductions, 6);
  EXPECT_EQ(roots, 1);
}

TEST(Norm, Errors) {
  const HostTensor x = F64({2, 4}, 1);
  EXPECT_THAT(ErrorOf({"layer_norm", {x}}), HasSubstr("\"normalized_shape\""));
  EXPECT_THAT(ErrorOf({"layer_norm", {x}, {{"normalized_shape", Ints{}}}}), HasSubstr("empty"));
  EXPECT_THAT(ErrorOf({"layer_norm", {x}, {{"normalized_shape", Ints{3}}}}), HasSubstr("input has shape [2, 4]"));
  EXPECT_THAT(ErrorOf({"layer_norm", {x, F64({3}, 1)}, {{"normalized_shape", Ints{4}}}}), HasSubstr("weight is f64[3], expected f64[4]"));
  EXPECT_THAT(ErrorOf({"layer_norm", {x, std::nullopt, RandomTensor(DType::kF32, {4}, 1)}, {{"normalized_shape", Ints{4}}}}),
              HasSubstr("bias is f32[4], expected f64[4]"));
  EXPECT_THAT(ErrorOf({"rms_norm", {RandomTensor(DType::kI64, {4}, 1)}, {{"normalized_shape", Ints{4}}}}), HasSubstr("dtype i64"));
}

}  // namespace
}  // namespace athanor
