#include "ops/kv_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/error.h"
#include "tests/ops/op_checker.h"

namespace athanor {
namespace {

using testing::HasSubstr;

HostTensor F64(Shape shape, uint64_t seed) { return RandomTensor(DType::kF64, std::move(shape), seed); }

TEST(KvCache, EachSequenceGrowsAtItsEnd) {
  const HostTensor cache = TensorOf(DType::kF64, {2, 1, 3, 1}, {1, 2, 3, 4, 5, 6}), entries = TensorOf(DType::kF64, {2, 1, 2, 1}, {-1, -2, -3, -4});
  ExpectValues(ResultsOf({"kv_append", {cache, entries, TensorOf(DType::kI64, {2}, {1, 0})}})[0], {1, -1, -2, -3, -4, 6});
  ExpectValues(ResultsOf({"kv_append", {cache, entries, TensorOf(DType::kI32, {}, {1})}})[0], {1, -1, -2, 4, -3, -4});
}

TEST(KvCache, DecomposesAndDifferentiates) {
  for (int64_t length : {1, 3, 6}) {
    const HostTensor cache = F64({3, 2, 6, 5}, 1), entries = F64({3, 2, length, 5}, 2);
    ExpectAll({"kv_append", {cache, entries, RandomTensor(DType::kI64, {3}, 3, 7 - length)}});
    ExpectAll({"kv_append", {cache, entries, RandomTensor(DType::kI32, {}, 3, 7 - length)}});
  }
  ExpectDecomposes({"kv_append", {F64({3, 2, 6, 5}, 1), F64({3, 2, 0, 5}, 2), TensorOf(DType::kI64, {3}, {0, 6, 2})}});
}

TEST(KvCache, Errors) {
  const HostTensor cache = F64({2, 3, 4, 5}, 1), entries = F64({2, 3, 1, 5}, 2), lengths = TensorOf(DType::kI64, {2}, {0, 3});
  EXPECT_THAT(ErrorOf({"kv_append", {F64({3, 4, 5}, 1), entries, lengths}}), HasSubstr("[batch, heads, size, width]"));
  EXPECT_THAT(ErrorOf({"kv_append", {cache, F64({2, 3, 1, 4}, 1), lengths}}), HasSubstr("expected [2, 3, length, 5]"));
  EXPECT_THAT(ErrorOf({"kv_append", {cache, F64({2, 3, 5, 5}, 1), lengths}}), HasSubstr("5 entries for a cache of size 4"));
  EXPECT_THAT(ErrorOf({"kv_append", {cache, entries, F64({2}, 1)}}), HasSubstr("lengths have dtype f64"));
  EXPECT_THAT(ErrorOf({"kv_append", {cache, entries, TensorOf(DType::kI64, {3}, {0, 0, 0})}}), HasSubstr("expected [2] or a scalar"));
  EXPECT_THROW(ResultsOf({"kv_append", {cache, entries, TensorOf(DType::kI64, {2}, {0, 4})}}), Error);
}

}  // namespace
}  // namespace athanor
