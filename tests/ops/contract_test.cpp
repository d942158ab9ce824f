#include "ops/contract.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/decompose.h"
#include "ops/gradient.h"
#include "ops/op.h"
#include "tests/ops/op_checker.h"

namespace athanor {
namespace {

using testing::HasSubstr;

HostTensor F64(Shape shape, uint64_t seed) { return RandomTensor(DType::kF64, std::move(shape), seed); }

int CountOf(const Graph& graph, OpKind kind) {
  int count = 0;
  for (const Node& node : graph.nodes()) count += node.op->kind == kind;
  return count;
}

TEST(Contract, KnownProducts) {
  const HostTensor a = TensorOf(DType::kF64, {2, 3}, {1, 2, 3, 4, 5, 6}), b = TensorOf(DType::kF64, {3, 2}, {1, 0, 0, 1, 2, -1});
  ExpectValues(ResultsOf({"matmul", {a, b}})[0], {7, -1, 16, -1});
  ExpectValues(ResultsOf({"_contract", {a, b}})[0], {7, -1, 16, -1});
  const HostTensor weight = TensorOf(DType::kF64, {2, 3}, {1, 0, 2, 0, 1, -1}), bias = TensorOf(DType::kF64, {2}, {100, 200});
  ExpectValues(ResultsOf({"linear", {a, weight, bias}})[0], {107, 199, 116, 199});
  const HostTensor u = TensorOf(DType::kF64, {3}, {1, 2, 3}), v = TensorOf(DType::kF64, {3}, {4, 5, 6});
  ExpectValues(ResultsOf({"matmul", {u, v}})[0], {32});
  ExpectValues(ResultsOf({"matmul", {a, v}})[0], {32, 77});
  ExpectValues(ResultsOf({"matmul", {u, b}})[0], {7, -1});
}

struct MatmulShapes {
  Shape a, b, out;
};

TEST(Contract, MatmulOverAllRanks) {
  const std::vector<MatmulShapes> cases = {
      {{5}, {5}, {}},
      {{5}, {5, 3}, {3}},
      {{4, 5}, {5}, {4}},
      {{4, 5}, {5, 3}, {4, 3}},
      {{1, 1}, {1, 1}, {1, 1}},
      {{2, 4, 5}, {5, 3}, {2, 4, 3}},
      {{4, 5}, {2, 5, 3}, {2, 4, 3}},
      {{2, 4, 5}, {2, 5, 3}, {2, 4, 3}},
      {{2, 1, 4, 5}, {3, 5, 7}, {2, 3, 4, 7}},
      {{3, 4, 5}, {2, 1, 5, 7}, {2, 3, 4, 7}},
      {{1, 4, 5}, {3, 5, 7}, {3, 4, 7}},
      {{2, 3, 4, 5}, {5}, {2, 3, 4}},
      {{5}, {2, 5, 3}, {2, 3}},
      {{2, 0, 5}, {5, 3}, {2, 0, 3}},
      {{2, 4, 0}, {2, 0, 3}, {2, 4, 3}},
      {{0, 4, 5}, {1, 5, 3}, {0, 4, 3}},
  };
  for (const MatmulShapes& shapes : cases) {
    SCOPED_TRACE(ToString(shapes.a) + " by " + ToString(shapes.b));
    const OpExample test = {"matmul", {F64(shapes.a, 1), F64(shapes.b, 2)}};
    EXPECT_EQ(ResultsOf(test)[0].desc().shape, shapes.out);
    ExpectAll(test);
    ExpectGradients(test, {0});
    ExpectGradients(test, {1});
  }
}

TEST(Contract, OneMatrixOnTheRightMakesOneProduct) {
  const Graph core = Decompose(GraphOf({"matmul", {F64({2, 3, 4, 5}, 1), F64({5, 6}, 2)}}));
  for (const Node& node : core.nodes()) {
    if (node.op->kind == OpKind::kContract) {
      EXPECT_EQ(core.desc(node.outputs[0]).shape, (Shape{24, 6}));
    }
  }
  EXPECT_EQ(CountOf(core, OpKind::kContract), 1);
}

TEST(Contract, LinearOverAllRanks) {
  for (const Shape& lead : {Shape{}, Shape{1}, Shape{4}, Shape{2, 3}, Shape{0, 3}}) {
    SCOPED_TRACE(ToString(lead));
    Shape shape = lead;
    shape.push_back(5);
    ExpectAll({"linear", {F64(shape, 1), F64({3, 5}, 2), F64({3}, 3)}});
    ExpectAll({"linear", {F64(shape, 1), F64({3, 5}, 2)}});
  }
  for (int wanted : {0, 1, 2}) ExpectGradients({"linear", {F64({4, 5}, 1), F64({3, 5}, 2), F64({3}, 3)}}, {wanted});
}

// No copies: the gradients of linear are two products over views and one sum.
TEST(Contract, LinearGradientsAreProductsOverViews) {
  const Graph core = Decompose(Gradient(GraphOf({"linear", {F64({2, 3, 5}, 1), F64({4, 5}, 2), F64({4}, 3)}})));
  EXPECT_EQ(CountOf(core, OpKind::kContract), 3);
  EXPECT_EQ(CountOf(core, OpKind::kReduce), 1);
  EXPECT_EQ(CountOf(core, OpKind::kPointwise), 1);
}

TEST(Contract, CoreProductGradients) {
  ExpectGradients({"_contract", {F64({4, 5}, 1), F64({5, 3}, 2)}});
  ExpectGradients({"_contract", {F64({2, 3, 4, 5}, 1), F64({2, 3, 5, 1}, 2)}});
}

TEST(Contract, Errors) {
  EXPECT_THAT(ErrorOf({"matmul", {F64({2, 3}, 1), F64({4, 2}, 1)}}), HasSubstr("extents 3 and 4 differ"));
  EXPECT_THAT(ErrorOf({"matmul", {F64({}, 1), F64({4}, 1)}}), HasSubstr("at least one dimension"));
  EXPECT_THAT(ErrorOf({"matmul", {F64({2, 2, 3}, 1), F64({3, 3, 2}, 1)}}), HasSubstr("do not broadcast"));
  EXPECT_THAT(ErrorOf({"matmul", {F64({2, 3}, 1), RandomTensor(DType::kF32, {3, 2}, 1)}}), HasSubstr("dtypes f64 and f32"));
  EXPECT_THAT(ErrorOf({"matmul", {RandomTensor(DType::kI64, {3}, 1), RandomTensor(DType::kI64, {3}, 1)}}), HasSubstr("dtype i64"));
  EXPECT_THAT(ErrorOf({"linear", {F64({2, 3}, 1), F64({3, 2}, 1)}}), HasSubstr("[out, in]"));
  EXPECT_THAT(ErrorOf({"linear", {F64({2, 3}, 1), F64({4, 3}, 1), F64({3}, 1)}}), HasSubstr("bias is f64[3], expected f64[4]"));
  EXPECT_THAT(ErrorOf({"_contract", {F64({2, 3}, 1), F64({1, 3, 2}, 1)}}), HasSubstr("[batch..., M, K]"));
}

}  // namespace
}  // namespace athanor
