#include <gtest/gtest.h>

#include "ops/fragment.h"
#include "ops/gradient.h"
#include "runtime/executable.h"
#include "tests/runtime/comparison.h"

namespace athanor {
namespace {

TEST(Unfused, EveryOpStoresItsResultsAndTheyAreTheSame) {
  const Graph graph = LoadFragment(std::string(ATHANOR_SOURCE_DIR) + "/bench/fragments/bias_gelu_residual.train.json");
  Options options;
  options.fusing = Fusing::kNothing;
  ExpectEqualsReference(graph, options, 1);
  ExpectEqualsReference(Gradient(graph), options, 2);
  EXPECT_GT(Executable::Compile(graph, options)->report().kernels.size(), Executable::Compile(graph, Options())->report().kernels.size());
}

}  // namespace
}  // namespace athanor
