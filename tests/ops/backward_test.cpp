#include "ops/backward.h"

#include "ops/decompose.h"
#include "ops/flash_attention.h"
#include "ops/gradient.h"
#include "ops/reference.h"
#include "tests/ops/op_checker.h"
#include "tests/ops/testing.h"

namespace athanor {
namespace {

// The gradients of inputs `wanted` by Gradient, and by the backward op of the same call.
void ExpectBackwardEqualsGradient(const OpExample& forward, const std::vector<int64_t>& wanted) {
  const std::vector<HostTensor> y = ResultsOf(forward);
  OpExample backward = {forward.op + "_backward", {RandomTensor(y[0].desc().dtype, y[0].desc().shape, 7)}, forward.attrs};
  backward.inputs.insert(backward.inputs.end(), forward.inputs.begin(), forward.inputs.end());
  backward.attrs.emplace("wanted", wanted);
  ExpectDecomposes(backward);
  const std::vector<HostTensor> got = ResultsOf(backward);

  const Graph joint = Gradient(GraphOf(forward, std::vector<int>(wanted.begin(), wanted.end())));
  std::vector<HostTensor> inputs;
  for (const auto& input : forward.inputs) {
    if (input) inputs.push_back(*input);
  }
  inputs.push_back(*backward.inputs[0]);
  for (size_t i = 1; i < y.size(); ++i) inputs.push_back(HostTensor(y[i].desc().dtype, y[i].desc().shape));
  const std::vector<HostTensor> expected = Interpret(joint, inputs);
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    const std::string name = fmt::format("grad.x{}", wanted[i]);
    size_t o = 0;
    while (joint.outputs()[o].name != name) ++o;
    ExpectWithin(got[i], expected[o], 1e-12, forward.op + " " + name);
  }
}

HostTensor Random(Shape shape, uint64_t seed) { return RandomTensor(DType::kF64, std::move(shape), seed); }

TEST(Backward, EqualsTheGradientOfTheForward) {
  using Ints = std::vector<int64_t>;
  ExpectBackwardEqualsGradient({"gelu", {Random({3, 5}, 1)}, {{"approximate", "tanh"}}}, {0});
  ExpectBackwardEqualsGradient({"tanh", {Random({3, 5}, 1)}}, {0});
  ExpectBackwardEqualsGradient({"conv2d", {Random({2, 4, 5, 6}, 1), Random({6, 2, 3, 3}, 2), Random({6}, 3)},
                                {{"stride", Ints{2, 1}}, {"padding", Ints{1, 0}}, {"groups", int64_t{2}}}}, {2, 0, 1});
  ExpectBackwardEqualsGradient({"layer_norm", {Random({4, 6}, 1), Random({6}, 2), std::nullopt}, {{"normalized_shape", Ints{6}}}}, {0, 1});
  ExpectBackwardEqualsGradient({"group_norm", {Random({2, 4, 3}, 1), Random({4}, 2), Random({4}, 3)}, {{"num_groups", int64_t{2}}}}, {0, 1, 2});
  ExpectBackwardEqualsGradient({"max_pool2d", {Random({1, 2, 5, 5}, 1)}, {{"kernel_size", Ints{3, 3}}, {"stride", Ints{2, 2}}}}, {0});
  ExpectBackwardEqualsGradient({"slice", {Random({5, 3}, 1)}, {{"start", int64_t{1}}, {"step", int64_t{2}}}}, {0});
  ExpectBackwardEqualsGradient({"embedding", {RandomTensor(DType::kI64, {4}, 1, 5), Random({5, 3}, 2)}}, {1});
}

TEST(Backward, RefusesWhatHasNoGradient) {
  const HostTensor x = Random({3}, 1), dy = Random({3}, 2);
  const auto wanted = [](std::vector<int64_t> list) { return Attrs{{"wanted", std::move(list)}}; };
  EXPECT_EQ(FindBackwardOp("eq_backward"), nullptr);
  EXPECT_THAT(ErrorOf({"tanh_backward", {dy, x}, wanted({1})}), testing::HasSubstr("wanted holds 1, but tanh has no such input here"));
  EXPECT_THAT(ErrorOf({"tanh_backward", {dy, x}, wanted({})}), testing::HasSubstr("wanted is empty"));
  EXPECT_THAT(ErrorOf({"tanh_backward", {Random({4}, 2), x}, wanted({0})}), testing::HasSubstr("is f64[4], expected f64[3]"));
  EXPECT_THAT(ErrorOf({"embedding_backward", {Random({2, 3}, 1), RandomTensor(DType::kI64, {2}, 1, 2), Random({2, 3}, 1)}, wanted({0})}),
              testing::HasSubstr("an input of dtype i64, which has no gradient"));
}

TEST(FlashAttention, HalvesAreThePublicOpAndItsGradient) {
  const HostTensor q = Random({2, 4, 5, 3}, 1), k = Random({2, 2, 6, 3}, 2), v = Random({2, 2, 6, 3}, 3), mask = Random({5, 6}, 4);
  for (const bool masked : {false, true}) {
    const Attrs causal = {{"is_causal", !masked}};
    OpExample flash = {"flash_attention", {q, k, v}, causal};
    OpExample whole = {"scaled_dot_product_attention", {q, k, v}, {{"is_causal", !masked}, {"enable_gqa", true}}};
    if (masked) flash.inputs.push_back(mask), whole.inputs.push_back(mask);
    ExpectDecomposes(flash);
    const std::vector<HostTensor> halves = ResultsOf(flash);
    ExpectWithin(halves[0], ResultsOf(whole)[0], 1e-12, "y");
    ASSERT_EQ(halves[1].desc().shape, (Shape{2, 4, 5}));

    const HostTensor dy = Random({2, 4, 5, 3}, 5);
    OpExample backward = {"flash_attention_backward", {dy, q, k, v, halves[0], halves[1]}, causal};
    OpExample expected = {"scaled_dot_product_attention_backward", {dy, q, k, v}, whole.attrs};
    expected.attrs.emplace("wanted", std::vector<int64_t>{0, 1, 2});
    if (masked) backward.inputs.push_back(mask), expected.inputs.push_back(mask);
    ExpectDecomposes(backward);
    const std::vector<HostTensor> got = ResultsOf(backward), want = ResultsOf(expected);
    for (size_t i = 0; i < 3; ++i) ExpectWithin(got[i], want[i], 1e-12, fmt::format("gradient {}", i));
  }
  EXPECT_THAT(ErrorOf({"flash_attention", {q, k, v, mask}, {{"is_causal", true}}}), testing::HasSubstr("both given"));
  EXPECT_THAT(ErrorOf({"flash_attention", {q, k, Random({2, 2, 7, 3}, 1)}}), testing::HasSubstr("expected"));
}

}  // namespace
}  // namespace athanor
