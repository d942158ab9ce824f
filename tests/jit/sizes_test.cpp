#include "jit/sizes.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "jit/plan_builder.h"
#include "jit/routines.h"
#include "ops/decompose.h"
#include "ops/error.h"
#include "ops/fragment.h"
#include "ops/gradient.h"
#include "tests/jit/kernel_runner.h"

namespace athanor {
namespace {

using testing::Targets;

TEST(Sizes, AreArgumentsInTheOrderOfUse) {
  Sizes sizes;
  EXPECT_EQ(sizes.Text(48), "s0");
  EXPECT_EQ(sizes.Named("rows", 48), "rows");
  EXPECT_EQ(sizes.Text(7), "s1");
  EXPECT_EQ(sizes.Text(48), "s0");
  EXPECT_EQ(sizes.Text(0), "0");
  EXPECT_EQ(sizes.Text(1), "1");
  EXPECT_EQ(sizes.Named("rows", 48), "rows");
  EXPECT_EQ(sizes.Named("one", 1), "one");
  EXPECT_EQ(sizes.Text(-3), "s2");
  EXPECT_EQ(sizes.Parameters(), ", long s0, long rows, long s1, long one, long s2");
  EXPECT_EQ(sizes.Arguments(), ", 48, 48, 7, 1, -3");
  EXPECT_THROW(sizes.Named("rows", 49), InternalError);
}

// The routines that all kernels of a fragment and its gradient use, by their words.
std::set<std::string> RoutinesOf(const std::string& fragment, const CpuTarget& cpu) {
  std::set<std::string> routines;
  for (const KernelPlan& plan : BuildProgram(Decompose(Gradient(ReadFragment(fragment, "test")))).kernels) {
    std::string text = GenerateCpp(plan, DefaultSchedule(plan, cpu), cpu).text;
    for (const Routine& routine : TakeRoutines(&text)) routines.insert(routine.definition);
  }
  return routines;
}

std::string Layer(int rows, int in, int out) {
  return fmt::format(R"({{"format": "athanor.fragment/1", "name": "layer", "inputs": [
      {{"name": "x", "dtype": "f32", "shape": [{0}, {1}], "grad": true}}, {{"name": "w", "dtype": "f32", "shape": [{2}, {1}], "grad": true}},
      {{"name": "b", "dtype": "f32", "shape": [{2}], "grad": true}}, {{"name": "r", "dtype": "f32", "shape": [{0}, {2}], "grad": true}}],
      "nodes": [{{"op": "linear", "inputs": ["x", "w", "b"], "outputs": ["h"]}}, {{"op": "gelu", "inputs": ["h"], "outputs": ["g"]}},
                {{"op": "add", "inputs": ["g", "r"], "outputs": ["y"]}}], "outputs": ["y"]}})",
                     rows, in, out);
}

std::string Attention(int heads, int length, int width) {
  return fmt::format(R"({{"format": "athanor.fragment/1", "name": "attention", "inputs": [
      {{"name": "q", "dtype": "f32", "shape": [1, {0}, {1}, {2}], "grad": true}}, {{"name": "k", "dtype": "f32", "shape": [1, {0}, {1}, {2}], "grad": true}},
      {{"name": "v", "dtype": "f32", "shape": [1, {0}, {1}, {2}], "grad": true}}],
      "nodes": [{{"op": "scaled_dot_product_attention", "inputs": ["q", "k", "v"], "outputs": ["y"], "attrs": {{"is_causal": true}}}}], "outputs": ["y"]}})",
                     heads, length, width);
}

// Sizes, strides and schedules are not among those words.
TEST(Sizes, AreAllThatRoutinesOfEqualLayersDifferIn) {
  for (const CpuTarget& cpu : Targets()) {
    const std::set<std::string> layer = RoutinesOf(Layer(512, 768, 3072), cpu), attention = RoutinesOf(Attention(12, 128, 64), cpu);
    EXPECT_GE(layer.size(), 2u);
    EXPECT_GE(attention.size(), 4u);
    EXPECT_EQ(layer, RoutinesOf(Layer(384, 1024, 2048), cpu));
    EXPECT_EQ(attention, RoutinesOf(Attention(3, 112, 64), cpu));
  }
}

// Whether LLVM leaves a function of the source, with internal linkage, alone.
bool IsCompiledQuickly(const std::string& ir, const std::string& function) {
  const size_t name = ir.find(fmt::format("define internal void @_ZL{}{}", function.size(), function)), number = ir.find(") #", name);
  if (number > ir.find('\n', name)) throw InternalError("no function " + function);
  const std::string group = "attributes " + ir.substr(number + 2, ir.find(' ', number + 2) - number - 2) + " = {";
  const size_t attributes = ir.find(group);
  return ir.substr(attributes, ir.find('\n', attributes) - attributes).find("optnone") != std::string::npos;
}

// What computes in attention are tiles and routines: the blocks around them, which are the most of its source, only call.
TEST(Sizes, LeaveBlocksThatOnlyCall) {
  const CpuTarget cpu = DetectCpu();
  int blocks = 0;
  for (const KernelPlan& plan : BuildProgram(Decompose(Gradient(ReadFragment(Attention(12, 128, 64), "test")))).kernels) {
    if (plan.skeleton != Skeleton::kAttention) continue;
    const std::string ir = testing::CompilerFor(cpu).List(GenerateCpp(plan, DefaultSchedule(plan, cpu), cpu), "attention").llvm_ir;
    EXPECT_TRUE(IsCompiledQuickly(ir, "block"));
    EXPECT_FALSE(IsCompiledQuickly(ir, "pack_squares_f32"));
    ++blocks;
  }
  EXPECT_EQ(blocks, 2);
}

}  // namespace
}  // namespace athanor
