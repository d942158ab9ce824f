#include "ops/dims.h"

#include "tests/ops/testing.h"

namespace athanor {
namespace {

TEST(Dims, NegativeOnesCountFromTheEnd) {
  EXPECT_EQ(NormalDim("sum", -1, {2, 3}), 1);
  EXPECT_EQ(NormalDim("sum", 1, {2, 3}), 1);
  EXPECT_EQ(NormalDim("sum", -1, {}), 0);
  EXPECT_EQ(NormalDims("sum", {-1, 0}, {2, 3}), (std::vector<int64_t>{0, 1}));
}

TEST(Dims, Errors) {
  EXPECT_EQ(ErrorOf([] { NormalDim("sum", 2, {2, 3}); }), "sum: dimension 2 is outside of shape [2, 3], expected -2 to 1");
  EXPECT_NE(ErrorOf([] { NormalDim("sum", 1, {}); }), "");
  EXPECT_EQ(ErrorOf([] { NormalDims("sum", {1, -1}, {2, 3}); }), "sum: dimension 1 is given twice in [1, -1]");
}

}  // namespace
}  // namespace athanor
