// Concatenations that are read where their parts lie, and products merged or summed through them.
#include <gtest/gtest.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ops/emit.h"
#include "ops/gradient.h"
#include "tests/runtime/comparison.h"

namespace athanor {
namespace {

size_t Kernels(const Graph& graph) { return Executable::Compile(graph, Options())->report().kernels.size(); }

void ExpectBoth(const Graph& graph) {
  for (std::optional<Isa> isa : {std::optional<Isa>(), std::optional(Isa::kAvx2)}) {
    Options options;
    options.isa = isa;
    options.threads = 2;
    ExpectEqualsReference(graph, options, 3);
  }
}

// A Transformer block whose queries, keys and values are projected apart.
struct Block {
  int64_t batch = 2, length = 17, width = 64, heads = 4, kv_heads = 4;
  bool matmul = false, bias = true, post_norm = false;
  DType dtype = DType::kF32;

  Graph Build() const {
    Graph graph(fmt::format("block_{}_{}_{}{}{}", width, heads, kv_heads, matmul ? "_matmul" : "", post_norm ? "_post" : ""));
    // The gradient of the keys' bias is zero but for rounding: softmax takes no notice of it.
    auto input = [&](const std::string& name, Shape shape) { return graph.AddInput(name, {dtype, std::move(shape)}, name != "k.b"); };
    auto linear = [&](ValueId x, const std::string& name, int64_t out, int64_t in, bool biased) {
      if (!matmul) {
        std::vector<ValueId> inputs = {x, input(name + ".w", {out, in})};
        if (biased) inputs.push_back(input(name + ".b", {out}));
        return graph.Add("linear", inputs)[0];
      }
      const ValueId y = graph.Add1("matmul", {x, input(name + ".w", {in, out})});
      return biased ? graph.Add1("add", {y, input(name + ".b", {out})}) : y;
    };
    auto norm = [&](ValueId x, const std::string& name) {
      return graph.Add1("layer_norm", {x, input(name + ".w", {width}), input(name + ".b", {width})}, {{"normalized_shape", std::vector<int64_t>{width}}});
    };
    const int64_t head = width / heads;
    auto split = [&](ValueId x, int64_t count) {
      const ValueId digits = graph.Add1("reshape", {x}, {{"shape", std::vector<int64_t>{batch, length, count, head}}});
      return graph.Add1("transpose", {digits}, {{"dim0", int64_t{1}}, {"dim1", int64_t{2}}});
    };
    const ValueId x = input("x", {batch, length, width}), a = post_norm ? x : norm(x, "norm1");
    const ValueId q = split(linear(a, "q", width, width, bias), heads), k = split(linear(a, "k", kv_heads * head, width, bias), kv_heads);
    const ValueId v = split(linear(a, "v", kv_heads * head, width, bias), kv_heads);
    const ValueId y = graph.Add1("scaled_dot_product_attention", {q, k, v}, {{"enable_gqa", kv_heads != heads}});
    const ValueId rows = graph.Add1("reshape", {graph.Add1("transpose", {y}, {{"dim0", int64_t{1}}, {"dim1", int64_t{2}}})},
                                    {{"shape", std::vector<int64_t>{batch, length, width}}});
    ValueId middle = graph.Add1("add", {x, linear(rows, "proj", width, width, true)});
    if (post_norm) middle = norm(middle, "norm1");
    const ValueId hidden = graph.Add1("gelu", {linear(post_norm ? middle : norm(middle, "norm2"), "fc1", 4 * width, width, true)});
    ValueId result = graph.Add1("add", {middle, linear(hidden, "fc2", width, 4 * width, true)});
    if (post_norm) result = norm(result, "norm2");
    graph.AddOutput("y", result);
    return graph;
  }
};

TEST(Pieces, BlockOfFiveAndTwelveLaunches) {
  for (const Block& block : {Block{}, Block{.kv_heads = 1}, Block{.bias = false}, Block{.dtype = DType::kF64}}) {
    const Graph forward = block.Build(), train = Gradient(forward);
    ExpectBoth(train);
    EXPECT_LE(Kernels(forward), 5u) << forward.name();
    EXPECT_LE(Kernels(train), 17u) << forward.name();
  }
}

TEST(Pieces, NoLaunchOnlyMovesData) {
  for (const Block& block : {Block{}, Block{.kv_heads = 1}, Block{.matmul = true}, Block{.post_norm = true}}) {
    const auto executable = Executable::Compile(Gradient(block.Build()), Options());
    for (const KernelReport& kernel : executable->report().kernels) {
      const bool moves = std::all_of(kernel.nodes.begin(), kernel.nodes.end(), [](const std::string& node) { return node.starts_with("cast "); });
      EXPECT_FALSE(moves) << fmt::format("{}", fmt::join(kernel.nodes, ", "));
    }
  }
}

TEST(Pieces, OtherBlocks) {
  for (const Block& block : {Block{.matmul = true}, Block{.heads = 2, .kv_heads = 1, .matmul = true, .bias = false}, Block{.post_norm = true}}) {
    const Graph forward = block.Build();
    ExpectBoth(Gradient(forward));
    EXPECT_LE(Kernels(forward), block.post_norm ? 7u : 5u) << forward.name();
  }
}

// Results and gradients of the projections leave the fragment: the product stores each where the caller has it.
TEST(Pieces, ProjectionsAreThreeLaunchesWithGradients) {
  Graph graph("projections");
  const ValueId x = graph.AddInput("x", {DType::kF32, {37, 48}}, true);
  for (const auto& [name, width] : {std::pair("q", 48), {"k", 16}, {"v", 32}}) {
    const ValueId w = graph.AddInput(fmt::format("{}.w", name), {DType::kF32, {width, 48}}, true);
    const ValueId b = graph.AddInput(fmt::format("{}.b", name), {DType::kF32, {width}}, true);
    graph.AddOutput(name, graph.Add1("linear", {x, w, b}));
  }
  ExpectBoth(graph);
  ExpectBoth(Gradient(graph));
  EXPECT_EQ(Kernels(graph), 1u);
  EXPECT_EQ(Kernels(Gradient(graph)), 3u);
}

// One kernel over all parameters, though the gradients of three lie in one tensor.
TEST(Pieces, OptimizerReadsTheRowsOfOneProduct) {
  Graph forward("step");
  const ValueId x = forward.AddInput("x", {DType::kF32, {37, 48}});
  for (const auto& [name, width] : {std::pair("q", 48), {"k", 16}, {"v", 32}}) {
    const ValueId w = forward.AddInput(fmt::format("{}.w", name), {DType::kF32, {width, 48}}, true);
    forward.AddOutput(name, forward.Add1("linear", {x, w, forward.AddInput(fmt::format("{}.b", name), {DType::kF32, {width}}, true)}));
  }
  Graph step = Gradient(forward);
  std::vector<ValueId> tensors = {step.AddInput("steps", {DType::kF32, {}}), step.AddInput("lr", {DType::kF32, {}})};
  for (const NamedValue& output : step.outputs()) {
    if (!output.name.starts_with("grad.")) continue;
    const ValueId parameter = *step.Find(output.name.substr(5));
    const TensorDesc desc = {DType::kF32, step.desc(parameter).shape};
    const ValueId m = step.AddInput("m." + output.name, desc), zero = step.Add1("mul", {m, step.AddConstant(0, DType::kF32)});
    tensors.insert(tensors.end(), {parameter, output.value, m, zero});
  }
  step.ClearOutputs();
  const std::vector<ValueId> updated = step.Add("adamw", tensors);
  for (size_t i = 0; i < updated.size(); ++i) step.AddOutput(fmt::format("updated{}", i), updated[i]);
  ExpectBoth(step);
  EXPECT_EQ(Kernels(step), 2u);
}

// A concatenation of inputs by the author of the graph, of whatever widths: borders lie inside vectors.
TEST(Pieces, AnyWidthsAndReaders) {
  for (const auto& [first, second] : {std::pair<int64_t, int64_t>{16, 32}, {5, 7}, {1, 40}, {33, 16}, {48, 21}}) {
    for (DType dtype : {DType::kF32, DType::kF64}) {
      Graph graph(fmt::format("cat_{}_{}", first, second));
      Emit emit(graph);
      auto input = [&](const char* name, Shape shape) { return graph.AddInput(name, {dtype, std::move(shape)}); };
      const ValueId rows = emit.Cat({input("a", {19, first}), input("b", {19, second})}, 1);
      const ValueId columns = emit.Cat({input("c", {first, 23}), input("d", {second, 23})}, 0);
      graph.AddOutput("product", graph.Add1("matmul", {rows, columns}));
      graph.AddOutput("swapped", graph.Add1("matmul", {emit.Transpose(columns), emit.Transpose(rows)}));
      graph.AddOutput("linear", graph.Add1("linear", {input("x", {18, 23}), columns}));
      graph.AddOutput("sum", emit.Add(emit.Exp(rows), input("e", {first + second})));
      graph.AddOutput("across", emit.Mul(emit.Transpose(columns), 2.0));
      ExpectBoth(graph);
      EXPECT_EQ(Kernels(graph), 5u);
    }
  }
}

// The second part's columns are two digits that the border cuts: no access map leads there, so the parts are copied.
TEST(Pieces, CopiedWhereNoMapLeads) {
  Graph graph("cut_digits");
  Emit emit(graph);
  const ValueId heads = graph.AddInput("heads", {DType::kF32, {3, 4, 5, 24}});   // [batch, head, row, column]
  const ValueId b = emit.Reshape(emit.Permute(heads, {0, 2, 1, 3}), {15, 96});
  const ValueId cat = emit.Cat({graph.AddInput("a", {DType::kF32, {15, 16}}), b}, 1);
  graph.AddOutput("y", graph.Add1("matmul", {cat, graph.AddInput("w", {DType::kF32, {112, 20}})}));
  ExpectBoth(graph);
  EXPECT_GT(Kernels(graph), 1u);
}

// An image rolled and cut into windows (Swin): the borders of the rolled parts lie within windows, so the parts can't be written where the output is.
TEST(Pieces, RolledWindows) {
  for (bool computed : {false, true}) {
    for (int dims : {1, 2}) {
      Graph graph(fmt::format("roll_{}_{}", computed ? "computed" : "input", dims));
      const ValueId x = graph.AddInput("x", {DType::kF32, {2, 14, 14, 8}}, true);
      ValueId rolled = computed ? graph.Add1("softmax", {x}, {{"dim", int64_t{-1}}}) : x;
      for (int64_t dim = 1; dim <= dims; ++dim) {
        auto rows = [&](int64_t start, int64_t end) { return graph.Add1("slice", {rolled}, {{"dim", dim}, {"start", start}, {"end", end}}); };
        rolled = graph.Add1("cat", {rows(3, 14), rows(0, 3)}, {{"dim", dim}});
      }
      const ValueId windows = graph.Add1("reshape", {rolled}, {{"shape", std::vector<int64_t>{2, 2, 7, 2, 7, 8}}});
      graph.AddOutput("y", graph.Add1("permute", {windows}, {{"dims", std::vector<int64_t>{0, 1, 3, 2, 4, 5}}}));
      ExpectBoth(graph);
      ExpectBoth(Gradient(graph));
    }
  }
}

// A concatenation within another, seen through views that its own border cuts.
TEST(Pieces, ConcatenationWithinAnother) {
  for (bool outer_is_permuted : {false, true}) {
    Graph graph("nested");
    Emit emit(graph);
    auto input = [&](const char* name, Shape shape) { return emit.Exp(graph.AddInput(name, {DType::kF32, std::move(shape)})); };
    const ValueId inner = emit.Cat({input("a", {5, 12}), input("b", {7, 12})}, 0);
    const ValueId blocks = emit.Permute(emit.Reshape(inner, {3, 4, 3, 4}), {0, 2, 1, 3});   // the border 5 is within a row of blocks
    const ValueId outer = emit.Cat({blocks, input("c", {3, 2, 4, 4})}, 1);
    graph.AddOutput("y", outer_is_permuted ? emit.Permute(outer, {1, 0, 3, 2}) : outer);
    ExpectBoth(graph);
  }
}

}  // namespace
}  // namespace athanor
