// Vectors that run over the end of a row, as those over the pixels of several images do.
#include <gtest/gtest.h>

#include <utility>

#include "tests/runtime/comparison.h"

namespace athanor {
namespace {

using Ints = std::vector<int64_t>;

// Weights times the pixels of all images, to which images [3, 9, rows, columns] are added, or which are `stored` as such images.
Graph Product(DType dtype, int64_t rows, int64_t columns, bool stored) {
  Graph graph("rows");
  const int64_t pixels = 3 * rows * columns;
  const auto change = [&](const char* op, ValueId x, const char* attr, const Ints& value) { return graph.Add1(op, {x}, {{attr, value}}); };
  const ValueId weights = graph.AddInput("weights", {dtype, {9, 5}}), x = graph.AddInput("x", {dtype, {5, pixels}}),
                more = graph.AddInput("more", {dtype, stored ? Shape{9, 1} : Shape{3, 9, rows, columns}});
  const ValueId added = stored ? more : change("reshape", change("permute", more, "dims", {1, 0, 2, 3}), "shape", {9, pixels});
  ValueId y = graph.Add1("add", {graph.Add1("matmul", {weights, x}), added});
  if (stored) y = change("permute", change("reshape", y, "shape", {9, 3, rows, columns}), "dims", {1, 0, 2, 3});
  graph.AddOutput("y", y);
  return graph;
}

TEST(SplitRows, AreReadAndStoredInTwoPieces) {
  int split[2] = {};
  for (DType dtype : {DType::kF32, DType::kF64, DType::kBF16, DType::kF16}) {
    for (std::optional<Isa> isa : {std::optional<Isa>(), std::optional(Isa::kAvx2)}) {
      for (bool stored : {false, true}) {
        for (const auto& [rows, columns] : {std::pair(5, 5), std::pair(7, 7), std::pair(4, 4), std::pair(3, 3), std::pair(17, 3)}) {
          Options options;
          options.isa = isa;
          options.sources = true;
          const Graph graph = Product(dtype, rows, columns, stored);
          const std::vector<HostTensor> inputs = RandomInputs(graph, 1);
          const std::unique_ptr<Executable> executable = Executable::Compile(graph, options);
          EXPECT_LE(RelativeError(Interpret(graph, inputs)[0], RunExecutable(*executable, graph, inputs)[0]), IsHalf(dtype) ? 1e-2 : Tolerance(dtype))
              << Name(dtype) << " " << stored << " " << rows << " x " << columns;
          split[stored] += executable->report().kernels[0].source.find("_border") != std::string::npos;
        }
      }
    }
  }
  for (int count : split) EXPECT_GE(count, 8);
}

}  // namespace
}  // namespace athanor
