#include "ops/attention.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

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
  ExpectValues(ResultsOf({kPublic, {q, k, v}})[0], {6, 4, 4, 4});  // weights 1:3 and 1:1
  ExpectValues(ResultsOf({kPublic, {q, k, v}, {{"is_causal", true}}})[0], {0, 4, 4, 4});
  ExpectValues(ResultsOf({kPublic, {q, k, v}, {{"scale", 0.0}}})[0], {4, 4, 4, 4});
}

TEST(Attention, LogSumExpOfTheScaledScores) {
  const HostTensor q = TensorOf(DType::kF64, {1, 1, 2, 1}, {2, 1}), k = TensorOf(DType::kF64, {1, 1, 2, 1}, {1, 3});
  const HostTensor v = F64({1, 1, 2, 3}, 1);
  const std::vector<HostTensor> full = ResultsOf({"_attention", {q, k, v}, {{"scale", 0.5}}});
  ExpectValues(full[1], {std::log(std::exp(1.0) + std::exp(3.0)), std::log(std::exp(0.5) + std::exp(1.5))});
  const std::vector<HostTensor> causal = ResultsOf({"_attention", {q, k, v}, {{"right", int64_t{0}}, {"scale", 0.5}}});
  ExpectValues(causal[1], {1, std::log(std::exp(0.5) + std::exp(1.5))});
}

TEST(Attention, DecompositionsAndGradients) {
  struct Extents {
    int64_t lq, lk, d, dv;
  };
  for (const Extents& e :
       {Extents{1, 1, 1, 1}, Extents{3, 3, 4, 4}, Extents{5, 3, 2, 3}, Extents{3, 7, 5, 1}, Extents{1, 6, 3, 3}}) {
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
    const OpExample test = {
        kPublic, {RandomTensor(dtype, {3, 5, 4}, 1), RandomTensor(dtype, {3, 7, 4}, 2), RandomTensor(dtype, {3, 7, 6}, 3)}};
    ExpectDecomposes(test, 1e-2);
    const Graph core = Decompose(Gradient(GraphOf(test)));
    for (const Node& node : core.nodes()) {
      // Nothing is cast on the way: the kernels read and write the narrow dtype, and keep the log-sum-exp in f32.
      if (node.op->kind == OpKind::kView) continue;
      EXPECT_EQ(node.op->kind, OpKind::kAttention) << node.op->name;
      EXPECT_EQ(core.desc(node.inputs[0]).dtype, dtype);
      if (node.op->name == "_attention") {
        EXPECT_EQ(core.desc(node.outputs[1]).dtype, DType::kF32);
      }
    }
  }
}

HostTensor Booleans(Shape shape, uint64_t seed) { return RandomTensor(DType::kBool, std::move(shape), seed); }

TEST(Attention, Masks) {
  const HostTensor q = F64({2, 4, 3, 5}, 1), k = F64({2, 4, 7, 5}, 2), v = F64({2, 4, 7, 6}, 3);
  for (const Shape& shape :
       {Shape{3, 7}, Shape{7}, Shape{3, 1}, Shape{2, 1, 3, 7}, Shape{2, 4, 3, 7}, Shape{2, 1, 1, 7}, Shape{4, 1, 7}, Shape{}}) {
    SCOPED_TRACE(ToString(shape));
    ExpectAll({kPublic, {q, k, v, F64(shape, 4)}});
    ExpectAll({kPublic, {q, k, v, Booleans(shape, 5)}});
  }
}

TEST(Attention, AMaskIsWhatItSays) {
  const HostTensor q = F64({1, 2, 4, 3}, 1), k = F64({1, 2, 4, 3}, 2), v = F64({1, 2, 4, 3}, 3);
  const HostTensor lower = TensorOf(DType::kBool, {4, 4}, {1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1});
  ExpectValues(ResultsOf({kPublic, {q, k, v, lower}})[0], Values(ResultsOf({kPublic, {q, k, v}, {{"is_causal", true}}})[0]));
  const HostTensor band = TensorOf(DType::kBool, {4, 4}, {1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1});
  const std::vector<int64_t> one_back = {1, 0};
  ExpectValues(ResultsOf({kPublic, {q, k, v, band}})[0], Values(ResultsOf({kPublic, {q, k, v}, {{"window", one_back}}})[0]));
}

// Rows that see nothing are zeros and have no gradient, whether the mask is boolean or minus infinity.
TEST(Attention, MaskedRowsGiveZeros) {
  const HostTensor q = F64({1, 2, 3}, 1), k = F64({1, 3, 3}, 2), v = F64({1, 3, 2}, 3);
  const HostTensor mask = TensorOf(DType::kBool, {2, 3}, {0, 0, 0, 1, 0, 1});
  constexpr double kNone = -std::numeric_limits<double>::infinity();
  const HostTensor additive = TensorOf(DType::kF64, {2, 3}, {kNone, kNone, kNone, 0, kNone, 0});
  const std::vector<double> y = Values(ResultsOf({kPublic, {q, k, v, mask}})[0]);
  EXPECT_EQ(y[0], 0);
  EXPECT_EQ(y[1], 0);
  EXPECT_NE(y[2], 0);
  ExpectValues(ResultsOf({kPublic, {q, k, v, additive}})[0], y);
  ExpectAll({kPublic, {q, k, v, mask}});
}

TEST(Attention, Windows) {
  const HostTensor q = F64({2, 9, 4}, 1), k = F64({2, 6, 4}, 2), v = F64({2, 6, 3}, 3);
  for (const std::vector<int64_t>& window : {std::vector<int64_t>{2, 1}, {0, 0}, {-1, 1}, {3, -1}, {0, -1}}) {
    SCOPED_TRACE(ToString(window));
    ExpectAll({kPublic, {q, k, v}, {{"window", window}}});
    ExpectAll({kPublic, {q, k, v}, {{"window", window}, {"is_causal", true}}});
  }
}

TEST(Attention, KeysUpToALength) {
  const HostTensor q = F64({3, 2, 4, 3}, 1), k = F64({3, 2, 5, 3}, 2), v = F64({3, 2, 5, 3}, 3);
  const HostTensor lengths = TensorOf(DType::kI64, {3}, {5, 0, 2});
  ExpectAll({kPublic, {q, k, v, std::nullopt, lengths}});
  ExpectAll({kPublic, {q, k, v, F64({4, 5}, 4), lengths}});
  const HostTensor mask = TensorOf(DType::kBool, {3, 1, 1, 5}, {1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0});
  ExpectValues(ResultsOf({kPublic, {q, k, v, std::nullopt, lengths}})[0], Values(ResultsOf({kPublic, {q, k, v, mask}})[0]));
}

// The share of weights that is dropped, the same for the same seed; the rest grows, so that the mean stays.
TEST(Attention, Dropout) {
  const HostTensor q = F64({2, 3, 5, 4}, 1), k = F64({2, 3, 6, 4}, 2), v = F64({2, 3, 6, 3}, 3);
  const HostTensor seed = TensorOf(DType::kI64, {}, {12345}), offset = TensorOf(DType::kI64, {}, {7});
  for (const double p : {0.1, 0.5, 1.0})
    ExpectAll({kPublic, {q, k, v, std::nullopt, std::nullopt, seed, offset}, {{"dropout_p", p}}});
  ExpectAll({kPublic, {q, k, v, F64({5, 6}, 4), std::nullopt, seed}, {{"dropout_p", 0.3}}});

  // Equal scores and v = 1: y is the sum of the weights kept.
  const int64_t keys = 4000;
  const HostTensor zeros = TensorOf(DType::kF64, {1, 1, 4}, {0, 0, 0, 0}), far = F64({1, keys, 4}, 2);
  const HostTensor ones = TensorOf(DType::kF64, {1, keys, 1}, std::vector<double>(keys, 1));
  auto sum = [&](double word, double p) {
    const HostTensor key = TensorOf(DType::kI64, {}, {word});
    return Values(ResultsOf({kPublic, {zeros, far, ones, std::nullopt, std::nullopt, key}, {{"dropout_p", p}}})[0])[0];
  };
  EXPECT_NEAR(sum(1, 0.25), 1, 0.04);
  EXPECT_NE(sum(1, 0.25), sum(2, 0.25));
  EXPECT_EQ(sum(1, 0.25), sum(1, 0.25));
  EXPECT_EQ(sum(1, 1), 0);
}

TEST(Attention, GroupedQueries) {
  const HostTensor q = F64({2, 6, 4, 3}, 1), k = F64({2, 2, 5, 3}, 2), v = F64({2, 2, 5, 4}, 3);
  ExpectAll({kPublic, {q, k, v}, {{"enable_gqa", true}}});
  ExpectAll({kPublic, {q, k, v, F64({6, 4, 5}, 4)}, {{"enable_gqa", true}}});
  ExpectAll({kPublic, {q, F64({2, 1, 5, 3}, 2), F64({2, 1, 5, 4}, 3)}, {{"is_causal", true}}});
}

TEST(Attention, LeadingDimensionsBroadcast) {
  ExpectAll({kPublic, {F64({3, 4}, 1), F64({5, 4}, 2), F64({5, 2}, 3)}});
  ExpectAll({kPublic, {F64({2, 3, 2, 3, 4}, 1), F64({2, 1, 2, 5, 4}, 2), F64({3, 2, 5, 2}, 3)}});
  ExpectAll({kPublic, {F64({1, 2, 3, 4}, 1), F64({2, 2, 5, 4}, 2), F64({2, 1, 5, 2}, 3), F64({2, 1, 1, 5}, 4)}});
}

TEST(Attention, Errors) {
  const HostTensor q = F64({2, 3, 4}, 1), k = F64({2, 5, 4}, 2), v = F64({2, 5, 6}, 3);
  EXPECT_EQ(ErrorOf({kPublic, {q, k, v}}), "");
  EXPECT_THAT(ErrorOf({kPublic, {q, k, F64({2, 4, 6}, 1)}}), HasSubstr("[..., heads, Lk, DV]"));
  EXPECT_THAT(ErrorOf({kPublic, {q, F64({2, 5, 3}, 1), v}}), HasSubstr("[2, 5, 3]"));
  EXPECT_THAT(ErrorOf({kPublic, {q, F64({3, 5, 4}, 1), v}}), HasSubstr("do not broadcast"));
  EXPECT_THAT(ErrorOf({kPublic, {F64({4}, 1), F64({3, 4}, 1), F64({3, 4}, 1)}}), HasSubstr("[..., heads, Lq, D]"));
  EXPECT_THAT(ErrorOf({"_attention", {q, k, v}, {{"scale", 1.0}}}), HasSubstr("[batch, heads, Lq, D]"));
  EXPECT_THAT(ErrorOf({kPublic, {q, k, RandomTensor(DType::kF32, {2, 5, 6}, 3)}}), HasSubstr("dtypes f64, f64 and f32"));
  EXPECT_THAT(ErrorOf({kPublic, {q, k, v, F64({3, 4}, 1)}}), HasSubstr("do not broadcast"));
  EXPECT_THAT(ErrorOf({kPublic, {q, k, v, F64({2, 2, 3, 5}, 1)}}), HasSubstr("does not broadcast to [2, 3, 5]"));
  EXPECT_THAT(ErrorOf({kPublic, {q, k, v, RandomTensor(DType::kI32, {3, 5}, 1)}}), HasSubstr("attn_mask has dtype i32"));
  EXPECT_THAT(ErrorOf({kPublic, {q, k, v, F64({3, 5}, 1)}, {{"is_causal", true}}}), HasSubstr("attn_mask and is_causal"));
  EXPECT_THAT(ErrorOf({kPublic, {q, k, v, std::nullopt, TensorOf(DType::kI64, {2}, {1, 2})}}), HasSubstr("key_lengths"));
  EXPECT_THAT(ErrorOf({kPublic, {q, k, v}, {{"window", std::vector<int64_t>{1}}}}), HasSubstr("window is [1]"));
  EXPECT_THAT(ErrorOf({kPublic, {q, k, v}, {{"dropout_p", 0.1}}}), HasSubstr("there is no seed"));
  EXPECT_THAT(ErrorOf({kPublic, {q, k, v, std::nullopt, std::nullopt, F64({}, 1)}, {{"dropout_p", 0.1}}}),
              HasSubstr("seed is f64"));
  EXPECT_THAT(ErrorOf({kPublic, {q, k, v}, {{"dropout_p", 1.5}}}), HasSubstr("dropout_p is 1.5"));
  EXPECT_THAT(ErrorOf({kPublic, {F64({3, 3, 4}, 1), k, v}, {{"enable_gqa", true}}}), HasSubstr("3, 2 and 2 heads"));
}

}  // namespace
}  // namespace athanor
