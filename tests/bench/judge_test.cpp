#include "bench/judge.h"

#include <gmock/gmock.h>

#include <cmath>

#include "ops/fragment.h"
#include "ops/gradient.h"
#include "ops/reference.h"

namespace athanor::bench {
namespace {

HostTensor Tensor(const std::vector<double>& values, DType dtype = DType::kF32) {
  HostTensor tensor(dtype, {static_cast<int64_t>(values.size())});
  tensor.Assign(values);
  return tensor;
}

// y = relu(x * w) with its gradients; the first product lies within rounding of zero.
class AtAKink : public testing::Test {
 protected:
  Graph graph_ = Gradient(ReadFragment(R"({"format": "athanor.fragment/1", "name": "kink",
      "inputs": [{"name": "x", "dtype": "f32", "shape": [5], "grad": true}, {"name": "w", "dtype": "f32", "shape": [5]}],
      "nodes": [{"op": "mul", "inputs": ["x", "w"], "outputs": ["p"]}, {"op": "relu", "inputs": ["p"], "outputs": ["y"]}], "outputs": ["y"]})",
                                       "kink"));
  std::vector<HostTensor> inputs_ = {Tensor({1e-7, 1, -1, 0.5, 0.01}), Tensor({1, 1, 1, 1, 1}), Tensor({2, 2, 2, 2, 2})};

  // With the given gradient of x instead of the right one.
  Judgement JudgeGradient(const std::vector<double>& values) {
    std::vector<HostTensor> results = Interpret(graph_, inputs_);
    results[1] = Tensor(values);
    return Judge(graph_, inputs_, results);
  }
};

TEST_F(AtAKink, WhatTheReferenceSaysIsRight) {
  const Judgement judgement = JudgeGradient({2, 2, 0, 2, 2});
  EXPECT_TRUE(judgement.right);
  EXPECT_EQ(judgement.error, 0);
  EXPECT_EQ(judgement.sensitivity, 0);  // nobody had to ask
}

TEST_F(AtAKink, AMaskWithinRoundingMayFallOnEitherSide) {
  const Judgement judgement = JudgeGradient({0, 2, 0, 2, 2});
  EXPECT_TRUE(judgement.right);
  EXPECT_EQ(judgement.error, 1);
  EXPECT_EQ(judgement.worst, "grad.x");
  EXPECT_NEAR(judgement.sensitivity, 1, 1e-5);
}

TEST_F(AtAKink, AMaskBeyondRoundingMayNot) {
  EXPECT_FALSE(JudgeGradient({2, 0, 0, 2, 2}).right);
  EXPECT_FALSE(JudgeGradient({2, 2, 2, 2, 2}).right);
  EXPECT_FALSE(JudgeGradient({2, 2, 0, 2, 0}).right);  // small, yet ten thousand times what rounding does
  EXPECT_FALSE(JudgeGradient({0, 2, 0, 2, 0}).right);  // one excused, one not
}

TEST_F(AtAKink, TheJumpExcusesNoMoreThanAJump) {
  EXPECT_FALSE(JudgeGradient({-3, 2, 0, 2, 2}).right);
  EXPECT_FALSE(JudgeGradient({NAN, 2, 0, 2, 2}).right);
  EXPECT_FALSE(JudgeGradient({INFINITY, 2, 0, 2, 2}).right);
}

// In bf16 a sum that is rounded already moves by whole steps: a = 1 + 2^-7 is one step from b, so that a - b may be nothing.
TEST(JudgeTest, StoredResultsMoveByWholeSteps) {
  const Graph graph = Gradient(ReadFragment(R"({"format": "athanor.fragment/1", "name": "steps",
      "inputs": [{"name": "x", "dtype": "bf16", "shape": [4], "grad": true}, {"name": "b", "dtype": "bf16", "shape": [4]}],
      "nodes": [{"op": "mul", "inputs": ["x", 1.0], "outputs": ["a"]}, {"op": "sub", "inputs": ["a", "b"], "outputs": ["d"]},
                {"op": "relu", "inputs": ["d"], "outputs": ["y"]}], "outputs": ["y"]})",
                                            "steps"));
  const std::vector<HostTensor> inputs = {Tensor({1 + 0x1p-7, 2, 3, 4}, DType::kBF16), Tensor({1, 1, 1, 8}, DType::kBF16),
                                          Tensor({1, 1, 1, 1}, DType::kBF16)};
  std::vector<HostTensor> results = Interpret(graph, inputs);
  results[1] = Tensor({0, 1, 1, 0}, DType::kBF16);
  EXPECT_TRUE(Judge(graph, inputs, results).right);
  results[1] = Tensor({1, -3, 1, 0}, DType::kBF16);
  EXPECT_FALSE(Judge(graph, inputs, results).right);
}

TEST(JudgeTest, SmoothFunctionsHaveNoExcuse) {
  const Graph graph =
      ReadFragment(R"({"format": "athanor.fragment/1", "name": "smooth", "inputs": [{"name": "x", "dtype": "f32", "shape": [2]}],
      "nodes": [{"op": "exp", "inputs": ["x"], "outputs": ["y"]}], "outputs": ["y"]})",
                   "smooth");
  const std::vector<HostTensor> inputs = {Tensor({0, 1})};
  EXPECT_TRUE(Judge(graph, inputs, std::vector{Tensor({1.00005, std::exp(1)})}).right);
  EXPECT_FALSE(Judge(graph, inputs, std::vector{Tensor({1.001, std::exp(1)})}).right);
}

TEST(JudgeTest, TheLeastExactDTypeJudges) {
  const auto graph = [](const std::string& a, const std::string& b) {
    return ReadFragment(
        R"({"format": "athanor.fragment/1", "name": "t", "inputs": [{"name": "a", "dtype": ")" + a + R"(", "shape": [1]},
        {"name": "b", "dtype": ")" +
            b + R"(", "shape": [1]}], "nodes": [{"op": "add", "inputs": ["a", "b"], "outputs": ["y"]}], "outputs": ["y"]})",
        "t");
  };
  EXPECT_EQ(JudgedDType(graph("f64", "f64")), DType::kF64);
  EXPECT_EQ(JudgedDType(graph("f64", "f32")), DType::kF32);
  EXPECT_EQ(JudgedDType(graph("bf16", "f32")), DType::kBF16);
  EXPECT_EQ(JudgedDType(graph("i64", "i64")), DType::kF32);
  EXPECT_LT(AllowedError(DType::kF64), AllowedError(DType::kF32));
  EXPECT_LT(AllowedError(DType::kF32), AllowedError(DType::kBF16));
}

}  // namespace
}  // namespace athanor::bench
