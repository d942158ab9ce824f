// Fragments as CUDA in the emulator equal the reference interpreter: forward and with gradients.
#include "runtime/cuda_program.h"

#include <fmt/format.h>

#include "ops/error.h"
#include "ops/gradient.h"
#include "tests/runtime/comparison.h"

namespace athanor {
namespace {

double HalfTolerance(DType dtype) { return dtype == DType::kBF16 ? 1e-2 : Tolerance(dtype); }

void CheckEmulated(const Graph& graph, uint32_t seed) {
  const std::vector<HostTensor> inputs = RandomInputs(graph, seed), expected = Interpret(graph, inputs);
  std::vector<HostTensor> actual;
  std::vector<const void*> in;
  std::vector<void*> out;
  for (const HostTensor& input : inputs) in.push_back(input.data());
  for (const HostTensor& tensor : expected) actual.emplace_back(tensor.desc().dtype, tensor.desc().shape);
  for (HostTensor& tensor : actual) out.push_back(tensor.data());
  RunInCudaEmulator(GenerateCudaProgram(graph), graph, DetectCpu(), in, out);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_LE(RelativeError(expected[i], actual[i], 1e-6), HalfTolerance(expected[i].desc().dtype)) << graph.name() << ": " << graph.outputs()[i].name;
  }
}

// One op over x and inputs of the given shapes, forward and with gradients.
void CheckOp(const char* op, DType dtype, const Shape& shape, const Attrs& attrs = {}, const std::vector<Shape>& others = {}) {
  Graph graph(fmt::format("{} {} of {}", op, Name(dtype), shape.size()));
  std::vector<ValueId> inputs = {graph.AddInput("x", {dtype, shape}, true)};
  for (const Shape& other : others) inputs.push_back(graph.AddInput(fmt::format("p{}", inputs.size()), {dtype, other}, true));
  graph.AddOutput("y", graph.Add(op, inputs, attrs)[0]);
  CheckEmulated(graph, 1);
  CheckEmulated(Gradient(graph), 2);
}

using Dims = std::vector<int64_t>;

class CudaProgramOf : public ::testing::TestWithParam<DType> {};

TEST_P(CudaProgramOf, Softmax) {
  for (const Shape& shape : {Shape{5, 7}, {3, 2, 129}, {37, 64}}) {
    for (const char* op : {"softmax", "log_softmax"}) CheckOp(op, GetParam(), shape, {{"dim", int64_t{-1}}});
  }
  CheckOp("softmax", GetParam(), {33, 20}, {{"dim", int64_t{0}}});
}

TEST_P(CudaProgramOf, Norms) {
  for (int64_t width : {5, 13, 96, 257}) {
    CheckOp("layer_norm", GetParam(), {3, 11, width}, {{"normalized_shape", Dims{width}}}, {{width}, {width}});
    CheckOp("rms_norm", GetParam(), {21, width}, {{"normalized_shape", Dims{width}}}, {{width}});
  }
}

TEST_P(CudaProgramOf, ReductionsOverAnyAxes) {
  for (const char* op : {"sum", "mean", "amax"}) {
    for (const Dims& dims : {Dims{-1}, {0, 1}, {0, 2}, {1}, {0, 1, 2}}) CheckOp(op, GetParam(), {6, 5, 33}, {{"dim", dims}});
    CheckOp(op, GetParam(), {61, 17}, {{"dim", Dims{0}}, {"keepdim", true}});
  }
}

INSTANTIATE_TEST_SUITE_P(DTypes, CudaProgramOf, ::testing::Values(DType::kF32, DType::kF64, DType::kBF16),
                         [](const auto& info) { return std::string(Name(info.param)); });

TEST(CudaProgram, CrossEntropy) {
  for (int64_t classes : {10, 333}) {
    for (const char* reduction : {"none", "mean", "sum"}) {
      Graph graph(fmt::format("cross_entropy {} {}", classes, reduction));
      const ValueId logits = graph.AddInput("logits", {DType::kF32, {19, classes}}, true), target = graph.AddInput("target", {DType::kI64, {19}});
      const std::vector<ValueId> inputs = {logits, target};
      graph.AddOutput("loss", graph.Add("cross_entropy", inputs, {{"reduction", std::string(reduction)}})[0]);
      CheckEmulated(graph, 3);
      CheckEmulated(Gradient(graph), 4);
    }
  }
}

TEST(CudaProgram, KernelsThatFollowEachOther) {
  Graph graph("residual_norms");
  const ValueId x = graph.AddInput("x", {DType::kF32, {23, 48}}, true), w = graph.AddInput("w", {DType::kF32, {48}}, true);
  const ValueId sum = graph.Add1("add", {x, graph.Add1("gelu", {graph.Add1("rms_norm", {x, w}, {{"normalized_shape", Dims{48}}})})});
  graph.AddOutput("s", sum);
  graph.AddOutput("y", graph.Add1("softmax", {graph.Add1("permute", {sum}, {{"dims", Dims{1, 0}}})}, {{"dim", int64_t{-1}}}));
  CheckEmulated(graph, 5);
  CheckEmulated(Gradient(graph), 6);
}

TEST(CudaProgram, Embedding) {
  for (DType dtype : {DType::kF32, DType::kF64}) {
    Graph graph(fmt::format("embedding {}", Name(dtype)));
    const ValueId index = graph.AddInput("index", {DType::kI64, {5, 7}}), table = graph.AddInput("table", {dtype, {11, 24}}, true);
    graph.AddOutput("y", graph.Add1("softmax", {graph.Add1("embedding", {index, table})}, {{"dim", int64_t{-1}}}));
    CheckEmulated(graph, 7);
    CheckEmulated(Gradient(graph), 8);
  }
}

TEST(CudaProgram, NamesTheFirstKernelWithoutGenerator) {
  Graph graph("product");
  const ValueId x = graph.AddInput("x", {DType::kF32, {8, 8}}, true);
  graph.AddOutput("y", graph.Add1("matmul", {graph.Add1("softmax", {x}, {{"dim", int64_t{-1}}}), x}));
  try {
    GenerateCudaProgram(graph);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("contract"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("_contract"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace athanor
