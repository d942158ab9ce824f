#include "ops/attention.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "ops/decompose.h"
#include "ops/gradient.h"
#include "ops/op.h"
#include "tests/ops/op_checker.h"

namespace athanor {
namespace {

using testing::HasSubstr;

constexpr char kPublic[] = "scaled_dot_product_attention";

HostTensor F64(Shape shape, uint64_t seed) { return RandomTensor(DType::kF64, std::move(shape), seed); }

TEST(Attention, KnownWeights) {
  const HostTensor q = TensorOf(DType::kF64, {1, 2, 1}, {std::log(3.0), 0}), k = TensorOf(DType::kF64, {1, 2, 1}, {0, 1});
  const HostTensor v = TensorOf(DType::kF64, {1, 2, 2}, {0, 4, 8, 4});
  ExpectValues(ResultsOf({kPublic, {q, k, v}})[0], {6, 4, 4, 4});                              // weights 1:3 and 1:1
  ExpectValues(ResultsOf({kPublic, {q, k, v}, {{"is_causal", true}}})[0], {0, 4, 4, 4});
  ExpectValues(ResultsOf({kPublic, {q, k, v}, {{"scale", 0.0}}})[0], {4, 4, 4, 4});
}

TEST(Attention, LogSumExpOfTheScaledScores) {
  const HostTensor q = TensorOf(DType::kF64, {1, 1, 2, 1}, {2, 1}), k = TensorOf(DType::kF64, {1, 1, 2, 1}, {1, 3});
  const HostTensor v = F64({1, 1, 2, 3}, 1);
  const std::vector<HostTensor> full = ResultsOf({"_attention", {q, k, v}, {{"is_causal", false}, {"scale", 0.5}}});
  ExpectValues(full[1], {std::log(std::exp(1.0) + std::exp(3.0)), std::log(std::exp(0.5) + std::exp(1.5))});
  const std::vector<HostTensor> causal = ResultsOf({"_attention", {q, k, v}, {{"is_causal", true}, {"scale", 0.5}}});
  ExpectValues(causal[1], {1, std::log(std::exp(0.5) + std::exp(1.5))});
}

TEST(Attention, DecompositionsAndGradients) {
  struct Extents {
    int64_t lq, lk, d, dv;
  };
  for (const Extents& e : {Extents{1, 1, 1, 1}, Extents{3, 3, 4, 4}, Extents{5, 3, 2, 3}, Extents{3, 7, 5, 1}, Extents{1, 6, 3, 3}}) {
    for (const bool causal : {false, true}) {
      for (const Shape& lead : {Shape{2}, Shape{2, 3}}) {
        const auto tensor = [&](int64_t rows, int64_t columns, uint64_t seed) {
          Shape shape = lead;
          shape.insert(shape.end(), {rows, columns});
          return F64(shape, seed);
        };
        const HostTensor q = tensor(e.lq, e.d, 1), k = tensor(e.lk, e.d, 2), v = tensor(e.lk, e.dv, 3);
        SCOPED_TRACE(fmt::format("{} queries, {} keys, causal {}", e.lq, e.lk, causal));
        ExpectAll({kPublic, {q, k, v}, {{"is_causal", causal}}});
        if (lead.size() == 2) ExpectGradients({kPublic, {q, k, v}, {{"is_causal", causal}, {"scale", 0.7}}}, {1});
      }
    }
  }
}

TEST(Attention, NoKeysGiveZeros) {
  const OpExample test = {kPublic, {F64({2, 3, 4}, 1), F64({2, 0, 4}, 2), F64({2, 0, 5}, 3)}};
  ExpectValues(ResultsOf(test)[0], std::vector<double>(30, 0.0));
  ExpectDecomposes(test);
}

TEST(Attention, BackwardReusesTheForwardPass) {
  const OpExample test = {kPublic, {F64({1, 2, 3, 4}, 1), F64({1, 2, 3, 4}, 2), F64({1, 2, 3, 4}, 3)}};
  const Graph core = Decompose(Gradient(GraphOf(test)));
  ASSERT_EQ(core.nodes().size(), 2u);
  EXPECT_EQ(core.nodes()[0].op->name, "_attention");
  EXPECT_EQ(core.nodes()[1].op->name, "_attention_backward");
}

TEST(Attention, HalfPrecisionIsComputedInF32) {
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    const OpExample test = {kPublic, {RandomTensor(dtype, {3, 5, 4}, 1), RandomTensor(dtype, {3, 7, 4}, 2), RandomTensor(dtype, {3, 7, 6}, 3)}};
    ExpectDecomposes(test, 1e-2);
    const Graph core = Decompose(Gradient(GraphOf(test)));
    for (const Node& node : core.nodes()) {
      if (node.op->kind == OpKind::kAttention) {
        EXPECT_EQ(core.desc(node.inputs[0]).dtype, DType::kF32);
      }
    }
  }
}

TEST(Attention, Errors) {
  const HostTensor q = F64({2, 3, 4}, 1), k = F64({2, 5, 4}, 2), v = F64({2, 5, 6}, 3);
  EXPECT_EQ(ErrorOf({kPublic, {q, k, v}}), "");
  EXPECT_THAT(ErrorOf({kPublic, {q, k, F64({2, 4, 6}, 1)}}), HasSubstr("[heads, Lk, DV]"));
  EXPECT_THAT(ErrorOf({kPublic, {q, F64({2, 5, 3}, 1), v}}), HasSubstr("[2, 5, 3]"));
  EXPECT_THAT(ErrorOf({kPublic, {q, F64({3, 5, 4}, 1), v}}), HasSubstr("[3, 5, 4]"));
  EXPECT_THAT(ErrorOf({kPublic, {F64({3, 4}, 1), F64({3, 4}, 1), F64({3, 4}, 1)}}), HasSubstr("[batch, heads, Lq, D]"));
  EXPECT_THAT(ErrorOf({"_attention", {q, k, v}, {{"is_causal", false}, {"scale", 1.0}}}), HasSubstr("[batch, heads, Lq, D]"));
  EXPECT_THAT(ErrorOf({kPublic, {q, k, RandomTensor(DType::kF32, {2, 5, 6}, 3)}}), HasSubstr("dtypes f64, f64 and f32"));
  EXPECT_THAT(ErrorOf({kPublic, {q, k, v, F64({3, 5}, 1)}}), HasSubstr("attn_mask"));
  EXPECT_THAT(ErrorOf({kPublic, {q, k, v}, {{"dropout_p", 0.1}}}), HasSubstr("dropout"));
  EXPECT_THAT(ErrorOf({kPublic, {q, k, v}, {{"enable_gqa", true}}}), HasSubstr("enable_gqa"));
}

}  // namespace
}  // namespace athanor
