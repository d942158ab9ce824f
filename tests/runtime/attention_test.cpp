// Attention, forward and backward, against the interpreter.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "ops/fragment.h"
#include "ops/gradient.h"
#include "tests/runtime/comparison.h"

namespace athanor {
namespace {

struct Case {
  int batch, heads, lq, lk, d, dv;
  bool causal;
};

Graph Attention(const Case& c, const char* dtype) {
  auto input = [&](const char* name, int l, int d) {
    return fmt::format(R"({{"name": "{}", "dtype": "{}", "shape": [{}, {}, {}, {}], "grad": true}})", name, dtype, c.batch, c.heads, l, d);
  };
  return ReadFragment(fmt::format(R"({{"format": "athanor.fragment/1", "name": "attention", "inputs": [{}, {}, {}], "nodes": [{{"op":
      "scaled_dot_product_attention", "inputs": ["q", "k", "v"], "outputs": ["y"], "attrs": {{"is_causal": {}}}}}], "outputs": ["y"]}})",
      input("q", c.lq, c.d), input("k", c.lk, c.d), input("v", c.lk, c.dv), c.causal), "test");
}

class AttentionSizes : public testing::TestWithParam<Case> {};

TEST_P(AttentionSizes, EqualTheReference) {
  for (const char* dtype : {"f32", "f64"}) {
    for (std::optional<Isa> isa : {std::optional<Isa>(), std::optional(Isa::kAvx2)}) {
      Options options;
      options.isa = isa;
      options.threads = 2;
      const Graph graph = Attention(GetParam(), dtype);
      ExpectEqualsReference(graph, options, 1);
      ExpectEqualsReference(Gradient(graph), options, 2);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, AttentionSizes,
                         testing::Values(Case{1, 1, 1, 1, 1, 1, false}, Case{2, 3, 49, 49, 32, 32, false}, Case{1, 2, 49, 49, 32, 32, true},
                                         Case{1, 1, 17, 5, 20, 7, false}, Case{1, 1, 17, 40, 8, 33, true}, Case{1, 2, 130, 130, 64, 64, true},
                                         Case{1, 1, 200, 150, 64, 64, false}, Case{1, 1, 1, 300, 64, 64, false}, Case{1, 1, 33, 7, 16, 16, true},
                                         Case{0, 2, 4, 4, 8, 8, false}, Case{1, 1, 300, 300, 16, 16, true}));

}  // namespace
}  // namespace athanor
