#include "tests/random/random_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "ops/fragment.h"
#include "ops/gradient.h"
#include "ops/op.h"
#include "tests/random/shrink.h"

namespace athanor {
namespace {

Graph Of(uint32_t seed) { return RandomGraph({.seed = seed}); }

TEST(RandomGraph, SameSeedSameGraph) {
  EXPECT_EQ(WriteFragment(Of(5)), WriteFragment(Of(5)));
  EXPECT_NE(WriteFragment(Of(5)), WriteFragment(Of(6)));
}

TEST(RandomGraph, SpeaksTheWholeVocabulary) {
  std::set<std::string_view> missing;
  for (const OpDef* op : AllOps()) {
    const bool framework = op->name.starts_with("flash_attention");                     // the same core ops: tests/ops/backward_test
    if (!op->internal && !framework && op->name != "adamw" && op->name != "sgd") missing.insert(op->name);
  }
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    const Graph graph = Of(seed);
    for (const Node& node : graph.nodes()) missing.erase(node.op->name);
  }
  EXPECT_THAT(missing, testing::IsEmpty());
}

TEST(RandomGraph, HasGradients) {
  for (uint32_t seed = 0; seed < 200; ++seed) EXPECT_NO_THROW(Gradient(Of(seed))) << WriteFragment(Of(seed));
}

TEST(Shrink, FindsTheOneNodeThatMatters) {
  const auto has_softmax = [](const Graph& graph) {
    for (const Node& node : graph.nodes()) {
      if (node.op->name == "softmax") return true;
    }
    return false;
  };
  int shrunk = 0;
  for (uint32_t seed = 0; seed < 60; ++seed) {
    if (!has_softmax(Of(seed))) continue;
    const Graph smallest = Shrink(Of(seed), has_softmax, [] { return true; });
    ASSERT_EQ(smallest.nodes().size(), 1u) << WriteFragment(smallest);
    EXPECT_EQ(smallest.inputs().size(), 1u);
    EXPECT_FALSE(smallest.value(smallest.inputs()[0]).wants_grad);
    ++shrunk;
  }
  EXPECT_GT(shrunk, 3);
}

TEST(Shrink, WideningChangesOnlyF32) {
  const Graph graph = Of(3), wide = Widened(graph);
  ASSERT_EQ(wide.inputs().size(), graph.inputs().size());
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    const TensorDesc &before = graph.desc(graph.inputs()[i]), &after = wide.desc(wide.inputs()[i]);
    EXPECT_EQ(after.shape, before.shape);
    EXPECT_EQ(after.dtype, before.dtype == DType::kF32 ? DType::kF64 : before.dtype);
  }
}

}  // namespace
}  // namespace athanor
