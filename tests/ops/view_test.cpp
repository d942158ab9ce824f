#include "tests/ops/testing.h"

namespace athanor {
namespace {

std::vector<int64_t> Ints(std::initializer_list<int64_t> values) { return values; }

// 0, 1, 2, ... in the given shape.
std::vector<HostTensor> Count(const Shape& shape) {
  std::vector<double> values(static_cast<size_t>(Product(shape)));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i);
  return {Tensor(DType::kI32, shape, values)};
}

void ExpectView(const std::string& op, const Shape& shape, const Attrs& attrs, const std::string& result, std::vector<double> values) {
  const HostTensor y = RunOp(op, Count(shape), attrs)[0];
  EXPECT_EQ(ToString(y.desc().shape), result) << op;
  EXPECT_EQ(y.ToDoubles(), values) << op;
}

TEST(View, Values) {
  ExpectView("reshape", {2, 3}, {{"shape", Ints({3, -1})}}, "[3, 2]", {0, 1, 2, 3, 4, 5});
  ExpectView("permute", {2, 3}, {{"dims", Ints({1, 0})}}, "[3, 2]", {0, 3, 1, 4, 2, 5});
  ExpectView("transpose", {1, 2, 3}, {{"dim0", int64_t{1}}, {"dim1", int64_t{2}}}, "[1, 3, 2]", {0, 3, 1, 4, 2, 5});
  ExpectView("flatten", {2, 1, 2}, {{"start_dim", int64_t{1}}}, "[2, 2]", {0, 1, 2, 3});
  ExpectView("unsqueeze", {2}, {{"dim", int64_t{1}}}, "[2, 1]", {0, 1});
  ExpectView("squeeze", {1, 2, 1}, {{"dim", int64_t{0}}}, "[2, 1]", {0, 1});
  ExpectView("select", {3, 2}, {{"dim", int64_t{1}}, {"index", int64_t{-1}}}, "[3]", {1, 3, 5});
  ExpectView("slice", {7}, {{"start", int64_t{1}}, {"end", int64_t{-1}}, {"step", int64_t{2}}}, "[3]", {1, 3, 5});
  ExpectView("slice", {3}, {{"end", int64_t{100}}}, "[3]", {0, 1, 2});
  ExpectView("narrow", {5}, {{"dim", int64_t{0}}, {"start", int64_t{2}}, {"length", int64_t{2}}}, "[2]", {2, 3});
  ExpectView("expand", {2, 1}, {{"size", Ints({2, 2, 2})}}, "[2, 2, 2]", {0, 0, 1, 1, 0, 0, 1, 1});
  ExpectView("contiguous", {2, 1}, {}, "[2, 1]", {0, 1});
}

TEST(View, SeveralOutputs) {
  const auto shapes = [](const std::vector<HostTensor>& tensors) {
    std::string text;
    for (const HostTensor& tensor : tensors) text += ToString(tensor.desc().shape);
    return text;
  };
  EXPECT_EQ(shapes(RunOp("unbind", Count({3, 2}), {{"dim", int64_t{-1}}})), "[3][3]");
  EXPECT_EQ(RunOp("unbind", Count({3, 2}), {{"dim", int64_t{-1}}})[1].ToDoubles(), (std::vector<double>{1, 3, 5}));
  EXPECT_EQ(shapes(RunOp("split", Count({5}), {{"split_size", int64_t{2}}})), "[2][2][1]");
  EXPECT_EQ(shapes(RunOp("split", Count({5}), {{"split_size", Ints({1, 4})}})), "[1][4]");
  EXPECT_EQ(shapes(RunOp("chunk", Count({7}), {{"chunks", int64_t{3}}})), "[3][3][1]");
  EXPECT_EQ(shapes(RunOp("chunk", Count({4}), {{"chunks", int64_t{3}}})), "[2][2]");
}

TEST(View, Errors) {
  const auto error = [](const std::string& op, const Shape& shape, const Attrs& attrs) {
    return ErrorOf([&] { RunOp(op, Count(shape), attrs); });
  };
  EXPECT_EQ(error("reshape", {2, 3}, {{"shape", Ints({4, -1})}}),
            "reshape: an input of shape [2, 3] has 6 elements, shape [4, -1] does not fit");
  EXPECT_NE(error("reshape", {2, 3}, {{"shape", Ints({-1, -1})}}), "");
  EXPECT_NE(error("reshape", {0, 3}, {{"shape", Ints({0, -1})}}), "");
  EXPECT_EQ(error("reshape", {2}, {{"shape", Ints({INT64_MAX, 4})}}), "reshape: shape [9223372036854775807, 4] is too large");
  EXPECT_NE(error("permute", {2, 3}, {{"dims", Ints({0})}}), "");
  EXPECT_NE(error("permute", {2, 3}, {{"dims", Ints({0, 0})}}), "");
  EXPECT_NE(error("flatten", {2, 3}, {{"start_dim", int64_t{1}}, {"end_dim", int64_t{0}}}), "");
  EXPECT_NE(error("unsqueeze", {2}, {{"dim", int64_t{3}}}), "");
  EXPECT_EQ(error("select", {2, 3}, {{"dim", int64_t{1}}, {"index", int64_t{3}}}),
            "select: index 3 is outside of dimension 1 of shape [2, 3]");
  EXPECT_EQ(error("slice", {3}, {{"step", int64_t{0}}}), "slice: step is 0, expected at least 1");
  EXPECT_NE(error("slice", {}, {}), "");
  EXPECT_NE(error("narrow", {3}, {{"dim", int64_t{0}}, {"start", int64_t{2}}, {"length", int64_t{2}}}), "");
  EXPECT_NE(error("narrow", {3}, {{"dim", int64_t{0}}, {"start", int64_t{1}}, {"length", INT64_MAX}}), "");
  EXPECT_NE(error("expand", {2}, {{"size", Ints({3})}}), "");
  EXPECT_NE(error("expand", {2}, {{"size", Ints({})}}), "");
  EXPECT_EQ(error("split", {5}, {{"split_size", Ints({2, 2})}}), "split: sizes [2, 2] do not add up to extent 5 of dimension 0");
  EXPECT_NE(error("split", {5}, {{"split_size", Ints({-1, 6})}}), "");
  EXPECT_NE(error("split", {5}, {{"split_size", int64_t{0}}}), "");
  EXPECT_NE(error("chunk", {5}, {{"chunks", int64_t{0}}}), "");
  EXPECT_EQ(error("unbind", {5000, 0}, {}), "unbind: 5000 outputs, at most 4096 are supported");
}

}  // namespace
}  // namespace athanor
