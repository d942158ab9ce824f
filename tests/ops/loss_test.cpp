#include "ops/loss.h"

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

HostTensor F64(Shape shape, uint64_t seed) { return RandomTensor(DType::kF64, std::move(shape), seed); }
HostTensor I64(Shape shape, const std::vector<double>& values) { return TensorOf(DType::kI64, std::move(shape), values); }
Attr Text(const char* text) { return std::string(text); }

TEST(Loss, KnownSoftmax) {
  const HostTensor x = TensorOf(DType::kF64, {2, 2}, {0, std::log(3.0), 1000, 1000});
  ExpectValues(ResultsOf({"softmax", {x}, {{"dim", int64_t{1}}}})[0], {0.25, 0.75, 0.5, 0.5});
  ExpectValues(ResultsOf({"log_softmax", {x}, {{"dim", int64_t{-1}}}})[0], {std::log(0.25), std::log(0.75), std::log(0.5), std::log(0.5)});
  ExpectValues(ResultsOf({"softmax", {TensorOf(DType::kF64, {2, 1}, {std::log(4.0), 0})}, {{"dim", int64_t{0}}}})[0], {0.8, 0.2});
}

TEST(Loss, KnownCrossEntropy) {
  const HostTensor x = TensorOf(DType::kF64, {3, 2}, {0, std::log(3.0), 0, 0, 5, 7}), target = I64({3}, {1, 0, -100});
  const double a = -std::log(0.75), b = std::log(2.0);
  ExpectValues(ResultsOf({"cross_entropy", {x, target}, {{"reduction", Text("none")}}})[0], {a, b, 0});
  ExpectValues(ResultsOf({"cross_entropy", {x, target}, {{"reduction", Text("sum")}}})[0], {a + b});
  ExpectValues(ResultsOf({"cross_entropy", {x, target}})[0], {(a + b) / 2});
  const HostTensor weight = TensorOf(DType::kF64, {2}, {1, 3});
  ExpectValues(ResultsOf({"cross_entropy", {x, target, weight}})[0], {(3 * a + b) / 4});
  ExpectValues(ResultsOf({"nll_loss", {x, target}})[0], {-std::log(3.0) / 2});
  EXPECT_TRUE(std::isnan(ResultsOf({"cross_entropy", {x, I64({3}, {-100, -100, -100})}})[0].Get(0)));
}

TEST(Loss, KnownMeanSquares) {
  const HostTensor x = TensorOf(DType::kF64, {2}, {1, 2}), y = TensorOf(DType::kF64, {2}, {3, -1});
  ExpectValues(ResultsOf({"mse_loss", {x, y}})[0], {6.5});
  ExpectValues(ResultsOf({"mse_loss", {x, y}, {{"reduction", Text("sum")}}})[0], {13});
  ExpectValues(ResultsOf({"mse_loss", {x, y}, {{"reduction", Text("none")}}})[0], {4, 9});
}

TEST(Loss, SoftmaxDecompositionsAndGradients) {
  for (const Shape& shape : {Shape{1}, Shape{7}, Shape{3, 5}, Shape{2, 3, 4}, Shape{0, 3}}) {
    for (int64_t dim = -1; dim < static_cast<int64_t>(shape.size()); ++dim) {
      SCOPED_TRACE(fmt::format("{} along {}", ToString(shape), dim));
      ExpectAll({"softmax", {F64(shape, 1)}, {{"dim", dim}}});
      ExpectAll({"log_softmax", {F64(shape, 1)}, {{"dim", dim}}});
    }
  }
}

TEST(Loss, ClassLossDecompositionsAndGradients) {
  struct Shapes {
    Shape input, target;
  };
  for (const Shapes& shapes : {Shapes{{5}, {}}, Shapes{{1, 1}, {1}}, Shapes{{7, 5}, {7}}, Shapes{{2, 5, 3}, {2, 3}}, Shapes{{2, 5, 3, 2}, {2, 3, 2}}}) {
    for (const char* reduction : {"none", "mean", "sum"}) {
      for (const char* op : {"cross_entropy", "nll_loss"}) {
        SCOPED_TRACE(fmt::format("{} of {}, {}", op, ToString(shapes.input), reduction));
        const int64_t classes = shapes.input[shapes.input.size() == 1 ? 0 : 1];
        const HostTensor x = F64(shapes.input, 1), target = RandomTensor(DType::kI64, shapes.target, 2, classes);
        const Attrs attrs = {{"reduction", Text(reduction)}};
        ExpectAll({op, {x, target}, attrs});
        HostTensor weight = F64({classes}, 3);
        for (int64_t i = 0; i < classes; ++i) weight.Set(i, 0.1 + std::fabs(weight.Get(i)));
        const OpExample weighted = {op, {x, target, weight}, attrs};
        ExpectDecomposes(weighted);
        ExpectGradients(weighted, {0});
        if (classes > 1 && shapes.input.size() > 1) {        // class 2 ignored
          ExpectAll({op, {x, target}, {{"reduction", Text(reduction)}, {"ignore_index", int64_t{2}}}});
        }
      }
    }
  }
}

TEST(Loss, MeanSquaresDecompositionsAndGradients) {
  for (const char* reduction : {"none", "mean", "sum"}) {
    for (const Shape& shape : {Shape{}, Shape{3, 5}}) {
      ExpectAll({"mse_loss", {F64(shape, 1), F64(shape, 2)}, {{"reduction", Text(reduction)}}});
      ExpectGradients({"mse_loss", {F64(shape, 1), F64(shape, 2)}, {{"reduction", Text(reduction)}}}, {1});
    }
  }
}

TEST(Loss, LargeLogitsStayFinite) {
  const HostTensor x = TensorOf(DType::kF32, {1, 3}, {1e4, -1e4, 0});
  const OpExample test = {"cross_entropy", {x, I64({1}, {1})}};
  ExpectValues(ResultsOf(test)[0], {2e4});
  ExpectDecomposes(test, 1e-6);
}

// Forward and backward read the logits once: one maximum, one exponential, one sum of them and the picked logit.
TEST(Loss, CrossEntropySharesItsRowStatistics) {
  const OpExample test = {"cross_entropy", {F64({6, 8}, 1), I64({6}, {0, 1, 2, 3, 4, 5})}, {{"reduction", Text("none")}}};
  const Graph core = Decompose(Gradient(GraphOf(test)));
  int reductions = 0, exponentials = 0;
  for (const Node& node : core.nodes()) {
    reductions += node.op->kind == OpKind::kReduce;
    exponentials += node.op->name == "exp";
  }
  EXPECT_EQ(reductions, 3);
  EXPECT_EQ(exponentials, 1);
}

TEST(Loss, TargetsOutsideOfTheClasses) {
  EXPECT_THROW(ResultsOf({"cross_entropy", {F64({1, 3}, 1), I64({1}, {3})}}), Error);
  EXPECT_THROW(ResultsOf({"nll_loss", {F64({1, 3}, 1), I64({1}, {-1})}}), Error);
}

TEST(Loss, Errors) {
  const HostTensor x = F64({2, 3}, 1), target = I64({2}, {0, 1});
  EXPECT_THAT(ErrorOf({"softmax", {x}, {{"dim", int64_t{2}}}}), HasSubstr("dim 2 is outside"));
  EXPECT_THAT(ErrorOf({"softmax", {target}, {{"dim", int64_t{0}}}}), HasSubstr("dtype i64"));
  EXPECT_THAT(ErrorOf({"cross_entropy", {x, F64({2, 3}, 1)}}), HasSubstr("expected class indices i64[2]"));
  EXPECT_THAT(ErrorOf({"cross_entropy", {x, I64({3}, {0, 1, 2})}}), HasSubstr("target is i64[3]"));
  EXPECT_THAT(ErrorOf({"cross_entropy", {x, target, F64({2}, 1)}}), HasSubstr("weight is f64[2], expected f64[3]"));
  EXPECT_THAT(ErrorOf({"cross_entropy", {x, target}, {{"reduction", Text("avg")}}}), HasSubstr("reduction is \"avg\""));
  EXPECT_THAT(ErrorOf({"cross_entropy", {x, target}, {{"label_smoothing", 0.1}}}), HasSubstr("label_smoothing"));
  EXPECT_THAT(ErrorOf({"mse_loss", {x, F64({3, 2}, 1)}}), HasSubstr("target is f64[3, 2], expected f64[2, 3]"));
}

}  // namespace
}  // namespace athanor
