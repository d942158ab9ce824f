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

TEST(InPlace, NamesAndDescriptionsHaveToFit) {
  const Graph graph = Step(kUpdate, "\"q\"");
  EXPECT_THAT(ErrorOf(graph, {{"r", "p"}}), HasSubstr("no output 'r'"));
  EXPECT_THAT(ErrorOf(graph, {{"q", "x"}}), HasSubstr("no input 'x'"));
  EXPECT_THAT(ErrorOf(graph, {{"q", "short"}}), HasSubstr("output 'q' is f32[8, 8], but input 'short' is f32[8]"));
}

TEST(InPlace, AnInputThatIsNeededAfterItsUpdateIsAnError) {
  for (const char* last : {R"({"op": "matmul", "inputs": ["q", "g"], "outputs": ["m"]}, {"op": "matmul", "inputs": ["m", "p"], "outputs": ["r"]})",
                           R"({"op": "softmax", "inputs": ["q"], "attrs": {"dim": 0}, "outputs": ["m"]}, {"op": "matmul", "inputs": ["m", "p"], "outputs": ["r"]})"}) {
    EXPECT_THAT(ErrorOf(Step(kUpdate + ", " + last, "\"q\", \"r\""), {{"q", "p"}}), HasSubstr("output 'q' would overwrite input 'p'")) << last;
  }
}

TEST(InPlace, AProductDoesNotOverwriteItsOperands) {
  for (const char* operands : {R"(["p", "g"])", R"(["g", "p"])"}) {
    const std::string product = std::string(R"({"op": "matmul", "inputs": )") + operands + R"(, "outputs": ["m"]}, {"op": "relu", "inputs": ["m"], "outputs": ["q"]})";
    EXPECT_THAT(ErrorOf(Step(product, "\"q\""), {{"q", "p"}}), HasSubstr("output 'q' would overwrite input 'p'")) << operands;
  }
  const char* const update = R"({"op": "matmul", "inputs": ["g", "g"], "outputs": ["m"]}, {"op": "sub", "inputs": ["p", "m"], "outputs": ["q"]})";
  EXPECT_EQ(ErrorOf(Step(update, "\"q\""), {{"q", "p"}}), "no error");
}

TEST(InPlace, OtherReadersComeFirst) {
  const Graph graph = Step(kUpdate + R"(, {"op": "matmul", "inputs": ["p", "g"], "outputs": ["r"]}, {"op": "mul", "inputs": ["q", "p"], "outputs": ["s"]})",
                           "\"q\", \"r\", \"s\"");
  std::vector<HostTensor> inputs = RandomInputs(graph, 3), outputs;
  const std::vector<HostTensor> expected = Interpret(graph, inputs);
  for (const HostTensor& tensor : expected) outputs.emplace_back(tensor.desc().dtype, tensor.desc().shape);
  const void* in[] = {inputs[0].data(), inputs[1].data(), inputs[2].data()};
  void* out[] = {inputs[0].data(), outputs[1].data(), outputs[2].data()};
  Executable::Compile(graph, Options(), {{"q", "p"}})->Run(in, out);
  EXPECT_LE(RelativeError(expected[0], inputs[0]), 1e-6);
  EXPECT_LE(RelativeError(expected[1], outputs[1]), 1e-6);
  EXPECT_LE(RelativeError(expected[2], outputs[2]), 1e-6);
}

}  // namespace
}  // namespace athanor
