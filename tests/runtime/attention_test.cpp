// Attention, forward and backward, against the interpreter.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <optional>
#include <random>

#include "ops/fragment.h"
#include "ops/gradient.h"
#include "tests/runtime/comparison.h"

namespace athanor {
namespace {

struct Case {
  std::string name;
  int batch = 1, heads = 1, kv_heads = 1, lq = 1, lk = 1, d = 1, dv = 1;
  std::string attrs = {};  // ', "is_causal": true'
  std::string mask = {};   // its shape: "[1, 2]"
  std::string mask_dtype = "bool";
  bool ragged = false;  // key_lengths
  double dropout = 0;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::string Input(const char* name, const std::string& dtype, const std::string& shape,
                  const std::string& more = R"(, "grad": true)") {
  return fmt::format(R"({{"name": "{}", "dtype": "{}", "shape": {}{}}})", name, dtype, shape, more);
}

Graph Attention(const Case& c, const std::string& dtype) {
  auto heads = [&](int h, int l, int d) { return fmt::format("[{}, {}, {}, {}]", c.batch, h, l, d); };
  std::string inputs = Input("q", dtype, heads(c.heads, c.lq, c.d)) + ", " + Input("k", dtype, heads(c.kv_heads, c.lk, c.d)) +
                       ", " + Input("v", dtype, heads(c.kv_heads, c.lk, c.dv));
  const std::string mask_dtype = c.mask_dtype == "float" ? dtype : c.mask_dtype;
  if (!c.mask.empty()) inputs += ", " + Input("mask", mask_dtype, c.mask, mask_dtype == "bool" ? "" : R"(, "grad": true)");
  if (c.ragged) inputs += ", " + Input("lengths", "i64", fmt::format("[{}]", c.batch), "");
  if (c.dropout > 0) inputs += ", " + Input("seed", "i64", "[]", "") + ", " + Input("offset", "i64", "[]", "");
  return ReadFragment(fmt::format(R"({{"format": "athanor.fragment/1", "name": "attention", "inputs": [{}], "nodes": [{{"op":
      "scaled_dot_product_attention", "inputs": ["q", "k", "v", {}, {}{}], "outputs": ["y"], "attrs": {{"enable_gqa": {}, "dropout_p": {}{}}}}}], "outputs": ["y"]}})",
                                  inputs, c.mask.empty() ? "null" : "\"mask\"", c.ragged ? "\"lengths\"" : "null",
                                  c.dropout > 0 ? R"(, "seed", "offset")" : "", c.heads != c.kv_heads, c.dropout, c.attrs),
                      "test");
}

// Lengths and booleans in their ranges; the first query sees nothing through a boolean mask.
std::vector<HostTensor> InputsOf(const Case& c, const Graph& graph, uint32_t seed) {
  std::vector<HostTensor> inputs = RandomInputs(graph, seed);
  for (size_t i = 0; i < inputs.size(); ++i) {
    HostTensor& tensor = inputs[i];
    const std::string& name = graph.value(graph.inputs()[i]).name;
    for (int64_t e = 0; e < tensor.elements(); ++e) {
      if (name == "seed" || name == "offset") tensor.Set(e, name == "seed" ? -987654321987.0 : 12345678901.0);
      if (name == "lengths") tensor.Set(e, (e * 7 + 5) % (c.lk + 1));
      if (tensor.desc().dtype == DType::kBool) tensor.Set(e, e >= c.lk && (e * 2654435761u >> 7) % 3 != 0);
    }
  }
  return inputs;
}

// Relative to the largest element, or to 1: a gradient may be zero but for rounding.
void ExpectWithin(const HostTensor& actual, const HostTensor& expected, double tolerance, const std::string& what) {
  EXPECT_LE(RelativeError(expected, actual, 1), tolerance) << what;
}

void ExpectReference(const Case& c, const Graph& graph, const Options& options) {
  const std::vector<HostTensor> inputs = InputsOf(c, graph, 1);
  const std::vector<HostTensor> expected = Interpret(graph, inputs);
  const std::unique_ptr<Executable> executable = Executable::Compile(graph, options);
  const std::vector<HostTensor> actual = RunExecutable(*executable, graph, inputs);
  const DType dtype = inputs[0].desc().dtype;  // of q; gradients of a mask may be finer
  for (size_t i = 0; i < expected.size(); ++i) {
    const double tolerance = dtype == DType::kBF16 ? 1.2e-2 : dtype == DType::kF16 ? 2e-3 : Tolerance(dtype);
    ExpectWithin(actual[i], expected[i], tolerance, graph.outputs()[i].name);
  }
}

class AttentionCases : public testing::TestWithParam<Case> {};

TEST_P(AttentionCases, EqualTheReference) {
  for (const char* dtype : {"f32", "f64", "bf16"}) {
    for (std::optional<Isa> isa : {std::optional<Isa>(), std::optional(Isa::kAvx2)}) {
      if (isa && dtype != std::string("f32")) continue;
      SCOPED_TRACE(fmt::format("{} {}", dtype, isa ? "avx2" : "native"));
      Options options;
      options.isa = isa;
      options.threads = 2;
      const Graph graph = Attention(GetParam(), dtype);
      ExpectReference(GetParam(), graph, options);
      ExpectReference(GetParam(), Gradient(graph), options);
    }
  }
}

TEST_P(AttentionCases, SameBitsForAnyNumberOfThreads) {
  for (const char* dtype : {"f32", "bf16"}) {
    const Graph graph = Gradient(Attention(GetParam(), dtype));
    const std::vector<HostTensor> inputs = InputsOf(GetParam(), graph, 2);
    std::vector<HostTensor> first;
    for (int threads : {1, 3}) {
      Options options;
      options.threads = threads;
      const std::unique_ptr<Executable> executable = Executable::Compile(graph, options);
      std::vector<HostTensor> results = RunExecutable(*executable, graph, inputs);
      for (size_t i = 0; i < first.size(); ++i) {
        const auto bytes = static_cast<size_t>(results[i].elements() * SizeOf(results[i].desc().dtype));
        EXPECT_EQ(std::memcmp(first[i].data(), results[i].data(), bytes), 0) << dtype << " " << graph.outputs()[i].name;
      }
      if (first.empty()) first = std::move(results);
    }
  }
}

const char kCausal[] = R"(, "is_causal": true)";

INSTANTIATE_TEST_SUITE_P(
    Sizes, AttentionCases,
    testing::Values(Case{"one", 1, 1, 1, 1, 1, 1, 1}, Case{"vit", 2, 3, 3, 49, 49, 32, 32},
                    Case{"vit_causal", 1, 2, 2, 49, 49, 32, 32, kCausal}, Case{"cross", 1, 1, 1, 17, 5, 20, 7},
                    Case{"cross_causal", 1, 1, 1, 17, 40, 8, 33, kCausal}, Case{"causal", 1, 2, 2, 130, 130, 64, 64, kCausal},
                    Case{"blocks", 1, 1, 1, 200, 150, 64, 64}, Case{"decode", 1, 1, 1, 1, 300, 64, 64},
                    Case{"short_causal", 1, 1, 1, 33, 7, 16, 16, kCausal}, Case{"empty", 0, 2, 2, 4, 4, 8, 8},
                    Case{"no_keys", 1, 2, 2, 4, 0, 8, 8}, Case{"long_causal", 1, 1, 1, 300, 300, 16, 16, kCausal},
                    Case{"wide_heads", 1, 1, 1, 19, 23, 150, 96}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(Masks, AttentionCases,
                         testing::Values(Case{"square", 2, 3, 3, 37, 41, 16, 16, "", "[37, 41]"},
                                         Case{"per_batch", 2, 3, 3, 37, 41, 16, 16, "", "[2, 1, 37, 41]"},
                                         Case{"full", 2, 3, 3, 37, 41, 16, 16, "", "[2, 3, 37, 41]"},
                                         Case{"keys", 2, 3, 3, 37, 41, 16, 16, "", "[2, 1, 1, 41]"},
                                         Case{"queries", 2, 3, 3, 37, 41, 16, 16, "", "[37, 1]", "float"},
                                         Case{"per_head", 2, 3, 3, 37, 41, 16, 16, "", "[3, 37, 41]", "float"},
                                         Case{"added", 2, 3, 3, 37, 41, 16, 16, "", "[37, 41]", "float"},
                                         Case{"added_full", 2, 2, 2, 40, 150, 16, 24, "", "[2, 2, 40, 150]", "float"},
                                         Case{"single", 1, 1, 1, 16, 16, 16, 16, "", "[]", "float"},
                                         Case{"added_f32", 1, 2, 2, 20, 20, 8, 8, "", "[20, 20]", "f32"},
                                         Case{"decode_mask", 2, 2, 2, 1, 77, 16, 16, "", "[2, 1, 1, 77]"}),
                         [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Bands, AttentionCases,
    testing::Values(Case{"sliding", 1, 2, 2, 150, 150, 16, 16, R"(, "window": [20, 0])"},
                    Case{"both_sides", 1, 2, 2, 90, 70, 16, 16, R"(, "window": [9, 17])"},
                    Case{"narrow", 1, 2, 2, 70, 90, 16, 16, R"(, "window": [0, 0])"},
                    Case{"ahead", 1, 1, 1, 70, 90, 8, 8, R"(, "window": [-1, 5])"},
                    Case{"beyond", 1, 1, 1, 90, 30, 8, 8, R"(, "window": [3, 2])"},
                    Case{"sliding_mask", 1, 2, 2, 90, 70, 16, 16, R"(, "window": [9, 17])", "[90, 70]", "float"},
                    Case{"right_mask", 1, 1, 1, 60, 140, 16, 16, R"(, "window": [-1, 0])", "[60, 140]", "float"},
                    Case{"lengths", 3, 2, 2, 30, 45, 16, 16, "", "", "", true},
                    Case{"lengths_causal", 3, 2, 2, 150, 150, 16, 16, kCausal, "", "", true},
                    Case{"lengths_mask", 3, 2, 2, 30, 150, 16, 16, "", "[30, 150]", "float", true},
                    Case{"lengths_decode", 3, 2, 2, 1, 100, 16, 16, "", "", "", true}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(Groups, AttentionCases,
                         testing::Values(Case{"two", 2, 4, 2, 37, 41, 16, 16},
                                         Case{"causal_four", 1, 8, 2, 65, 65, 16, 20, kCausal},
                                         Case{"shared", 2, 3, 1, 20, 150, 7, 5},
                                         Case{"masked", 2, 4, 2, 33, 140, 16, 16, "", "[2, 4, 33, 140]", "float"},
                                         Case{"decode_group", 2, 6, 2, 1, 90, 32, 32},
                                         Case{"sliding_group", 1, 4, 2, 60, 60, 16, 16, R"(, "window": [7, 0])", "", "", true}),
                         [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(Dropout, AttentionCases,
                         testing::Values(Case{"dropped", 2, 3, 3, 37, 41, 16, 16, "", "", "", false, 0.3},
                                         Case{"dropped_causal", 1, 2, 2, 150, 150, 16, 16, kCausal, "", "", false, 0.1},
                                         Case{"dropped_all", 2, 2, 2, 10, 12, 16, 16, "", "", "", false, 1},
                                         Case{"dropped_one_query", 1, 2, 2, 1, 50, 16, 16, "", "", "", false, 0.5},
                                         Case{"dropped_window", 2, 4, 2, 60, 150, 8, 8, R"(, "window": [9, 3])", "", "", true,
                                              0.4},
                                         Case{"dropped_mask", 1, 2, 2, 33, 70, 8, 8, "", "[33, 70]", "float", false, 0.2}),
                         [](const auto& info) { return info.param.name; });

// Stored in half precision, computed in f32: no kernel but those of attention.
TEST(Attention, HalfPrecision) {
  const Case cases[] = {{"", 2, 3, 3, 37, 41, 16, 16},
                        {"", 1, 4, 2, 150, 150, 20, 12, kCausal},
                        {"", 2, 6, 2, 1, 90, 20, 36, "", "", "", true},
                        {"", 1, 2, 2, 30, 40, 8, 8, "", "[30, 40]", "float"}};
  for (const Case& c : cases) {
    for (const char* dtype : {"bf16", "f16"}) {
      SCOPED_TRACE(fmt::format("{} {} keys", dtype, c.lk));
      const Graph graph = Attention(c, dtype);
      ExpectReference(c, graph, {});
      ExpectReference(c, Gradient(graph), {});
      EXPECT_EQ(Executable::Compile(graph, {})->report().kernels.size(), 1u);
    }
  }
}

// q, k and v as strided views of one packed projection [B, L, 3, h, d], and the result in the layout of the next product.
TEST(Attention, ReadsThePackedProjection) {
  for (auto [dtype, d, causal] : {std::tuple("f32", 5, "false"), {"f32", 5, "true"}, {"bf16", 5, "false"}, {"bf16", 6, "true"}}) {
    const Graph graph = ReadFragment(fmt::format(R"({{"format": "athanor.fragment/1", "name": "packed", "inputs":
      [{{"name": "qkv", "dtype": "{}", "shape": [2, 37, {}], "grad": true}}], "nodes": [
      {{"op": "reshape", "inputs": ["qkv"], "outputs": ["r"], "attrs": {{"shape": [2, 37, 3, 4, {}]}}}},
      {{"op": "permute", "inputs": ["r"], "outputs": ["p"], "attrs": {{"dims": [2, 0, 3, 1, 4]}}}},
      {{"op": "unbind", "inputs": ["p"], "outputs": ["q", "k", "v"]}},
      {{"op": "scaled_dot_product_attention", "inputs": ["q", "k", "v"], "outputs": ["a"], "attrs": {{"is_causal": {}}}}},
      {{"op": "transpose", "inputs": ["a"], "outputs": ["t"], "attrs": {{"dim0": 1, "dim1": 2}}}},
      {{"op": "reshape", "inputs": ["t"], "outputs": ["y"], "attrs": {{"shape": [2, 37, {}]}}}}], "outputs": ["y"]}})",
                                                 dtype, 12 * d, d, causal, 4 * d),
                                     "test");
    Options options;
    options.threads = 2;
    ExpectReference({}, graph, options);
    ExpectReference({}, Gradient(graph), options);
    EXPECT_EQ(Executable::Compile(graph, options)->report().kernels.size(), 1u);
  }
}

Case RandomCase(uint32_t seed) {
  std::mt19937 random(seed);
  auto below = [&](int n) { return static_cast<int>(random() % static_cast<uint32_t>(n)); };
  Case c;
  c.batch = 1 + below(2), c.kv_heads = 1 + below(2), c.heads = c.kv_heads * (1 + below(3));
  c.lq = below(3) == 0 ? 1 + below(4) : 1 + below(150), c.lk = 1 + below(below(2) ? 300 : 60);
  c.d = 1 + below(70), c.dv = below(2) ? c.d : 1 + below(70);
  c.ragged = below(4) == 0, c.dropout = below(4) == 0 ? 0.3 : 0;
  if (below(3) == 0) c.attrs += fmt::format(R"(, "window": [{}, {}])", below(60) - 1, below(60) - 1);
  if (below(3) == 0) c.attrs += fmt::format(R"(, "scale": {})", below(5) * 0.1 - 0.1);
  const int mask = below(3);
  auto part = [&](int extent) { return below(3) ? extent : 1; };
  if (mask == 0) c.attrs += kCausal;
  if (mask == 1) c.mask = fmt::format("[{}, {}, {}, {}]", part(c.batch), part(c.heads), part(c.lq), part(c.lk));
  if (below(2)) c.mask_dtype = "float";
  return c;
}

// Whatever combination; ATHANOR_TEST_ATTENTION=FIRST-LAST runs those seeds.
TEST(Attention, RandomForms) {
  uint32_t first = 1, last = 12;
  if (const char* range = std::getenv("ATHANOR_TEST_ATTENTION")) {
    ASSERT_EQ(std::sscanf(range, "%u-%u", &first, &last), 2);
  }
  for (uint32_t seed = first; seed <= last && !testing::Test::HasFailure(); ++seed) {
    Case c = RandomCase(seed);
    const char* dtype = seed % 4 == 0 ? "f64" : seed % 4 == 1 ? "bf16" : "f32";
    // Summed over keys, the gradient of a mask is zero but for y's rounding.
    if (seed % 4 == 1 && !c.mask.empty()) c.mask = fmt::format("[{}, {}, {}, {}]", c.batch, c.heads, c.lq, c.lk);
    const Graph graph = Gradient(Attention(c, dtype));
    SCOPED_TRACE(fmt::format("seed {}: {} batch {} heads {}/{} lq {} lk {} d {} dv {} mask {} {} ragged {} dropout {} {}", seed,
                             dtype, c.batch, c.heads, c.kv_heads, c.lq, c.lk, c.d, c.dv, c.mask, c.mask_dtype, c.ragged, c.dropout,
                             c.attrs));
    Options options;
    options.threads = 2;
    if (seed % 3 == 0) options.isa = Isa::kAvx2;
    ExpectReference(c, graph, options);
  }
}

// An offset that isn't given is a constant, which has no memory for the kernel to read until it is stored.
TEST(Attention, DropoutWithoutAnOffset) {
  const Graph graph = ReadFragment(R"({"format": "athanor.fragment/1", "name": "seeded", "inputs": [
      {"name": "x", "dtype": "f32", "shape": [1, 2, 9, 8], "grad": true}, {"name": "seed", "dtype": "i64", "shape": []}], "nodes": [
      {"op": "scaled_dot_product_attention", "inputs": ["x", "x", "x", null, null, "seed"], "outputs": ["y"],
       "attrs": {"dropout_p": 0.3}}], "outputs": ["y"]})",
                                   "test");
  ExpectReference({}, graph, {});
  ExpectReference({}, Gradient(graph), {});
}

// What lies in a cache behind the length of a sequence is not read: not even a NaN there matters.
TEST(Attention, DoesNotReadBeyondALength) {
  for (auto [lq, dtype, tolerance] : {std::tuple(1, "f32", 3e-5), {5, "f32", 3e-5}, {5, "bf16", 1.2e-2}}) {
    const Case c{"", 2, 2, 2, lq, 40, 16, 16, "", "", "", true};
    const Graph graph = Gradient(Attention(c, dtype));
    std::vector<HostTensor> inputs = InputsOf(c, graph, 1);
    const std::vector<HostTensor> expected = Interpret(graph, inputs);
    for (int tensor : {1, 2}) {
      for (int64_t e = 0; e < inputs[tensor].elements(); ++e) {
        const int64_t batch = e / (2 * 40 * 16), key = e / 16 % 40;
        if (key >= inputs[3].Get(batch)) inputs[tensor].Set(e, std::numeric_limits<double>::quiet_NaN());
      }
    }
    const std::unique_ptr<Executable> executable = Executable::Compile(graph, {});
    const std::vector<HostTensor> actual = RunExecutable(*executable, graph, inputs);
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_LE(RelativeError(expected[i], actual[i]), tolerance) << graph.outputs()[i].name;
  }
}

// Scores far apart neither overflow nor underflow; a NaN or an infinite score makes its query NaN and no other.
TEST(Attention, ExtremeScores) {
  for (const char* attrs : {"", kCausal}) {
    for (auto [lq, dtype, tolerance] : {std::tuple(1, "f32", 1e-3), {40, "f32", 1e-3}, {40, "bf16", 1.2e-2}}) {
      const Case c{"", 1, 1, 1, lq, 40, 8, 8, attrs};
      const Graph graph = Attention(c, dtype);
      std::vector<HostTensor> inputs = InputsOf(c, graph, 1);
      for (int64_t e = 0; e < inputs[0].elements(); ++e) inputs[0].Set(e, inputs[0].Get(e) * 3e4);
      const std::unique_ptr<Executable> executable = Executable::Compile(graph, {});
      EXPECT_LE(RelativeError(Interpret(graph, inputs)[0], RunExecutable(*executable, graph, inputs)[0]), tolerance);
      inputs[0].Set(8 * (lq - 1), std::numeric_limits<double>::quiet_NaN());
      const HostTensor y = RunExecutable(*executable, graph, inputs)[0];
      for (int64_t e = 0; e < y.elements(); ++e) EXPECT_EQ(std::isnan(y.Get(e)), e / 8 == lq - 1);
    }
  }
}

}  // namespace
}  // namespace athanor
