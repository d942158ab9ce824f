#include "ops/optimizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "ops/decompose.h"
#include "ops/error.h"
#include "ops/gradient.h"
#include "ops/op.h"
#include "tests/ops/op_checker.h"

namespace athanor {
namespace {

using testing::HasSubstr;
using Ints = std::vector<int64_t>;

HostTensor Scalar(double value) { return TensorOf(DType::kF32, {}, {value}); }

OpExample AdamW(DType dtype, double step, const std::vector<Shape>& shapes, Attrs attrs = {}) {
  OpExample test = {"adamw", {Scalar(step), Scalar(0.125)}, std::move(attrs)};
  uint64_t seed = 1;
  for (const Shape& shape : shapes) {
    for (int i = 0; i < 4; ++i) {
      HostTensor tensor = RandomTensor(dtype, shape, seed++);
      if (i == 3) {                                          // second moments are not negative
        for (int64_t j = 0; j < tensor.elements(); ++j) tensor.Set(j, std::fabs(tensor.Get(j)));
      }
      test.inputs.emplace_back(tensor);
    }
  }
  return test;
}

TEST(Optimizer, FirstAdamWStepMovesByTheRate) {
  const HostTensor p = TensorOf(DType::kF64, {2}, {1, -2}), g = TensorOf(DType::kF64, {2}, {0.5, -4}), zero(DType::kF64, {2});
  const std::vector<HostTensor> out = ResultsOf({"adamw", {Scalar(1), Scalar(0.25), p, g, zero, zero}, {{"weight_decay", 0.5}, {"eps", 0.0}}});
  ExpectValues(out[0], {1 * 0.875 - 0.25, -2 * 0.875 + 0.25});
  ExpectValues(out[1], {0.05, -0.4});
  ExpectValues(out[2], {0.00025, 0.016});
}

TEST(Optimizer, KnownSgdSteps) {
  const HostTensor p = TensorOf(DType::kF64, {1}, {1}), g = TensorOf(DType::kF64, {1}, {2}), buffer = TensorOf(DType::kF64, {1}, {4});
  ExpectValues(ResultsOf({"sgd", {Scalar(0.5), p, g}})[0], {0});
  ExpectValues(ResultsOf({"sgd", {Scalar(0.5), p, g}, {{"weight_decay", 1.0}}})[0], {-0.5});
  const std::vector<HostTensor> heavy = ResultsOf({"sgd", {Scalar(0.5), p, g, buffer}, {{"momentum", 0.5}}});
  ExpectValues(heavy[0], {-1});
  ExpectValues(heavy[1], {4});
  ExpectValues(ResultsOf({"sgd", {Scalar(0.5), p, g, buffer}, {{"momentum", 0.5}, {"nesterov", true}}})[0], {-1});
}

TEST(Optimizer, Decompositions) {
  for (const double step : {1.0, 2.0, 10.0, 1e5}) {
    const OpExample test = AdamW(DType::kF64, step, {{3, 5}, {7}, {}, {0}}, {{"decay", Ints{1, 0, 1, 0}}});
    ASSERT_EQ(ResultsOf(test).size(), 12u);
    ExpectDecomposes(test);
    ExpectDecomposes(AdamW(DType::kF32, step, {{3, 5}}), 1e-6);
    ExpectDecomposes(AdamW(DType::kF64, step, {{3}}, {{"beta1", 0.0}, {"beta2", 0.0}}));
  }
  const HostTensor p = RandomTensor(DType::kF64, {5}, 1), g = RandomTensor(DType::kF64, {5}, 2), m = RandomTensor(DType::kF64, {5}, 3);
  ExpectDecomposes({"sgd", {Scalar(0.5), p, g, g, p}, {{"weight_decay", 0.25}, {"decay", Ints{0, 1}}}});
  for (const bool nesterov : {false, true}) {
    ExpectDecomposes({"sgd", {Scalar(0.5), p, g, m}, {{"momentum", 0.75}, {"nesterov", nesterov}, {"weight_decay", 0.25}}});
  }
}

// 1 - beta^step loses no digits in f32: after the first step the bias-corrected moments are the gradient itself.
TEST(Optimizer, BiasCorrectionIsAccurateInF32) {
  const HostTensor zero(DType::kF32, {1}), g = TensorOf(DType::kF32, {1}, {1});
  ExpectDecomposes({"adamw", {Scalar(1), Scalar(1), zero, g, zero, zero}, {{"beta2", 0.9999}, {"eps", 0.0}}}, 3e-7);
}

TEST(Optimizer, ParametersShareTheScalarWork) {
  const Graph one = Decompose(GraphOf(AdamW(DType::kF32, 1, {{3}}))), two = Decompose(GraphOf(AdamW(DType::kF32, 1, {{3}, {5}})));
  const auto tanhs = [](const Graph& graph) {
    int count = 0;
    for (const Node& node : graph.nodes()) count += node.op->name == "tanh";
    return count;
  };
  EXPECT_EQ(tanhs(one), 2);
  EXPECT_EQ(tanhs(two), 2);
}

TEST(Optimizer, Errors) {
  OpExample test = AdamW(DType::kF32, 1, {{3}});
  EXPECT_EQ(ErrorOf(test), "");
  EXPECT_THROW(Gradient(GraphOf(test)), Error);
  OpExample missing = test;
  missing.inputs.pop_back();
  EXPECT_THAT(ErrorOf(missing), HasSubstr("adamw: 5 inputs"));
  OpExample uneven = AdamW(DType::kF32, 1, {{3}, {3}});
  uneven.inputs.pop_back();
  EXPECT_THAT(ErrorOf(uneven), HasSubstr("7 tensors after the 2 scalars, expected 4 for each"));
  OpExample shape = test;
  shape.inputs[3] = RandomTensor(DType::kF32, {4}, 1);
  EXPECT_THAT(ErrorOf(shape), HasSubstr("input 3 is f32[4], expected f32[3]"));
  OpExample rate = test;
  rate.inputs[1] = RandomTensor(DType::kF32, {1}, 1);
  EXPECT_THAT(ErrorOf(rate), HasSubstr("lr is f32[1], expected f32[]"));
  EXPECT_THAT(ErrorOf(AdamW(DType::kF32, 1, {{3}}, {{"decay", Ints{1, 0}}})), HasSubstr("decay has 2 entries for 1"));
  EXPECT_THAT(ErrorOf(AdamW(DType::kF32, 1, {{3}}, {{"decay", Ints{2}}})), HasSubstr("expected 0 or 1"));
  EXPECT_THAT(ErrorOf(AdamW(DType::kF32, 1, {{3}}, {{"beta2", 1.0}})), HasSubstr("beta2 is 1"));
  const HostTensor p = RandomTensor(DType::kF32, {3}, 1);
  EXPECT_THAT(ErrorOf({"sgd", {Scalar(1), p, p}, {{"nesterov", true}}}), HasSubstr("momentum"));
}

}  // namespace
}  // namespace athanor
