#include <gmock/gmock.h>

#include "ops/error.h"
#include "ops/fragment.h"
#include "tests/runtime/comparison.h"

namespace athanor {
namespace {

using testing::HasSubstr;

// p and g are f32[8, 8], short is f32[8]; `nodes` computes `outputs`.
Graph Step(const std::string& nodes, const std::string& outputs) {
  return ReadFragment(R"({"format": "athanor.fragment/1", "name": "step", "inputs": [{"name": "p", "dtype": "f32", "shape": [8, 8]}, {"name": "g", "dtype": "f32",
    "shape": [8, 8]}, {"name": "short", "dtype": "f32", "shape": [8]}], "nodes": [)" + nodes + R"(], "outputs": [)" + outputs + "]}", "step");
}

std::string ErrorOf(const Graph& graph, const std::vector<InPlace>& in_place) {
  try {
    Executable::Compile(graph, Options(), in_place);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

const std::string kUpdate = R"({"op": "sub", "inputs": ["p", "g"], "outputs": ["q"]})";

// Compares with the interpreter; returns how many kernels more than without anything in place it takes.
int KernelsMore(const std::string& nodes, const std::string& outputs, const std::vector<InPlace>& in_place) {
  const Graph graph = Step(nodes, outputs);
  const std::vector<HostTensor> inputs = RandomInputs(graph, 3), expected = Interpret(graph, inputs);
  Options options;
  options.threads = 2;
  const auto executable = Executable::Compile(graph, options, in_place);
  const std::vector<HostTensor> actual = RunExecutable(*executable, graph, inputs, in_place);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_LE(RelativeError(expected[i], actual[i]), 1e-5) << nodes << ": " << graph.outputs()[i].name;
  }
  return static_cast<int>(executable->report().kernels.size()) - static_cast<int>(Executable::Compile(graph, options)->report().kernels.size());
}

TEST(InPlace, NamesAndDescriptionsHaveToFit) {
  const Graph graph = Step(kUpdate, "\"q\"");
  EXPECT_THAT(ErrorOf(graph, {{"r", "p"}}), HasSubstr("no output 'r'"));
  EXPECT_THAT(ErrorOf(graph, {{"q", "x"}}), HasSubstr("no input 'x'"));
  EXPECT_THAT(ErrorOf(graph, {{"q", "short"}}), HasSubstr("output 'q' is f32[8, 8], but input 'short' is f32[8]"));
  EXPECT_THAT(ErrorOf(Step(kUpdate + R"(, {"op": "relu", "inputs": ["q"], "outputs": ["r"]})", "\"q\", \"r\""), {{"q", "p"}, {"r", "p"}}),
              HasSubstr("output 'q' and input 'p' are not each other's alone"));
}

TEST(InPlace, WhatIsComputedElementByElementOverwritesItsInput) {
  EXPECT_EQ(KernelsMore(kUpdate, "\"q\"", {{"q", "p"}}), 0);
  EXPECT_EQ(KernelsMore(R"({"op": "softmax", "inputs": ["p"], "attrs": {"dim": 1}, "outputs": ["q"]})", "\"q\"", {{"q", "p"}}), 0);
  EXPECT_EQ(KernelsMore(R"({"op": "matmul", "inputs": ["g", "g"], "outputs": ["m"]}, {"op": "sub", "inputs": ["p", "m"], "outputs": ["q"]})", "\"q\"", {{"q", "p"}}), 0);
  // Two updates of one kernel, of which the second needs both inputs.
  EXPECT_EQ(KernelsMore(R"({"op": "add", "inputs": ["p", "g"], "outputs": ["q"]}, {"op": "mul", "inputs": ["q", "p"], "outputs": ["r"]})", "\"q\", \"r\"",
                        {{"q", "p"}, {"r", "g"}}), 0);
}

TEST(InPlace, OtherReadersComeFirst) {
  EXPECT_EQ(KernelsMore(kUpdate + R"(, {"op": "matmul", "inputs": ["p", "g"], "outputs": ["r"]}, {"op": "mul", "inputs": ["q", "p"], "outputs": ["s"]})",
                        "\"q\", \"r\", \"s\"", {{"q", "p"}}), 0);
  // Two equal loops, on either side of the update in the order of the graph, are not made one.
  KernelsMore(R"({"op": "mul", "inputs": ["p", 2], "outputs": ["r"]}, {"op": "matmul", "inputs": ["g", "g"], "outputs": ["m"]},
                 {"op": "sub", "inputs": ["p", "m"], "outputs": ["q"]}, {"op": "mul", "inputs": ["short", 2], "outputs": ["s"]})", "\"r\", \"q\", \"s\"", {{"q", "p"}});
}

// What is read other than element by element, or afterwards, is computed elsewhere and copied.
TEST(InPlace, AnInputThatIsStillNeededIsOverwrittenAtTheEnd) {
  const auto overwrites_p = [](const std::string& nodes, const std::string& outputs = "\"q\"") { return KernelsMore(nodes, outputs, {{"q", "p"}}); };
  const std::string transpose = R"({"op": "permute", "inputs": ["p"], "attrs": {"dims": [1, 0]}, "outputs": ["t"]}, )";
  EXPECT_GT(overwrites_p(transpose + R"({"op": "relu", "inputs": ["t"], "outputs": ["q"]})"), 0);
  EXPECT_GT(overwrites_p(transpose + R"({"op": "softmax", "inputs": ["t"], "attrs": {"dim": 1}, "outputs": ["q"]})"), 0);
  EXPECT_GT(overwrites_p(R"({"op": "permute", "inputs": ["p"], "attrs": {"dims": [1, 0]}, "outputs": ["q"]})"), 0);
  EXPECT_GT(overwrites_p(R"({"op": "matmul", "inputs": ["p", "g"], "outputs": ["m"]}, {"op": "relu", "inputs": ["m"], "outputs": ["q"]})"), 0);
  EXPECT_GT(overwrites_p(R"({"op": "matmul", "inputs": ["g", "p"], "outputs": ["q"]})"), 0);
  // Of one row, the moments of what overwrites it: a later pass computes it again.
  EXPECT_GT(overwrites_p(R"({"op": "mean", "inputs": ["p"], "attrs": {"dim": [1], "keepdim": true}, "outputs": ["m"]}, {"op": "sub", "inputs": ["p", "m"], "outputs": ["q"]},
                            {"op": "mul", "inputs": ["q", "q"], "outputs": ["s"]}, {"op": "mean", "inputs": ["s"], "attrs": {"dim": [1], "keepdim": true}, "outputs": ["v"]},
                            {"op": "div", "inputs": ["q", "v"], "outputs": ["r"]})", "\"q\", \"r\""), 0);
  // Stored in front of the store that reads what it overwrites.
  EXPECT_GT(overwrites_p(R"({"op": "mul", "inputs": ["g", 2], "outputs": ["q"]}, {"op": "add", "inputs": ["p", "g"], "outputs": ["r"]})", "\"q\", \"r\""), 0);
  EXPECT_GT(KernelsMore(R"({"op": "relu", "inputs": ["g"], "outputs": ["q"]}, {"op": "relu", "inputs": ["p"], "outputs": ["r"]})", "\"q\", \"r\"", {{"q", "p"}, {"r", "g"}}), 0);
  // A reader that waits for what would overwrite its input.
  EXPECT_GT(overwrites_p(kUpdate + R"(, {"op": "matmul", "inputs": ["q", "g"], "outputs": ["m"]}, {"op": "matmul", "inputs": ["m", "p"], "outputs": ["r"]})", "\"q\", \"r\""), 0);
  overwrites_p(kUpdate + R"(, {"op": "softmax", "inputs": ["q"], "attrs": {"dim": 0}, "outputs": ["m"]}, {"op": "matmul", "inputs": ["m", "p"], "outputs": ["r"]})",
               "\"q\", \"r\"");
}

}  // namespace
}  // namespace athanor
