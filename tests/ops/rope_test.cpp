#include "ops/rope.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/error.h"
#include "tests/ops/op_checker.h"

namespace athanor {
namespace {

using testing::HasSubstr;

HostTensor F64(Shape shape, uint64_t seed) { return RandomTensor(DType::kF64, std::move(shape), seed); }

// Quarter turns at position 1, none at position 0.
const HostTensor kCos = TensorOf(DType::kF64, {2, 2}, {1, 1, 0, 0}), kSin = TensorOf(DType::kF64, {2, 2}, {0, 0, 1, 1});

TEST(Rope, KnownTurns) {
  const HostTensor x = TensorOf(DType::kF64, {2, 5}, {1, 2, 3, 4, 5, 1, 2, 3, 4, 5});
  ExpectValues(ResultsOf({"rope", {x, kCos, kSin}})[0], {1, 2, 3, 4, 5, -3, -4, 1, 2, 5});
  ExpectValues(ResultsOf({"rope", {x, kCos, kSin}, {{"interleaved", true}}})[0], {1, 2, 3, 4, 5, -2, 1, -4, 3, 5});
  const HostTensor back = TensorOf(DType::kI64, {2}, {1, 0});
  ExpectValues(ResultsOf({"rope", {x, kCos, kSin, back}})[0], {-3, -4, 1, 2, 5, 1, 2, 3, 4, 5});
}

TEST(Rope, DecomposesAndDifferentiates) {
  for (const bool interleaved : {false, true}) {
    for (int64_t pairs : {1, 2, 3}) {
      SCOPED_TRACE(pairs);
      const HostTensor x = F64({2, 3, 4, 6}, 1), cos = F64({7, pairs}, 2), sin = F64({7, pairs}, 3);
      const Attrs attrs = {{"interleaved", interleaved}};
      ExpectAll({"rope", {x, cos, sin}, attrs});
      for (const Shape& positions : {Shape{4}, Shape{2, 1, 4}, Shape{2, 3, 4}, Shape{2, 1, 1}}) {
        ExpectAll({"rope", {x, cos, sin, RandomTensor(DType::kI64, positions, 4, 7)}, attrs});
      }
    }
  }
  ExpectAll({"rope", {F64({4, 6}, 1), F64({4, 3}, 2), F64({4, 3}, 3)}});
  ExpectDecomposes({"rope", {F64({4, 6}, 1), F64({4, 0}, 2), F64({4, 0}, 3)}});
  ExpectDecomposes({"rope", {RandomTensor(DType::kBF16, {4, 6}, 1), RandomTensor(DType::kF32, {4, 3}, 2), RandomTensor(DType::kF32, {4, 3}, 3)}}, 1e-2);
}

TEST(Rope, Errors) {
  const HostTensor x = F64({3, 2, 4}, 1), table = F64({2, 2}, 2);
  EXPECT_THAT(ErrorOf({"rope", {F64({4}, 1), table, table}}), HasSubstr("expected [..., length, width]"));
  EXPECT_THAT(ErrorOf({"rope", {x, F64({2, 3}, 2), table}}), HasSubstr("at most 2 pairs"));
  EXPECT_THAT(ErrorOf({"rope", {x, table, F64({3, 2}, 2)}}), HasSubstr("sin is f64[3, 2], expected f64[2, 2]"));
  EXPECT_THAT(ErrorOf({"rope", {x, F64({1, 2}, 2), F64({1, 2}, 2)}}), HasSubstr("1 rows for 2 positions"));
  EXPECT_THAT(ErrorOf({"rope", {x, table, table, F64({2}, 1)}}), HasSubstr("positions have dtype f64"));
  EXPECT_THAT(ErrorOf({"rope", {x, table, table, RandomTensor(DType::kI64, {3}, 1)}}), HasSubstr("[3] and [3, 2]"));
  EXPECT_THAT(ErrorOf({"rope", {x, table, table, RandomTensor(DType::kI64, {1, 3, 2}, 1)}}), HasSubstr("broadcasts to [3, 2]"));
  EXPECT_THROW(ResultsOf({"rope", {x, table, table, TensorOf(DType::kI64, {2}, {0, 2})}}), Error);
}

}  // namespace
}  // namespace athanor
