#include "ops/scalar_fn.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace athanor {
namespace {

TEST(ScalarFn, EveryFunctionHasANameAndAnArity) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(Fn::kCast); ++i) {
    names.insert(Name(static_cast<Fn>(i)));
    EXPECT_GE(Arity(static_cast<Fn>(i)), 1);
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(Fn::kCast) + 1);
  EXPECT_EQ(Name(Fn::kWhere), "where");
  EXPECT_EQ(Arity(Fn::kWhere), 3);
  EXPECT_EQ(Arity(Fn::kAnd), 2);
  EXPECT_EQ(Name(Fn::kNot), "not");
  EXPECT_EQ(Arity(Fn::kSigmoid), 1);
}

TEST(ScalarFn, MaximumAndMinimumPropagateNaN) {
  EXPECT_TRUE(std::isnan(Apply(Fn::kMax, NAN, 1)));
  EXPECT_TRUE(std::isnan(Apply(Fn::kMax, 1, NAN)));
  EXPECT_TRUE(std::isnan(Apply(Fn::kMin, NAN, 1)));
  EXPECT_TRUE(std::isnan(Apply(Fn::kMin, 1, NAN)));
  EXPECT_EQ(Apply(Fn::kMax, 2, 1), 2);
  EXPECT_EQ(Apply(Fn::kMin, 2, 1), 1);
}

TEST(ScalarFn, Values) {
  EXPECT_EQ(Apply(Fn::kWhere, 1, 2, 3), 2);
  EXPECT_EQ(Apply(Fn::kWhere, 0, 2, 3), 3);
  EXPECT_EQ(Apply(Fn::kRsqrt, 4), 0.5);
  EXPECT_EQ(Apply(Fn::kPow, 2, 10), 1024);
  EXPECT_DOUBLE_EQ(Apply(Fn::kSigmoid, 0), 0.5);
  EXPECT_EQ(Apply(Fn::kAnd, 1, 0), 0);
  EXPECT_EQ(Apply(Fn::kNot, 0), 1);
  EXPECT_EQ(Apply(Fn::kSub, 1, 3), -2);
}

}  // namespace
}  // namespace athanor
