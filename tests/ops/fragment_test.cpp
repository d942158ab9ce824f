#include "ops/fragment.h"

#include <cstdio>
#include <fstream>

#include "ops/gradient.h"
#include "tests/ops/testing.h"

namespace athanor {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kLinearGelu = R"({"format": "athanor.fragment/1", "name": "linear_gelu",
 "inputs":  [{"name": "x", "dtype": "f32", "shape": [4, 3], "grad": true},
             {"name": "w", "dtype": "f32", "shape": [5, 3], "grad": true, "strides": [1, 5]},
             {"name": "b", "dtype": "f32", "shape": [5], "grad": true}],
 "nodes":   [{"op": "linear", "inputs": ["x", "w", "b"], "outputs": ["h"]},
             {"op": "gelu", "inputs": ["h"], "outputs": ["y"], "attrs": {"approximate": "tanh"}}],
 "outputs": ["y"]})";

// A fragment on x: f32[2, 3] and i: i64[2] with the given nodes and the output y.
std::string WithNodes(const std::string& nodes, const std::string& outputs = "[\"y\"]") {
  return R"({"format": "athanor.fragment/1", "name": "f", "inputs": [{"name": "x", "dtype": "f32", "shape": [2, 3]},
             {"name": "i", "dtype": "i64", "shape": [2]}], "nodes": )" + nodes + R"(, "outputs": )" + outputs + "}";
}

std::string ReadError(const std::string& json) {
  return ErrorOf([&] { ReadFragment(json, "file"); });
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Fragment, ReadsWhatTheFormatSays) {
  const Graph graph = ReadFragment(kLinearGelu, "file");
  EXPECT_EQ(graph.name(), "linear_gelu");
  ASSERT_EQ(graph.inputs().size(), 3u);
  EXPECT_EQ(graph.desc(graph.inputs()[1]).strides, (std::vector<int64_t>{1, 5}));
  EXPECT_TRUE(graph.value(graph.inputs()[2]).wants_grad);
  ASSERT_EQ(graph.nodes().size(), 2u);
  EXPECT_EQ(Get<std::string>(graph.node(1).attrs, "approximate"), "tanh");
  EXPECT_EQ(graph.outputs()[0].name, "y");
  EXPECT_EQ(ToString(graph.desc(graph.outputs()[0].value)), "f32[4, 5]");
}

TEST(Fragment, LiteralsAndOmittedInputs) {
  const Graph graph = ReadFragment(WithNodes(R"([{"op": "mul", "inputs": ["x", 2], "outputs": ["a"]},
      {"op": "mul", "inputs": ["i", 0.5], "outputs": ["half"]}, {"op": "add", "inputs": [3, "i"], "outputs": ["whole"]},
      {"op": "clamp", "inputs": ["a", null, 1.5], "outputs": ["y"]}])", R"(["y", "half", "whole"])"), "file");
  const std::vector<HostTensor> inputs = {Tensor(DType::kF32, {2, 3}, {-1, 0, 0.5, 1, 2, 3}), Tensor(DType::kI64, {2}, {3, 4})};
  const std::vector<HostTensor> y = Interpret(graph, inputs);
  EXPECT_EQ(y[0].ToDoubles(), (std::vector<double>{-2, 0, 1, 1.5, 1.5, 1.5}));
  EXPECT_EQ(ToString(y[1].desc()), "f32[2]");
  EXPECT_EQ(y[1].ToDoubles(), (std::vector<double>{1.5, 2}));
  EXPECT_EQ(ToString(y[2].desc()), "i64[2]");
  EXPECT_EQ(y[2].ToDoubles(), (std::vector<double>{6, 7}));
  ExpectDecomposes(graph, inputs, 1e-7);
}

TEST(Fragment, NodesMayStandInAnyOrder) {
  const Graph graph = ReadFragment(WithNodes(R"([{"op": "exp", "inputs": ["b"], "outputs": ["y"]},
      {"op": "add", "inputs": ["a", "x"], "outputs": ["b"]}, {"op": "neg", "inputs": ["x"], "outputs": ["a"]}])"), "file");
  ASSERT_EQ(graph.nodes().size(), 3u);
  EXPECT_EQ(graph.node(0).op->name, "neg");
  EXPECT_EQ(graph.node(2).op->name, "exp");
}

// A chain in reverse order as long as files get in practice neither overflows the stack nor takes quadratic time.
TEST(Fragment, LongChains) {
  std::string nodes = "[";
  for (int i = 20000; i > 0; --i) {
    nodes += R"({"op": "neg", "inputs": [")" + (i == 1 ? std::string("x") : "v" + std::to_string(i - 1)) + R"("], "outputs": [")" +
             (i == 20000 ? std::string("y") : "v" + std::to_string(i)) + "\"]}" + (i > 1 ? "," : "]");
  }
  EXPECT_EQ(ReadFragment(WithNodes(nodes), "file").nodes().size(), 20000u);
}

TEST(Fragment, StructuralErrors) {
  const std::string good = kLinearGelu;
  EXPECT_THAT(ReadError(""), StartsWith("file: JSON parse error"));
  EXPECT_THAT(ReadError(good.substr(0, 100)), StartsWith("file: JSON parse error at line"));
  EXPECT_THAT(ReadError(good + " x"), StartsWith("file: JSON parse error at line"));
  EXPECT_THAT(ReadError("[]"), HasSubstr("the fragment: is array, expected an object"));
  EXPECT_THAT(ReadError(Replaced(good, "fragment/1", "fragment/2")), HasSubstr("expected \"athanor.fragment/1\""));
  EXPECT_THAT(ReadError(Replaced(good, "\"inputs\":  [", "\"name\": \"again\", \"inputs\":  [")),
              HasSubstr("the key \"name\" stands twice"));
  EXPECT_THAT(ReadError(Replaced(good, "\"grad\"", "\"gard\"")), HasSubstr("inputs[0]: has the unknown key \"gard\""));
  EXPECT_THAT(ReadError(Replaced(good, "\"shape\": [4, 3]", "\"size\": [4, 3]")), HasSubstr("inputs[0]: has no \"shape\""));
  EXPECT_THAT(ReadError(Replaced(good, "\"f32\"", "\"float\"")), HasSubstr("dtype is \"float\""));
  EXPECT_THAT(ReadError(Replaced(good, "[4, 3]", "[4.5, 3]")), HasSubstr("expected integers"));
  EXPECT_THAT(ReadError(Replaced(good, "[4, 3]", "[-4, 3]")), HasSubstr("negative extent"));
  EXPECT_THAT(ReadError(Replaced(good, "[4, 3]", "[4000000000, 3000000000]")), HasSubstr("has more than"));
  EXPECT_THAT(ReadError(Replaced(good, "[4, 3]", "[99999999999999999999]")), HasSubstr("expected integers"));
  EXPECT_THAT(ReadError(Replaced(good, "[4, 3]", "[1e999]")), HasSubstr("malformed JSON"));
  EXPECT_THAT(ReadError(std::string(100000, '[')), HasSubstr("nested deeper"));
  EXPECT_THAT(ReadError(Replaced(good, "\"name\": \"w\"", "\"name\": \"x\"")), HasSubstr("the name is already taken"));
  EXPECT_THAT(ReadError(Replaced(good, "\"name\": \"w\"", "\"name\": \"../w\"")), HasSubstr("is not usable"));
  EXPECT_THAT(ReadError(Replaced(good, "\"grad\": true", "\"grad\": 1")), HasSubstr("grad is number, expected true or false"));
  EXPECT_THAT(ReadError(WithNodes("[]", "[\"z\"]")), HasSubstr("outputs[0]: \"z\" is not defined"));
  EXPECT_THAT(ReadError(Replaced(good, "\"x\", \"w\", \"b\"", "\"x\", \"w\", true")), HasSubstr("expected a name, a number or null"));
  std::string keys;
  for (int i = 0; i < 100; ++i) keys += "\"k" + std::to_string(i) + "\": 1, ";
  EXPECT_THAT(ReadError(Replaced(good, "{\"approximate\"", "{" + keys + "\"approximate\"")), HasSubstr("more than 64 keys"));
}

TEST(Fragment, ErrorsInNodes) {
  EXPECT_EQ(ReadError(WithNodes(R"([{"op": "expo", "inputs": ["x"], "outputs": ["y"]}])")), "file: nodes[0] expo: unknown op \"expo\"");
  EXPECT_THAT(ReadError(WithNodes(R"([{"op": "_not", "inputs": ["x"], "outputs": ["y"]}])")), HasSubstr("unknown op \"_not\""));
  EXPECT_EQ(ReadError(WithNodes(R"([{"op": "exp", "inputs": ["x"], "outputs": ["y"], "attrs": {"a": 1}}])")),
            "file: nodes[0] exp: exp: unknown attribute \"a\"; it takes none");
  EXPECT_THAT(ReadError(WithNodes(R"([{"op": "exp", "inputs": ["x"], "outputs": ["y"], "attrs": {"a": {}}}])")), HasSubstr("expected a list"));
  EXPECT_EQ(ReadError(WithNodes(R"([{"op": "exp", "inputs": ["x", "x"], "outputs": ["y"]}])")),
            "file: nodes[0] exp: exp: 2 inputs given, expected 1");
  EXPECT_THAT(ReadError(WithNodes(R"([{"op": "add", "inputs": ["x", "i"], "outputs": ["y"]}])")), HasSubstr("do not broadcast"));
  EXPECT_EQ(ReadError(WithNodes(R"([{"op": "exp", "inputs": ["z"], "outputs": ["y"]}])")),
            "file: nodes[0] exp: the input \"z\" is not defined");
  EXPECT_EQ(ReadError(WithNodes(R"([{"op": "exp", "inputs": ["x"], "outputs": ["x"]}])")),
            "file: nodes[0] exp: the output name \"x\" is already taken");
  EXPECT_THAT(ReadError(WithNodes(R"([{"op": "exp", "inputs": ["x"], "outputs": [""]}])")), HasSubstr("is not usable"));
  EXPECT_THAT(ReadError(WithNodes(R"([{"op": "exp", "inputs": ["x"], "outputs": []}])")), HasSubstr("nodes[0] exp: names no outputs"));
  EXPECT_THAT(ReadError(WithNodes(R"([{"op": "exp", "inputs": ["y"], "outputs": ["y"]}])")), HasSubstr("cycle"));
  EXPECT_THAT(ReadError(WithNodes(R"([{"op": "neg", "inputs": ["x"], "outputs": ["y"]}, {"op": "exp", "inputs": ["b"], "outputs": ["a"]},
                                      {"op": "exp", "inputs": ["a"], "outputs": ["b"]}])")), HasSubstr("cycle"));
  EXPECT_THAT(ReadError(WithNodes("[]", "[]")), HasSubstr("at least one output expected"));
  EXPECT_THAT(ReadError(WithNodes("[]", "[\"x\", \"x\"]")), HasSubstr("the name is already taken"));
}

TEST(Fragment, WritesWhatItReads) {
  for (const std::string& json : {std::string(kLinearGelu), WithNodes(R"([{"op": "clamp", "inputs": ["x", null, 1.5], "outputs": ["y"]}])")}) {
    const std::string written = WriteFragment(ReadFragment(json, "file"));
    EXPECT_EQ(WriteFragment(ReadFragment(written, "written")), written);
  }
}

// Names that a graph made up, outputs under several names, inputs and literals as outputs.
TEST(Fragment, WritesGraphsOfTheBuilder) {
  Graph graph("built");
  const ValueId x = graph.AddInput("x", {DType::kF32, {2, 3}}, true);
  const ValueId y = graph.Add1("softmax", {graph.Add1("mul", {x, graph.AddConstant(0.5, DType::kF32)})}, {{"dim", int64_t{-1}}});
  graph.AddOutput("y", y);
  graph.AddOutput("again", y);
  graph.AddOutput("input", x);
  graph.AddOutput("one", graph.AddConstant(1, DType::kF64));
  for (const Graph& written : {graph, Gradient(graph)}) {
    const Graph read = ReadFragment(WriteFragment(written), "file");
    ASSERT_EQ(read.outputs().size(), written.outputs().size());
    const std::vector<HostTensor> inputs = RandomInputs(written);
    const std::vector<HostTensor> expected = Interpret(written, inputs), got = Interpret(read, inputs);
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(read.outputs()[i].name, written.outputs()[i].name);
      ExpectClose(got[i], expected[i], 0, written.outputs()[i].name);
    }
  }
  EXPECT_THAT(ErrorOf([&] { WriteFragment(Decompose(Gradient(ReadFragment(kLinearGelu, "file")))); }), HasSubstr("internal op"));
}

TEST(Fragment, Files) {
  EXPECT_EQ(ErrorOf([] { LoadFragment("/no/such/file.json"); }), "/no/such/file.json: the fragment file can't be read");
  const std::string path = testing::TempDir() + "fragment_test.json";
  std::ofstream(path) << kLinearGelu;
  EXPECT_EQ(LoadFragment(path).name(), "linear_gelu");
  std::remove(path.c_str());
}

}  // namespace
}  // namespace athanor
