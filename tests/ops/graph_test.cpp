#include "ops/graph.h"

#include <cmath>

#include "tests/ops/testing.h"

namespace athanor {
namespace {

using testing::HasSubstr;

class GraphTest : public testing::Test {
 protected:
  std::string AddError(std::string_view op, std::vector<ValueId> inputs, Attrs attrs = {}, std::vector<std::string> names = {}) {
    return ErrorOf([&] { graph_.Add(op, inputs, attrs, names); });
  }

  Graph graph_;
  ValueId x_ = graph_.AddInput("x", {DType::kF32, {2, 3}}, true);
};

TEST_F(GraphTest, HoldsWhatWasAdded) {
  const std::vector<std::string> names = {"y"};
  const ValueId y = graph_.Add("exp", std::vector{x_}, {}, names)[0];
  graph_.AddOutput("result", y);
  EXPECT_EQ(graph_.Find("y"), y);
  EXPECT_EQ(graph_.Find("z"), std::nullopt);
  EXPECT_EQ(graph_.value(y).producer, 0);
  EXPECT_EQ(graph_.node(0).outputs, std::vector{y});
  EXPECT_EQ(ToString(graph_.desc(y)), "f32[2, 3]");
  EXPECT_TRUE(graph_.value(x_).wants_grad);
}

TEST_F(GraphTest, UnknownOpsAndWrongArity) {
  EXPECT_EQ(AddError("expo", {x_}), "unknown op \"expo\"");
  EXPECT_EQ(AddError("exp", {x_, x_}), "exp: 2 inputs given, expected 1");
  EXPECT_EQ(AddError("clamp", {}), "clamp: 0 inputs given, expected 1 to 3");
  EXPECT_EQ(AddError("cat", {}), "cat: 0 inputs given, expected at least 1");
  EXPECT_EQ(AddError("add", {x_, kNone}), "add: input 1 is null, but required");
  EXPECT_EQ(AddError("cat", {x_, kNone}), "cat: input 1 is null, but required");
}

TEST_F(GraphTest, Attributes) {
  EXPECT_EQ(AddError("exp", {x_}, {{"dim", int64_t{1}}}), "exp: unknown attribute \"dim\"; it takes none");
  EXPECT_EQ(AddError("sum", {x_}, {{"dims", int64_t{1}}}), "sum: unknown attribute \"dims\"; it takes dim, keepdim");
  EXPECT_EQ(AddError("transpose", {x_}, {{"dim0", int64_t{1}}}), "transpose: attribute \"dim1\" is missing; it is an integer");
  EXPECT_EQ(AddError("sum", {x_}, {{"keepdim", int64_t{1}}}), "sum: attribute \"keepdim\" must be true or false");
  EXPECT_EQ(AddError("sum", {x_}, {{"dim", 1.0}}), "sum: attribute \"dim\" must be a list of integers");
  EXPECT_EQ(AddError("gelu", {x_}, {{"approximate", true}}), "gelu: attribute \"approximate\" must be a string");
  graph_.Add("sum", std::vector{x_}, {{"dim", int64_t{1}}});
  EXPECT_EQ(Get<std::vector<int64_t>>(graph_.nodes().back().attrs, "dim"), std::vector<int64_t>{1});
  EXPECT_EQ(Get<bool>(graph_.nodes().back().attrs, "keepdim"), false);
  graph_.Add("clamp", std::vector{x_}, {{"min", int64_t{1}}});
  EXPECT_EQ(Get<double>(graph_.nodes().back().attrs, "min"), 1.0);
}

TEST_F(GraphTest, Names) {
  EXPECT_EQ(AddError("exp", {x_}, {}, {"x"}), "exp: the output name \"x\" is already taken");
  EXPECT_EQ(AddError("exp", {x_}, {}, {"a", "b"}), "exp: 2 outputs are named, but it has 1");
  EXPECT_EQ(AddError("unbind", {x_}, {}, {"a", "a"}), "unbind: two outputs are named \"a\"");
  EXPECT_EQ(graph_.nodes().size(), 0u);                      // a refused node leaves no trace
  EXPECT_EQ(graph_.Find("a"), std::nullopt);
  EXPECT_EQ(ErrorOf([&] { graph_.AddInput("x", {}); }), "input \"x\": the name is already taken");
  EXPECT_NE(ErrorOf([&] { graph_.AddInput("", {}); }), "");
  graph_.AddOutput("o", x_);
  EXPECT_EQ(ErrorOf([&] { graph_.AddOutput("o", x_); }), "output \"o\": the name is already taken");
}

TEST_F(GraphTest, AbsurdInputs) {
  const auto error = [&](TensorDesc desc, bool grad = false) { return ErrorOf([&] { graph_.AddInput("bad", desc, grad); }); };
  EXPECT_EQ(error({DType::kF32, {2, -1}}), "input \"bad\": shape [2, -1] has a negative extent");
  EXPECT_THAT(error({DType::kF32, {1 << 30, 1 << 30}}), HasSubstr("has more than"));
  EXPECT_THAT(error({DType::kF32, {INT64_MAX, INT64_MAX, INT64_MAX}}), HasSubstr("has more than"));
  EXPECT_THAT(error({DType::kF32, {0, INT64_MAX}}), HasSubstr("has more than"));
  EXPECT_THAT(error({DType::kF32, Shape(17, 1)}), HasSubstr("17 dimensions"));
  EXPECT_EQ(error({DType::kF32, {2, 3}, {1}}), "input \"bad\": 1 strides for 2 dimensions");
  EXPECT_EQ(error({DType::kF32, {2}, {-1}}), "input \"bad\": stride -1 is negative");
  EXPECT_THAT(error({DType::kF32, {1 << 20}, {1 << 30}}), HasSubstr("reach beyond"));
  EXPECT_EQ(error({DType::kI64, {2}}, true), "input \"bad\": dtype i64 has no gradient");
}

TEST_F(GraphTest, LiteralsAreSharedAndTakeTheDTypeOfTheirNeighbours) {
  const ValueId two = graph_.AddConstant(2, DType::kF32);
  EXPECT_EQ(graph_.AddConstant(2, DType::kF32), two);
  EXPECT_NE(graph_.AddConstant(2, DType::kF64), two);
  EXPECT_NE(graph_.AddConstant(-0.0, DType::kF32), graph_.AddConstant(0.0, DType::kF32));
  graph_.AddConstant(NAN, DType::kF32);
  const ValueId i = graph_.AddInput("i", {DType::kI64, {2}});
  EXPECT_EQ(graph_.desc(graph_.Add1("mul", {i, two})).dtype, DType::kF32);
  EXPECT_EQ(graph_.desc(graph_.Add1("mul", {i, graph_.AddConstant(3, DType::kI64)})).dtype, DType::kI64);
  const ValueId y = graph_.Add1("mul", {x_, graph_.AddConstant(3, DType::kI64)});
  EXPECT_EQ(graph_.desc(y).dtype, DType::kF32);
  EXPECT_EQ(graph_.desc(graph_.nodes().back().inputs[1]).dtype, DType::kF32);
}

}  // namespace
}  // namespace athanor
