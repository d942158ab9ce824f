#include "tests/ops/testing.h"

namespace athanor {
namespace {

TEST(Construct, Cat) {
  const std::vector<HostTensor> parts = {Tensor(DType::kI32, {2, 1}, {1, 2}), Tensor(DType::kI32, {2, 2}, {3, 4, 5, 6})};
  EXPECT_EQ(RunOp("cat", parts, {{"dim", int64_t{1}}})[0].ToDoubles(), (std::vector<double>{1, 3, 4, 2, 5, 6}));
  EXPECT_EQ(ErrorOf([&] { RunOp("cat", parts); }),
            "cat: input 1 has shape [2, 2], expected that of input 0, [2, 1], except along dimension 0");
  EXPECT_EQ(ErrorOf([&] { RunOp("cat", std::vector{Tensor(DType::kF32, {}, {1})}); }),
            "cat: input 0 is a scalar, expected at least one dimension");
}

TEST(Construct, CatPromotes) {
  Graph graph;
  const ValueId a = graph.AddInput("a", {DType::kI64, {1}}), b = graph.AddInput("b", {DType::kF32, {2}}, true);
  graph.AddOutput("y", graph.Add1("cat", {a, b}));
  EXPECT_EQ(ToString(graph.desc(graph.outputs()[0].value)), "f32[3]");
  const std::vector<HostTensor> inputs = {Tensor(DType::kI64, {1}, {7}), Tensor(DType::kF32, {2}, {0.5, 1})};
  ExpectDecomposes(graph, inputs, 0);
}

TEST(Construct, Tril) {
  const std::vector<HostTensor> x = {Tensor(DType::kF32, {2, 3}, {1, 2, 3, 4, 5, 6})};
  EXPECT_EQ(RunOp("tril", x)[0].ToDoubles(), (std::vector<double>{1, 0, 0, 4, 5, 0}));
  EXPECT_EQ(RunOp("tril", x, {{"diagonal", int64_t{1}}})[0].ToDoubles(), (std::vector<double>{1, 2, 0, 4, 5, 6}));
  EXPECT_EQ(RunOp("tril", x, {{"diagonal", INT64_MAX}})[0].ToDoubles(), (std::vector<double>{1, 2, 3, 4, 5, 6}));
  EXPECT_NE(ErrorOf([&] { RunOp("tril", std::vector{Tensor(DType::kF32, {2}, {1, 2})}); }), "");
}

TEST(Construct, Iota) {
  const std::vector<int64_t> shape = {2, 3};
  EXPECT_EQ(RunOp("_iota", {}, {{"shape", shape}, {"dim", int64_t{0}}})[0].ToDoubles(), (std::vector<double>{0, 0, 0, 1, 1, 1}));
  EXPECT_EQ(RunOp("_iota", {}, {{"shape", shape}, {"dim", int64_t{-1}}})[0].ToDoubles(), (std::vector<double>{0, 1, 2, 0, 1, 2}));
}

}  // namespace
}  // namespace athanor
