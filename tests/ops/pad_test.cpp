#include "ops/pad.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/ops/op_checker.h"

namespace athanor {
namespace {

using testing::HasSubstr;
using Ints = std::vector<int64_t>;

HostTensor F64(Shape shape, uint64_t seed) { return RandomTensor(DType::kF64, std::move(shape), seed); }

Attrs Pad(Ints pad, std::string mode = "constant") { return {{"pad", std::move(pad)}, {"mode", std::move(mode)}}; }

TEST(Pad, KnownEdges) {
  const HostTensor x = TensorOf(DType::kF64, {1, 4}, {1, 2, 3, 4});
  Attrs nines = Pad({2, 1});
  nines["value"] = 9.0;
  ExpectValues(ResultsOf({"pad", {x}, nines})[0], {9, 9, 1, 2, 3, 4, 9});
  ExpectValues(ResultsOf({"pad", {x}, Pad({-1, 1})})[0], {2, 3, 4, 0});
  ExpectValues(ResultsOf({"pad", {x}, Pad({2, 3}, "reflect")})[0], {3, 2, 1, 2, 3, 4, 3, 2, 1});
  ExpectValues(ResultsOf({"pad", {x}, Pad({2, 1}, "replicate")})[0], {1, 1, 1, 2, 3, 4, 4});
  ExpectValues(ResultsOf({"pad", {x}, Pad({2, 4}, "circular")})[0], {3, 4, 1, 2, 3, 4, 1, 2, 3, 4});
  ExpectValues(ResultsOf({"pad", {TensorOf(DType::kI32, {2, 1}, {5, 6})}, Pad({1, 0, 0, 1})})[0], {0, 5, 0, 6, 0, 0});
}

TEST(Pad, DecomposesAndDifferentiates) {
  for (const Ints& pad : {Ints{1, 2}, Ints{0, 3}, Ints{2, 0, 0, 1}, Ints{1, 1, 2, 2}, Ints{}, Ints{0, 0}, Ints{-1, 2}, Ints{-2, -1, 1, -1}, Ints{0, 0, 2, 1, 1, 0}}) {
    SCOPED_TRACE(ToString(pad));
    ExpectAll({"pad", {F64({2, 3, 5}, 1)}, Pad(pad)});
  }
  for (const char* mode : {"reflect", "replicate", "circular"}) {
    for (const Ints& pad : {Ints{1, 2}, Ints{0, 4}, Ints{2, 0, 0, 1}, Ints{4, 4, 2, 2}}) {
      SCOPED_TRACE(mode + ToString(pad));
      ExpectAll({"pad", {F64({2, 3, 5}, 1)}, Pad(pad, mode)});
    }
  }
  Attrs sevens = Pad({1, 1});
  sevens["value"] = int64_t{7};
  ExpectDecomposes({"pad", {RandomTensor(DType::kI64, {3, 4}, 1, 9)}, sevens});
}

TEST(Pad, Errors) {
  const HostTensor x = F64({2, 3}, 1);
  EXPECT_THAT(ErrorOf({"pad", {x}, Pad({1})}), HasSubstr("two numbers for each"));
  EXPECT_THAT(ErrorOf({"pad", {x}, Pad({1, 1, 1, 1, 1, 1})}), HasSubstr("at most 2 dimensions"));
  EXPECT_THAT(ErrorOf({"pad", {x}, Pad({-2, -2})}), HasSubstr("crops more"));
  EXPECT_THAT(ErrorOf({"pad", {x}, Pad({1, 1}, "mirror")}), HasSubstr("mode is \"mirror\""));
  EXPECT_THAT(ErrorOf({"pad", {x}, Pad({3, 0}, "reflect")}), HasSubstr("3 elements can't be made"));
  EXPECT_THAT(ErrorOf({"pad", {x}, Pad({1, 1, 1, 1}, "reflect")}), HasSubstr("with one or two more"));
  EXPECT_THAT(ErrorOf({"pad", {x}, Pad({-1, 1}, "replicate")}), HasSubstr("negative numbers"));
  EXPECT_THAT(ErrorOf({"pad", {x}, Pad({int64_t{1} << 62, 0})}), HasSubstr("too large"));
  Attrs half = Pad({1, 1});
  half["value"] = 0.5;
  EXPECT_THAT(ErrorOf({"pad", {RandomTensor(DType::kI64, {3}, 1)}, half}), HasSubstr("expected an integer"));
}

}  // namespace
}  // namespace athanor
