#include "runtime/executable.h"

#include <gtest/gtest.h>

#include <cstring>

#include "ops/fragment.h"
#include "ops/gradient.h"
#include "tests/runtime/comparison.h"

namespace athanor {
namespace {

Graph Fragment(const std::string& name) { return LoadFragment(std::string(ATHANOR_SOURCE_DIR) + "/bench/fragments/" + name + ".json"); }

class JudgedFragment : public testing::TestWithParam<const char*> {};

TEST_P(JudgedFragment, ForwardAndGradientEqualTheReference) {
  const Graph graph = Fragment(GetParam());
  ExpectEqualsReference(graph, Options(), 1);
  ExpectEqualsReference(Gradient(graph), Options(), 2);
}

// The smaller ones: the interpreter is slow. tests/pytorch checks all of them.
INSTANTIATE_TEST_SUITE_P(Small, JudgedFragment,
                         testing::Values("layout_heads.fwd", "layout_nchw_nhwc.fwd", "layer_norm.train", "cross_entropy.train",
                                         "bias_gelu_residual.train", "decode_1024.fwd"),
                         [](const auto& info) { return std::string(info.param).substr(0, std::string(info.param).find('.')); });

}  // namespace
}  // namespace athanor
