#include "ops/embedding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/error.h"
#include "tests/ops/op_checker.h"

namespace athanor {
namespace {

using testing::HasSubstr;

HostTensor F64(Shape shape, uint64_t seed) { return RandomTensor(DType::kF64, std::move(shape), seed); }
HostTensor I64(Shape shape, const std::vector<double>& values) { return TensorOf(DType::kI64, std::move(shape), values); }

TEST(Embedding, KnownRows) {
  const HostTensor table = TensorOf(DType::kF64, {3, 2}, {1, 2, 3, 4, 5, 6});
  ExpectValues(ResultsOf({"embedding", {I64({2, 2}, {2, 0, 1, 2}), table}})[0], {5, 6, 1, 2, 3, 4, 5, 6});
  ExpectValues(ResultsOf({"_scatter_add_rows", {table, I64({3}, {1, 3, 1})}, {{"table_rows", int64_t{4}}}})[0], {0, 0, 6, 8, 0, 0, 3, 4});
  ExpectValues(ResultsOf({"_scatter_rows", {table, I64({3}, {1, 3, 1}), TensorOf(DType::kF64, {4, 2}, {-1, -2, -3, -4, -5, -6, -7, -8})}})[0], {-1, -2, 5, 6, -5, -6, 3, 4});
  ExpectValues(ResultsOf({"index_select", {table, I64({3}, {1, 0, 1})}, {{"dim", int64_t{1}}}})[0], {2, 1, 2, 4, 3, 4, 6, 5, 6});
  ExpectValues(ResultsOf({"gather", {table, I64({2, 2}, {1, 1, 0, 1})}, {{"dim", int64_t{-1}}}})[0], {2, 2, 3, 4});
  ExpectValues(ResultsOf({"one_hot", {I64({2}, {2, 0})}, {{"num_classes", int64_t{3}}}})[0], {0, 0, 1, 1, 0, 0});
}

TEST(Embedding, DecompositionsAndGradients) {
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{9}, Shape{3, 4}, Shape{0, 2}}) {
    SCOPED_TRACE(ToString(shape));
    ExpectAll({"embedding", {RandomTensor(DType::kI64, shape, 1, 5), F64({5, 3}, 2)}});
    ExpectAll({"embedding", {RandomTensor(DType::kI32, shape, 1, 5), F64({5, 3}, 2)}});
    ExpectGradients({"_gather_rows", {F64({5, 2, 3}, 2), RandomTensor(DType::kI64, shape, 1, 5)}});
    ExpectDecomposes({"_scatter_rows", {F64({shape.empty() ? 3 : shape[0], 3}, 1), RandomTensor(DType::kI64, {shape.empty() ? 3 : shape[0]}, 1, 5), F64({5, 3}, 2)}});
    ExpectDecomposes({"one_hot", {RandomTensor(DType::kI64, shape, 1, 5)}, {{"num_classes", int64_t{6}}}});
  }
  ExpectGradients({"_scatter_add_rows", {F64({6, 3}, 2), RandomTensor(DType::kI64, {6}, 1, 4)}, {{"table_rows", int64_t{4}}}});
  for (int64_t dim : {0, 1, 2, -1, -3}) {
    SCOPED_TRACE(dim);
    ExpectAll({"index_select", {F64({4, 4, 4}, 1), RandomTensor(DType::kI64, {5}, 2, 4)}, {{"dim", dim}}});
    ExpectAll({"gather", {F64({4, 4, 4}, 1), RandomTensor(DType::kI64, {3, 3, 3}, 2, 4)}, {{"dim", dim}}});
  }
  ExpectAll({"gather", {F64({2, 3}, 1), RandomTensor(DType::kI64, {2, 7}, 2, 3)}, {{"dim", int64_t{1}}}});
}

TEST(Embedding, IndicesOutsideOfTheTable) {
  const HostTensor table = F64({3, 2}, 1);
  EXPECT_THROW(ResultsOf({"embedding", {I64({1}, {3}), table}}), Error);
  EXPECT_THROW(ResultsOf({"embedding", {I64({1}, {-1}), table}}), Error);
  EXPECT_THROW(ResultsOf({"index_select", {table, I64({1}, {2})}, {{"dim", int64_t{1}}}}), Error);
  EXPECT_THROW(ResultsOf({"gather", {table, I64({1, 1}, {2})}, {{"dim", int64_t{1}}}}), Error);
  EXPECT_THROW(ResultsOf({"one_hot", {I64({1}, {3})}, {{"num_classes", int64_t{3}}}}), Error);
  EXPECT_THROW(ResultsOf({"_scatter_add_rows", {table, I64({3}, {0, 1, 2})}, {{"table_rows", int64_t{2}}}}), Error);
  EXPECT_THROW(ResultsOf({"_scatter_rows", {F64({1, 2}, 1), I64({1}, {3}), table}}), Error);
}

TEST(Embedding, Errors) {
  const HostTensor table = F64({3, 2}, 1), indices = I64({2}, {0, 1});
  EXPECT_THAT(ErrorOf({"embedding", {table, table}}), HasSubstr("indices have dtype f64, expected i64 or i32"));
  EXPECT_THAT(ErrorOf({"embedding", {indices, F64({3}, 1)}}), HasSubstr("[rows, width]"));
  EXPECT_THAT(ErrorOf({"_gather_rows", {table, RandomTensor(DType::kI32, {2}, 1)}}), HasSubstr("expected i64"));
  EXPECT_THAT(ErrorOf({"_scatter_add_rows", {table, indices}, {{"table_rows", int64_t{2}}}}), HasSubstr("indices' shape [2] in front"));
  EXPECT_THAT(ErrorOf({"_scatter_rows", {F64({2, 3}, 1), indices, table}}), HasSubstr("_scatter_rows: the table is f64[3, 2]"));
  EXPECT_THAT(ErrorOf({"index_select", {table, I64({1, 1}, {0})}, {{"dim", int64_t{0}}}}), HasSubstr("one dimension"));
  EXPECT_THAT(ErrorOf({"index_select", {table, indices}, {{"dim", int64_t{2}}}}), HasSubstr("dim 2 is outside"));
  EXPECT_THAT(ErrorOf({"gather", {table, indices}, {{"dim", int64_t{0}}}}), HasSubstr("the input's rank"));
  EXPECT_THAT(ErrorOf({"gather", {table, RandomTensor(DType::kI64, {4, 1}, 1)}, {{"dim", int64_t{1}}}}), HasSubstr("[4, 1]"));
  EXPECT_THAT(ErrorOf({"one_hot", {indices}, {{"num_classes", int64_t{-1}}}}), HasSubstr("num_classes is -1"));
}

}  // namespace
}  // namespace athanor
