#include "bench/judge.h"

#include <gmock/gmock.h>

#include <cmath>
#include <random>

#include "ops/fragment.h"
#include "ops/gradient.h"
#include "ops/op.h"
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

// A layer over bf16 with its gradients: y = relu(x w^T + b). Results as good as kernels', spoilt in one way or another.
class InBf16 : public testing::Test {
 protected:
  static constexpr int64_t kRows = 200, kWidth = 48, kIn = 64;
  enum Result : int { kY, kGradX, kGradW, kGradB };

  InBf16() {
    std::mt19937 random(3);
    std::normal_distribution<double> normal;
    for (ValueId v : graph_.inputs()) {
      HostTensor& tensor = inputs_.emplace_back(graph_.desc(v).dtype, graph_.desc(v).shape);
      const double scale = graph_.value(v).name == "w" ? 0.125 : 1;
      for (int64_t i = 0; i < tensor.elements(); ++i) tensor.Set(i, scale * normal(random));
    }
    exact_ = InterpretUnrounded(graph_, inputs_);
    results_ = Stored(exact_);
  }

  std::vector<HostTensor> Stored(const std::vector<HostTensor>& values) const {
    std::vector<HostTensor> stored;
    for (size_t i = 0; i < values.size(); ++i) {
      stored.emplace_back(graph_.desc(graph_.outputs()[i].value).dtype, values[i].desc().shape);
      stored.back().Assign(values[i].ToDoubles());
    }
    return stored;
  }

  // `steps` of bf16 off.
  void Move(int output, int64_t element, double steps) {
    const double x = results_[output].Get(element);
    results_[output].Set(element, x + steps * std::exp2(std::floor(std::log2(std::abs(x))) - 7));
  }

  int64_t Positive() const {
    for (int64_t i = 0;; ++i) {
      if (exact_[kY].Get(i) > 0.1) return i;
    }
  }

  bool Right() const { return Judge(graph_, inputs_, results_).right; }

  Graph graph_ = Gradient(ReadFragment(R"({"format": "athanor.fragment/1", "name": "layer",
      "inputs": [{"name": "x", "dtype": "bf16", "shape": [200, 64], "grad": true}, {"name": "w", "dtype": "bf16", "shape": [48, 64], "grad": true},
                 {"name": "b", "dtype": "bf16", "shape": [48], "grad": true}],
      "nodes": [{"op": "linear", "inputs": ["x", "w"], "outputs": ["p"]}, {"op": "add", "inputs": ["p", "b"], "outputs": ["h"]},
                {"op": "relu", "inputs": ["h"], "outputs": ["y"]}], "outputs": ["y"]})",
                                       "layer"));
  std::vector<HostTensor> inputs_, exact_, results_;
};

TEST_F(InBf16, RoundingOfResultsNeedsNoNoise) {
  const Judgement judgement = Judge(graph_, inputs_, results_);
  EXPECT_TRUE(judgement.right);
  EXPECT_LE(judgement.error, 0x1p-8);
  EXPECT_EQ(judgement.sensitivity, 0);
}

TEST_F(InBf16, RoundingAfterEveryOpIsRight) {
  results_ = Interpret(graph_, inputs_);
  EXPECT_TRUE(Right());
}

// A kernel that stores the products and nothing else: some sums fall on the other side of zero.
TEST_F(InBf16, MasksOfStoredProductsAreRight) {
  const std::vector<HostTensor> stored = InterpretUnrounded(graph_, inputs_, [&](const Node& node, std::span<HostTensor> outputs) {
    for (int64_t i = 0; node.op->name == "linear" && i < outputs[0].elements(); ++i) outputs[0].Set(i, RoundTo(DType::kBF16, outputs[0].Get(i)));
  });
  int flipped = 0;
  for (int64_t i = 0; i < stored[kY].elements(); ++i) flipped += (stored[kY].Get(i) > 0) != (exact_[kY].Get(i) > 0);
  EXPECT_GT(flipped, 0);
  results_ = Stored(stored);
  EXPECT_TRUE(Right());
}

TEST_F(InBf16, AFewStepsInOneElementAreWrong) {
  for (double steps : {-8, 8}) {
    const HostTensor right = results_[kY];
    Move(kY, Positive(), steps);
    EXPECT_FALSE(Right()) << steps;
    results_[kY] = right;
  }
  EXPECT_TRUE(Right());
}

TEST_F(InBf16, ARowOfATileThatLacksItsLastProductsIsWrong) {
  const HostTensor &x = inputs_[0], &w = inputs_[1], &b = inputs_[2];
  for (int64_t column = 0; column < kWidth; ++column) {
    double sum = b.Get(column);
    for (int64_t k = 0; k < kIn - 1; ++k) sum += x.Get((kRows - 1) * kIn + k) * w.Get(column * kIn + k);
    results_[kY].Set((kRows - 1) * kWidth + column, std::max(sum, 0.0));
  }
  EXPECT_FALSE(Right());
}

TEST_F(InBf16, AnEdgeOfAGradientThatIsNotWrittenIsWrong) {
  for (int output : {kGradX, kGradW}) {
    const HostTensor right = results_[output];
    for (int64_t i = 1; i <= 4; ++i) results_[output].Set(right.elements() - i, 0);
    EXPECT_FALSE(Right()) << output;
    results_[output] = right;
  }
}

TEST_F(InBf16, AMissingBiasIsWrong) {
  inputs_[2].Assign(std::vector<double>(kWidth, 0.03125));
  results_ = Stored(InterpretUnrounded(graph_, inputs_));
  EXPECT_TRUE(Right());
  std::vector<HostTensor> without = inputs_;
  without[2].Assign(std::vector<double>(kWidth, 0));
  results_[kY] = Stored(InterpretUnrounded(graph_, without))[kY];
  EXPECT_FALSE(Right());
}

TEST(JudgeTest, AttentionMayRoundItsProbabilitiesAndNotForgetAKey) {
  constexpr int64_t kLength = 40, kWidth = 16;
  const Graph graph = ReadFragment(R"({"format": "athanor.fragment/1", "name": "attention",
      "inputs": [{"name": "q", "dtype": "bf16", "shape": [1, 1, 40, 16]}, {"name": "k", "dtype": "bf16", "shape": [1, 1, 40, 16]},
                 {"name": "v", "dtype": "bf16", "shape": [1, 1, 40, 16]}],
      "nodes": [{"op": "scaled_dot_product_attention", "inputs": ["q", "k", "v"], "outputs": ["y"]}], "outputs": ["y"]})",
                                   "attention");
  std::mt19937 random(4);
  std::normal_distribution<double> normal;
  std::vector<HostTensor> inputs(3, HostTensor(DType::kBF16, {1, 1, kLength, kWidth}));
  for (HostTensor& input : inputs) {
    for (int64_t i = 0; i < input.elements(); ++i) input.Set(i, normal(random));
  }
  const auto attention = [&](int64_t keys) {
    HostTensor y(DType::kBF16, {1, 1, kLength, kWidth});
    for (int64_t i = 0; i < kLength; ++i) {
      std::vector<double> p, sums(kWidth);
      double total = 0;
      for (int64_t j = 0; j < keys; ++j) {
        double score = 0;
        for (int64_t d = 0; d < kWidth; ++d) score += inputs[0].Get(i * kWidth + d) * inputs[1].Get(j * kWidth + d);
        total += std::exp(score / std::sqrt(kWidth));
        p.push_back(RoundTo(DType::kBF16, std::exp(score / std::sqrt(kWidth))));
      }
      for (int64_t d = 0; d < kWidth; ++d) {
        for (int64_t j = 0; j < keys; ++j) sums[d] += p[j] * inputs[2].Get(j * kWidth + d);
        y.Set(i * kWidth + d, sums[d] / total);
      }
    }
    return std::vector{y};
  };
  EXPECT_TRUE(Judge(graph, inputs, attention(kLength)).right);
  EXPECT_FALSE(Judge(graph, inputs, attention(kLength - 1)).right);
}

TEST(JudgeTest, SmoothFunctionsHaveNoExcuse) {
  const Graph graph =
      ReadFragment(R"({"format": "athanor.fragment/1", "name": "smooth", "inputs": [{"name": "x", "dtype": "f32", "shape": [2]}],
      "nodes": [{"op": "exp", "inputs": ["x"], "outputs": ["y"]}], "outputs": ["y"]})",
                   "smooth");
  const std::vector<HostTensor> inputs = {Tensor({0, 1})};
  EXPECT_TRUE(Judge(graph, inputs, std::vector{Tensor({1.00005, std::exp(1)})}).right);
  const std::vector<HostTensor> wrong = {Tensor({1.001, std::exp(1)})};
  EXPECT_FALSE(Judge(graph, inputs, wrong).right);
  EXPECT_TRUE(Judge(graph, inputs, wrong).decided);
  EXPECT_FALSE(Judge(graph, inputs, wrong, 2).right);
  EXPECT_TRUE(Judge(graph, inputs, wrong, 2).decided) << "far beyond what two runs move";
  const std::vector<HostTensor> doubtful = {Tensor({1, std::exp(1) * (1 + 1e-4) + 5e-6})};  // noise moves it by 4e-6 at most
  EXPECT_FALSE(Judge(graph, inputs, doubtful, 2).decided);
  EXPECT_FALSE(Judge(graph, inputs, doubtful).right);
  EXPECT_TRUE(Judge(graph, inputs, doubtful).decided);
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
