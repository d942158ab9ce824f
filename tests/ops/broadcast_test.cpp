#include "ops/broadcast.h"

#include "tests/ops/testing.h"

namespace athanor {
namespace {

TEST(Broadcast, ShapesFollowNumPy) {
  EXPECT_EQ(BroadcastShapes("add", {3, 1}, {2, 1, 4}), (Shape{2, 3, 4}));
  EXPECT_EQ(BroadcastShapes("add", {}, {2}), Shape{2});
  EXPECT_EQ(BroadcastShapes("add", {0, 1}, {1, 5}), (Shape{0, 5}));
  EXPECT_EQ(ErrorOf([] { BroadcastShapes("add", {2, 3}, {3, 2}); }),
            "add: shapes [2, 3] and [3, 2] do not broadcast: extents 3 and 2 differ and neither is 1");
  EXPECT_NE(ErrorOf([] { BroadcastShapes("add", {0}, {2}); }), "");
}

TEST(Broadcast, ReadsThroughLayouts) {
  const HostTensor tensor = Tensor(DType::kI32, {2, 3}, {0, 1, 2, 3, 4, 5});
  EXPECT_EQ(ReadThrough(tensor, Layout::Contiguous({2, 3}).Permute({1, 0})), (std::vector<double>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(ReadThrough(tensor, Layout::Contiguous({2, 3}).Select(0, 1).Select(0, 2)), std::vector<double>{5});
  EXPECT_EQ(ReadBroadcast(Tensor(DType::kF32, {2, 1}, {7, 8}), {2, 2, 2}), (std::vector<double>{7, 7, 8, 8, 7, 7, 8, 8}));
  EXPECT_TRUE(ReadBroadcast(Tensor(DType::kF32, {1}, {7}), {0, 3}).empty());
}

}  // namespace
}  // namespace athanor
