#include <cmath>

#include "tests/ops/testing.h"

namespace athanor {
namespace {

TEST(Activation, Values) {
  const std::vector<HostTensor> x = {Tensor(DType::kF64, {4}, {-1, 0, 0.5, 3})};
  EXPECT_EQ(RunOp("relu", x)[0].ToDoubles(), (std::vector<double>{0, 0, 0.5, 3}));
  EXPECT_EQ(RunOp("clamp", x, {{"min", -0.5}, {"max", int64_t{2}}})[0].ToDoubles(), (std::vector<double>{-0.5, 0, 0.5, 2}));
  // From torch.nn.functional in f64.
  ExpectClose(RunOp("gelu", x)[0], Tensor(DType::kF64, {4}, {-0.15865525393145707, 0, 0.34573123063700656, 2.99595030590511}), 1e-15,
              "gelu");
  ExpectClose(RunOp("gelu", x, {{"approximate", "tanh"}})[0],
              Tensor(DType::kF64, {4}, {-0.15880800939172324, 0, 0.34571400982514394, 2.996362607918227}), 1e-12, "gelu tanh");
  ExpectClose(RunOp("silu", x)[0], Tensor(DType::kF64, {4}, {-0.2689414213699951, 0, 0.3112296656009273, 2.8577223804673}), 1e-14,
              "silu");
}

// The lower tail has few digits left after 1 + erf; erfc keeps them.
TEST(Activation, GeluKeepsItsTail) {
  const std::vector<HostTensor> x = {Tensor(DType::kF64, {1}, {-8})};
  EXPECT_NEAR(RunOp("gelu", x)[0].Get(0) / (-8 * 6.220960574271786e-16), 1, 1e-12);   // the normal distribution at -8
}

TEST(Activation, Errors) {
  Graph graph;
  const ValueId x = graph.AddInput("x", {DType::kF32, {2}}), i = graph.AddInput("i", {DType::kI64, {2}});
  EXPECT_EQ(ErrorOf([&] { graph.Add1("gelu", {i}); }), "gelu: input has dtype i64, expected a floating-point one");
  EXPECT_EQ(ErrorOf([&] { graph.Add1("gelu", {x}, {{"approximate", "sigmoid"}}); }),
            "gelu: approximate is \"sigmoid\", expected \"none\" or \"tanh\"");
  EXPECT_EQ(ErrorOf([&] { graph.Add1("clamp", {x}); }), "clamp: neither min nor max is given");
  EXPECT_EQ(ErrorOf([&] { graph.Add1("clamp", {x, x}, {{"min", 1.0}}); }), "clamp: min is given both as an input and as an attribute");
  EXPECT_EQ(ErrorOf([&] { graph.Add1("clamp", {x, i}); }), "clamp: min has dtype i64, expected f32 as the input");
  EXPECT_EQ(ErrorOf([&] { graph.Add1("clamp", {i}, {{"min", 0.5}}); }), "clamp: min is 0.5, expected an integer for an input of dtype i64");
}

}  // namespace
}  // namespace athanor
