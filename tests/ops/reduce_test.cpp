#include <cmath>

#include "tests/ops/finite_difference.h"

namespace athanor {
namespace {

TEST(Reduce, Values) {
  const std::vector<HostTensor> x = {Tensor(DType::kF64, {2, 3}, {1, 2, 3, 4, 5, 9})};
  EXPECT_EQ(RunOp("sum", x)[0].ToDoubles(), std::vector<double>{24});
  EXPECT_EQ(RunOp("sum", x, {{"dim", int64_t{0}}})[0].ToDoubles(), (std::vector<double>{5, 7, 12}));
  EXPECT_EQ(RunOp("mean", x, {{"dim", int64_t{-1}}})[0].ToDoubles(), (std::vector<double>{2, 6}));
  EXPECT_EQ(RunOp("amax", x, {{"dim", int64_t{1}}, {"keepdim", true}})[0].ToDoubles(), (std::vector<double>{3, 9}));
  EXPECT_EQ(ToString(RunOp("amax", x, {{"dim", int64_t{1}}, {"keepdim", true}})[0].desc()), "f64[2, 1]");
  EXPECT_EQ(ToString(RunOp("sum", std::vector{Tensor(DType::kBool, {2}, {1, 1})})[0].desc()), "i64[]");
  EXPECT_TRUE(std::isnan(RunOp("mean", std::vector{Tensor(DType::kF32, {0}, {})})[0].Get(0)));
}

// Many bf16 numbers that a bf16 accumulator would lose.
TEST(Reduce, HalfPrecisionSumsAreAccumulatedInF32) {
  Graph graph;
  graph.AddOutput("y", graph.Add1("sum", {graph.AddInput("x", {DType::kBF16, {4096}})}));
  const std::vector<HostTensor> x = {Tensor(DType::kBF16, {4096}, std::vector<double>(4096, 1))};
  EXPECT_EQ(Interpret(Decompose(graph), x)[0].Get(0), 4096);
}

TEST(Reduce, GradientOfAmaxIsSharedAmongEquals) {
  Graph graph;
  const ValueId x = graph.AddInput("x", {DType::kF64, {2, 3}}, true);
  graph.AddOutput("y", graph.Add1("amax", {x}, {{"dim", int64_t{1}}}));
  const std::vector<HostTensor> inputs = {Tensor(DType::kF64, {2, 3}, {3, 1, 3, 2, 7, 2}), Tensor(DType::kF64, {2}, {6, 5})};
  EXPECT_EQ(Interpret(Gradient(graph), inputs)[1].ToDoubles(), (std::vector<double>{3, 0, 3, 0, 5, 0}));
}

TEST(Reduce, Errors) {
  Graph graph;
  const ValueId x = graph.AddInput("x", {DType::kF32, {2, 0}}), i = graph.AddInput("i", {DType::kI64, {2}});
  EXPECT_EQ(ErrorOf([&] { graph.Add1("amax", {x}); }), "amax: an input of shape [2, 0] has no elements along [0, 1]");
  EXPECT_EQ(ErrorOf([&] { graph.Add1("mean", {i}); }), "mean: input has dtype i64, expected a floating-point one");
  EXPECT_EQ(ErrorOf([&] { graph.Add1("sum", {x}, {{"dim", int64_t{2}}}); }),
            "sum: dimension 2 is outside of shape [2, 0], expected -2 to 1");
}

}  // namespace
}  // namespace athanor
