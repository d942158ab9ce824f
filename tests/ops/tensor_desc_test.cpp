#include "ops/tensor_desc.h"

#include <gtest/gtest.h>

namespace athanor {
namespace {

TEST(TensorDesc, NamesOfDTypesAreReadBack) {
  for (const DType dtype :
       {DType::kF32, DType::kBF16, DType::kF16, DType::kF64, DType::kI32, DType::kI64, DType::kU8, DType::kBool}) {
    EXPECT_EQ(ParseDType(Name(dtype)), dtype);
  }
  EXPECT_EQ(ParseDType("float"), std::nullopt);
  EXPECT_EQ(SizeOf(DType::kBF16), 2);
  EXPECT_TRUE(IsFloat(DType::kF16));
  EXPECT_FALSE(IsFloat(DType::kBool));
}

TEST(TensorDesc, StridesOfContiguousTensors) {
  EXPECT_EQ(ContiguousStrides({2, 3, 4}), (std::vector<int64_t>{12, 4, 1}));
  EXPECT_EQ(ContiguousStrides({}), std::vector<int64_t>{});
  EXPECT_TRUE((TensorDesc{DType::kF32, {2, 3}}.contiguous()));
  EXPECT_TRUE((TensorDesc{DType::kF32, {2, 3}, {3, 1}}.contiguous()));
  EXPECT_FALSE((TensorDesc{DType::kF32, {2, 3}, {1, 2}}.contiguous()));
}

TEST(TensorDesc, StorageReachesToTheLastElement) {
  EXPECT_EQ((TensorDesc{DType::kF32, {2, 3}}.storage_elements()), 6);
  EXPECT_EQ((TensorDesc{DType::kF32, {2, 3}, {10, 2}}.storage_elements()), 15);
  EXPECT_EQ((TensorDesc{DType::kF32, {2, 3}, {0, 1}}.storage_elements()), 3);
  EXPECT_EQ((TensorDesc{DType::kF32, {2, 0}}.storage_elements()), 0);
  EXPECT_EQ((TensorDesc{DType::kF32, {}}.storage_elements()), 1);
}

TEST(TensorDesc, Text) {
  EXPECT_EQ(ToString(TensorDesc{DType::kI64, {4, 128}}), "i64[4, 128]");
  EXPECT_EQ(ToString(Shape{}), "[]");
}

}  // namespace
}  // namespace athanor
