// One table drives every op of the families pointwise, activation, reduce, view and construct over odd shapes: decomposition equals the
// reference in f64, f32 and bf16, gradients equal finite differences.
#include "tests/ops/finite_difference.h"

namespace athanor {
namespace {

constexpr DType kF = DType::kF32;
constexpr DType kB = DType::kBool;

std::vector<int64_t> Ints(std::initializer_list<int64_t> values) { return values; }

std::vector<OpCase> PointwiseCases() {
  std::vector<OpCase> cases;
  for (const char* op : {"neg", "abs", "exp", "tanh", "erf", "sigmoid", "relu", "silu", "gelu"}) {
    cases.push_back({std::string(op) + "_3x5", op, {{kF, {3, 5}}}});
    cases.push_back({std::string(op) + "_scalar", op, {{kF, {}}}});
    cases.push_back({std::string(op) + "_empty", op, {{kF, {2, 0}}}});
  }
  for (const char* op : {"log", "sqrt", "rsqrt"}) cases.push_back({std::string(op) + "_7", op, {{kF, {7}}}, {}, 0.1, 3});
  cases.push_back({"gelu_tanh", "gelu", {{kF, {3, 7}}}, {{"approximate", "tanh"}}, -4, 4});
  for (const char* op : {"add", "sub", "mul", "maximum", "minimum"}) {
    const std::string name = op;
    cases.push_back({name + "_same", op, {{kF, {3, 5}}, {kF, {3, 5}}}});
    cases.push_back({name + "_row", op, {{kF, {3, 5}}, {kF, {5}}}});
    cases.push_back({name + "_column", op, {{kF, {1, 5}}, {kF, {2, 3, 1}}}});
    cases.push_back({name + "_scalar", op, {{kF, {}}, {kF, {2, 3}}}});
    cases.push_back({name + "_empty", op, {{kF, {0, 3}}, {kF, {1}}}});
  }
  cases.push_back({"div_row", "div", {{kF, {3, 5}}, {kF, {5}}}, {}, 0.5, 2});
  cases.push_back({"div_outer", "div", {{kF, {3, 1}}, {kF, {1, 4}}}, {}, 0.5, 2});
  cases.push_back({"pow_row", "pow", {{kF, {3, 5}}, {kF, {5}}}, {}, 0.3, 2});
  cases.push_back({"add_alpha", "add", {{kF, {3, 5}}, {kF, {5}}}, {{"alpha", 2.5}}});
  cases.push_back({"sub_alpha", "sub", {{kF, {5}}, {kF, {2, 1}}}, {{"alpha", int64_t{3}}}});
  cases.push_back({"where_broadcast", "where", {{kB, {3, 1}}, {kF, {4}}, {kF, {2, 3, 4}}}, {}, 0, 2});
  cases.push_back({"eq", "eq", {{DType::kI64, {3, 5}}, {DType::kI64, {5}}}, {}, 0, 3, false});
  cases.push_back({"lt", "lt", {{kF, {3, 5}}, {kF, {5}}}, {}, -1, 1, false});
  cases.push_back({"gt", "gt", {{kF, {3, 5}}, {kF, {5}}}, {}, -1, 1, false});
  cases.push_back({"cast_i32", "cast", {{kF, {3, 5}}}, {{"dtype", "i32"}}, -5, 5, false});
  cases.push_back({"cast_f64", "cast", {{kF, {3, 5}}}, {{"dtype", "f64"}}});
  cases.push_back({"clamp_both", "clamp", {{kF, {3, 5}}}, {{"min", -0.5}, {"max", int64_t{1}}}});
  cases.push_back({"clamp_min", "clamp", {{kF, {3, 5}}}, {{"min", 0.25}}});
  cases.push_back({"clamp_max", "clamp", {{kF, {3, 5}}}, {{"max", 0.25}}});
  cases.push_back({"clamp_tensors", "clamp", {{kF, {3, 5}}, {kF, {5}}, {kF, {3, 1}}}});
  cases.push_back({"clamp_tensor_min", "clamp", {{kF, {3, 5}}, {kF, {4, 1, 5}}}});
  return cases;
}

std::vector<OpCase> ReduceCases() {
  std::vector<OpCase> cases;
  for (const char* op : {"sum", "mean", "amax"}) {
    const std::string name = op;
    cases.push_back({name + "_all", op, {{kF, {3, 5}}}});
    cases.push_back({name + "_last", op, {{kF, {2, 3, 5}}}, {{"dim", int64_t{-1}}, {"keepdim", true}}});
    cases.push_back({name + "_first", op, {{kF, {3, 5}}}, {{"dim", Ints({0})}}});
    cases.push_back({name + "_outer", op, {{kF, {2, 3, 5}}}, {{"dim", Ints({-1, 0})}}});
    cases.push_back({name + "_one", op, {{kF, {3, 1, 2}}}, {{"dim", Ints({1})}}});
    cases.push_back({name + "_scalar", op, {{kF, {}}}});
    cases.push_back({name + "_scalar_dim", op, {{kF, {}}}, {{"dim", int64_t{-1}}, {"keepdim", true}}});
    cases.push_back({name + "_no_rows", op, {{kF, {0, 3}}}, {{"dim", int64_t{1}}}});
  }
  cases.push_back({"sum_of_nothing", "sum", {{kF, {2, 0, 3}}}, {{"dim", int64_t{1}}}});
  cases.push_back({"sum_of_booleans", "sum", {{kB, {4, 3}}}, {{"dim", int64_t{0}}}, 0, 2, false});
  cases.push_back({"sum_of_integers", "sum", {{DType::kI32, {4, 3}}}, {}, -9, 9, false});
  return cases;
}

std::vector<OpCase> ViewCases() {
  return {{"reshape", "reshape", {{kF, {4, 6}}}, {{"shape", Ints({3, -1, 2})}}},
          {"reshape_scalar", "reshape", {{kF, {1, 1}}}, {{"shape", Ints({})}}},
          {"reshape_empty", "reshape", {{kF, {0, 4}}}, {{"shape", Ints({2, 0})}}},
          {"permute", "permute", {{kF, {2, 3, 4}}}, {{"dims", Ints({2, 0, -2})}}},
          {"transpose", "transpose", {{kF, {2, 3, 4}}}, {{"dim0", int64_t{0}}, {"dim1", int64_t{-1}}}},
          {"flatten", "flatten", {{kF, {2, 3, 4}}}, {{"start_dim", int64_t{1}}}},
          {"flatten_scalar", "flatten", {{kF, {}}}},
          {"unsqueeze", "unsqueeze", {{kF, {2, 3}}}, {{"dim", int64_t{-1}}}},
          {"squeeze", "squeeze", {{kF, {1, 3, 1}}}},
          {"squeeze_one", "squeeze", {{kF, {1, 3, 1}}}, {{"dim", Ints({0, 1})}}},
          {"select", "select", {{kF, {3, 4, 2}}}, {{"dim", int64_t{1}}, {"index", int64_t{-2}}}},
          {"select_first", "select", {{kF, {3, 4}}}, {{"dim", int64_t{0}}, {"index", int64_t{0}}}},
          {"slice", "slice", {{kF, {3, 7}}}, {{"dim", int64_t{1}}, {"start", int64_t{1}}, {"end", int64_t{-1}}, {"step", int64_t{2}}}},
          {"slice_long_step", "slice", {{kF, {5, 2}}}, {{"start", int64_t{3}}, {"step", int64_t{100}}}},
          {"slice_uneven", "slice", {{kF, {8, 2}}}, {{"start", int64_t{1}}, {"step", int64_t{3}}}},
          {"slice_nothing", "slice", {{kF, {5, 2}}}, {{"start", int64_t{4}}, {"end", int64_t{2}}}},
          {"slice_all", "slice", {{kF, {5, 2}}}, {{"start", int64_t{-50}}}},
          {"narrow", "narrow", {{kF, {3, 7}}}, {{"dim", int64_t{1}}, {"start", int64_t{-3}}, {"length", int64_t{2}}}},
          {"unbind", "unbind", {{kF, {2, 3, 4}}}, {{"dim", int64_t{1}}}},
          {"split", "split", {{kF, {2, 7}}}, {{"split_size", int64_t{3}}, {"dim", int64_t{1}}}},
          {"split_list", "split", {{kF, {6, 2}}}, {{"split_size", Ints({1, 0, 5})}}},
          {"chunk", "chunk", {{kF, {7, 2}}}, {{"chunks", int64_t{3}}}},
          {"chunk_empty", "chunk", {{kF, {0, 2}}}, {{"chunks", int64_t{2}}}},
          {"expand", "expand", {{kF, {3, 1}}}, {{"size", Ints({2, -1, 4})}}},
          {"contiguous", "contiguous", {{kF, {3, 2}}}},
          {"cat", "cat", {{kF, {2, 3}}, {kF, {2, 1}}, {kF, {2, 4}}}, {{"dim", int64_t{-1}}}},
          {"cat_empty", "cat", {{kF, {2, 3}}, {kF, {0, 3}}}},
          {"cat_one", "cat", {{kF, {2, 3}}}},
          {"tril", "tril", {{kF, {2, 4, 5}}}},
          {"tril_above", "tril", {{kF, {4, 3}}}, {{"diagonal", int64_t{1}}}},
          {"tril_below", "tril", {{kF, {4, 3}}}, {{"diagonal", int64_t{-2}}}},
          {"tril_far", "tril", {{kF, {4, 3}}}, {{"diagonal", int64_t{-1} << 62}}}};
}

std::vector<OpCase> Cases() {
  std::vector<OpCase> cases = PointwiseCases();
  for (const auto& more : {ReduceCases(), ViewCases()}) cases.insert(cases.end(), more.begin(), more.end());
  return cases;
}

class OpCaseTest : public testing::TestWithParam<OpCase> {};

TEST_P(OpCaseTest, DecomposesInEveryFloat) {
  for (const auto& [dtype, tolerance] : {std::pair{DType::kF64, 1e-12}, {DType::kF32, 4e-7}, {DType::kBF16, 2e-2}, {DType::kF16, 4e-3}}) {
    const Graph graph = GetParam().Build(dtype);
    ExpectDecomposes(graph, RandomInputs(graph, 5, GetParam().low, GetParam().high), tolerance);
  }
}

TEST_P(OpCaseTest, GradientsEqualFiniteDifferences) {
  if (GetParam().differentiable) ExpectGradients(GetParam());
}

INSTANTIATE_TEST_SUITE_P(All, OpCaseTest, testing::ValuesIn(Cases()), [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace athanor
