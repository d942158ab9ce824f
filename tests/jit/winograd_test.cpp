// Convolutions by minimal filtering: the transforms alone, which contractions take them, and the kernels against direct ones.
#include "jit/winograd.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "jit/codegen_cpp.h"
#include "jit/contract_space.h"
#include "jit/plan_builder.h"
#include "ops/decompose.h"
#include "ops/fragment.h"
#include "ops/gradient.h"
#include "tests/jit/kernel_runner.h"

namespace athanor::testing {
namespace {

using Vector = std::vector<double>;

Vector Apply(const WinogradTransforms::Matrix& matrix, const Vector& x) {
  Vector y;
  for (const Vector& row : matrix) {
    y.push_back(0);
    for (size_t j = 0; j < x.size(); ++j) y.back() += row[j] * x[j];
  }
  return y;
}

TEST(WinogradTransforms, AreTheCorrelation) {
  std::mt19937 random(1);
  std::normal_distribution<double> normal;
  for (auto [tile, taps] : {std::pair(2, 3), std::pair(4, 3), std::pair(2, 5), std::pair(3, 4), std::pair(4, 5), std::pair(5, 4)}) {
    const WinogradTransforms t = MakeWinogradTransforms(tile, taps);
    for (int trial = 0; trial < 20; ++trial) {
      Vector d(tile + taps - 1), g(taps);
      for (double& x : d) x = normal(random);
      for (double& x : g) x = normal(random);
      Vector points = Apply(t.data, d), weights = Apply(t.weights, g);
      for (size_t i = 0; i < points.size(); ++i) points[i] *= weights[i];
      const Vector y = Apply(t.output, points);
      for (int i = 0; i < tile; ++i) {
        double want = 0;
        for (int k = 0; k < taps; ++k) want += g[k] * d[i + k];
        EXPECT_NEAR(y[i], want, 1e-12) << "F(" << tile << ", " << taps << ")";
      }
    }
  }
}

TEST(WriteLinearMap, SharesSumsOfMirroredRowsAndColumns) {
  SourceWriter rows, columns;
  WriteLinearMap({{1, 0.5, -1}, {1, -0.5, -1}, {0, 0, 2}}, {"a", "b", "c"}, {"x", "y", "z"}, &rows);
  EXPECT_EQ(rows.text(), "const vf32 x_same = a - c, x_other = 0.5f * b, x = x_same + x_other, y = x_same - x_other;\nconst vf32 z = 2.0f * c;\n");
  WriteLinearMap({{1, 1, 0}, {0.5, -0.5, 0}, {2, 2, 1}}, {"a", "b", "c"}, {"x", "y", "z"}, &columns);
  EXPECT_EQ(columns.text(), "const vf32 a_sum = a + b, a_difference = a - b;\nconst vf32 x = a_sum;\nconst vf32 y = 0.5f * a_difference;\n"
                            "const vf32 z = 2.0f * a_sum + c;\n");
}

struct Conv {
  const char *name, *x, *weight, *attrs;
  const char* after = "";                                    // further nodes, from "c" to "y"
  const char* before = "";                                   // and from "w" to "v", the weights
};

std::ostream& operator<<(std::ostream& out, const Conv& conv) { return out << conv.name; }

constexpr std::string_view kRelu = R"({"op": "relu", "inputs": ["c"], "outputs": ["y"]})";

std::vector<KernelPlan> PlansOf(const Conv& conv, std::string_view dtype = "f32") {
  const std::string text = fmt::format(
      R"({{"format": "athanor.fragment/1", "name": "{}", "inputs": [{{"name": "x", "dtype": "{}", "shape": {}, "grad": true}},
          {{"name": "w", "dtype": "{}", "shape": {}, "grad": true}}],
          "nodes": [{}{{"op": "conv2d", "inputs": ["x", "{}"], "outputs": ["c"], "attrs": {}}}, {}], "outputs": ["y"]}})",
      conv.name, dtype, conv.x, dtype, conv.weight, conv.before, *conv.before ? "v" : "w", conv.attrs, *conv.after ? conv.after : kRelu);
  return BuildProgram(Decompose(Gradient(ReadFragment(text, "test")))).kernels;
}

// Large images are batches, small ones columns; odd sizes end in parts of tiles.
constexpr Conv kConvs[] = {
    {"same", "[2, 9, 19, 14]", "[12, 9, 3, 3]", R"({"padding": [1, 1]})"},
    {"valid", "[3, 17, 13, 21]", "[9, 17, 3, 3]", "{}"},
    {"wide", "[1, 8, 12, 75]", "[8, 8, 3, 3]", R"({"padding": [1, 1]})"},
    {"small_images", "[5, 40, 7, 7]", "[33, 40, 3, 3]", R"({"padding": [1, 1]})"},
    {"large_padding", "[2, 6, 12, 13]", "[7, 6, 3, 3]", R"({"padding": [2, 2]})"},
    {"five_taps", "[2, 8, 15, 16]", "[10, 8, 5, 5]", R"({"padding": [2, 2]})"},
    {"channels_last_weights", "[2, 9, 14, 14]", "[12, 3, 3, 9]", R"({"padding": [1, 1]})", "",
     R"({"op": "permute", "inputs": ["w"], "outputs": ["v"], "attrs": {"dims": [0, 3, 1, 2]}}, )"},
    {"moments", "[2, 8, 14, 15]", "[10, 8, 3, 3]", R"({"padding": [1, 1]})",
     R"({"op": "batch_norm", "inputs": ["c"], "outputs": ["y"], "attrs": {"training": true}})"},
    {"residual", "[2, 8, 14, 14]", "[8, 8, 3, 3]", R"({"padding": [1, 1]})", R"({"op": "add", "inputs": ["c", "x"], "outputs": ["y"]})"},
};

class WinogradKernels : public ::testing::TestWithParam<Conv> {};

TEST_P(WinogradKernels, EqualDirectOnes) {
  for (std::string_view dtype : {"f32", "bf16"}) {
    for (const CpuTarget& cpu : Targets()) {
      int kernels = 0;
      for (const KernelPlan& plan : PlansOf(GetParam(), dtype)) {
        const std::vector<WinogradSchedule> space = WinogradSpace(plan, cpu);
        if (space.empty()) continue;
        ++kernels;
        std::mt19937 random(3);
        std::vector<Memory> want;
        for (const KernelArg& arg : plan.args) {
          want.emplace_back(arg.dtype, arg.elements);
          want.back().Fill(&random, -1, 1);
        }
        const std::vector<Memory> args = want;
        TestKernel(GenerateCpp(plan, DefaultContract(plan, cpu), cpu), cpu).Run(&want);
        bool by_parts = false;                               // weights: at least once
        for (size_t s = 0; s < space.size(); ++s) {
          const bool parts = space[s].weights == ContractSchedule::Pack::kTask && !std::exchange(by_parts, true);
          if (!parts && s % (dtype == "bf16" ? 7 : 4) != kernels % 2u) continue;
          const std::string what = fmt::format("{} {} {}", dtype, Name(cpu.isa), ToString(space[s]));
          std::vector<Memory> got = args, again = args;
          TestKernel kernel(GenerateCpp(plan, space[s], cpu), cpu);
          kernel.Run(&got);
          kernel.Run(&again, 3, true);
          for (size_t i = 0; i < want.size(); ++i) {
            ExpectClose(got[i], want[i], dtype == "bf16" ? 2e-2 : 5e-5, what);
            EXPECT_TRUE(again[i].SameBytes(got[i])) << what << ": other bits in pieces";
          }
        }
      }
      EXPECT_EQ(kernels, 3) << "the convolution and its gradients";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Convolutions, WinogradKernels, ::testing::ValuesIn(kConvs),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(WinogradForm, IsForStrideOneAndSquareKernels) {
  for (const Conv& conv : {Conv{"stride", "[2, 8, 16, 16]", "[8, 8, 3, 3]", R"({"padding": [1, 1], "stride": [2, 2]})"},
                           Conv{"dilated", "[2, 8, 16, 16]", "[8, 8, 3, 3]", R"({"padding": [2, 2], "dilation": [2, 2]})"},
                           Conv{"groups", "[2, 8, 16, 16]", "[8, 4, 3, 3]", R"({"padding": [1, 1], "groups": 2})"},
                           Conv{"pointwise", "[2, 8, 16, 16]", "[8, 8, 1, 1]", "{}"}, Conv{"long", "[2, 8, 16, 16]", "[8, 8, 3, 1]", "{}"},
                           Conv{"seven", "[2, 8, 16, 16]", "[8, 8, 7, 7]", R"({"padding": [3, 3]})"}}) {
    for (const KernelPlan& plan : PlansOf(conv)) {
      EXPECT_FALSE(WinogradForm::Of(plan)) << conv.name;
      if (plan.skeleton == Skeleton::kContract) {
        EXPECT_THAT(Validate(WinogradSchedule{}, plan, CpuTarget{}), ::testing::HasSubstr("no convolution of stride 1")) << conv.name;
      }
    }
  }
}

// Taps of the gradient of the input go backward: the form has them forward.
TEST(WinogradForm, OfGradients) {
  std::vector<WinogradForm> forms;
  for (const KernelPlan& plan : PlansOf({"conv", "[2, 8, 16, 24]", "[12, 8, 3, 3]", R"({"padding": [1, 1]})"})) {
    if (const auto form = WinogradForm::Of(plan)) forms.push_back(*form);
  }
  ASSERT_EQ(forms.size(), 3u);
  EXPECT_FALSE(forms[0].gradient || forms[1].gradient);
  EXPECT_TRUE(forms[2].gradient);
  EXPECT_EQ(forms[2].channels, 8);
  EXPECT_EQ(forms[2].out_channels, 12);
  EXPECT_EQ(forms[2].images, 2);
  EXPECT_EQ(forms[2].gradient_row, 24);
  EXPECT_EQ(forms[2].gradient_image, 12 * 16 * 24);
  EXPECT_EQ(forms[0].channels, 8);
    EXPECT_EQ(forms[1].channels, 12);
  EXPECT_EQ(forms[0].first_tap, 0);
    EXPECT_EQ(forms[0].tap_x, 1);
    EXPECT_EQ(forms[0].tap_y, 3);
  EXPECT_EQ(forms[1].first_tap, 8);
    EXPECT_EQ(forms[1].tap_x, -1);
    EXPECT_EQ(forms[1].tap_y, -3);
  for (const WinogradForm& form : forms) {
    EXPECT_EQ(form.x.out, 24);
    EXPECT_EQ(form.x.origin, -1);
    EXPECT_EQ(form.x.extent, 24);
    EXPECT_EQ(form.y.out, 16);
    EXPECT_EQ(form.y.origin, -1);
    EXPECT_EQ(form.y.extent, 16);
  }
}

TEST(DefaultWinograd, HasEightPointsForNarrowOperandsOnly) {
  const Conv conv{"five_taps", "[8, 64, 27, 27]", "[192, 64, 5, 5]", R"({"padding": [2, 2]})"};
  const CpuTarget cpu;
  for (std::string_view dtype : {"f32", "bf16"}) {
    int forms = 0;
    for (const KernelPlan& plan : PlansOf(conv, dtype)) {
      if (!WinogradForm::Of(plan)) continue;
      ++forms;
      std::optional<WinogradSchedule> schedule = DefaultWinograd(plan, cpu);
      ASSERT_TRUE(schedule);
      EXPECT_EQ(schedule->tile, dtype == "f32" ? 2 : 4);
      schedule->tile = 4;
      EXPECT_EQ(Validate(*schedule, plan, cpu), dtype == "f32" ? "transforms at 8 points are for bf16 and f16" : "");
    }
    EXPECT_EQ(forms, 3) << dtype;
  }
}

TEST(DefaultWinograd, TakesLargeConvolutionsOnly) {
  const CpuTarget cpu;
  const auto defaults = [&](const Conv& conv) {
    std::vector<int> tiles;
    for (const KernelPlan& plan : PlansOf(conv)) {
      if (plan.skeleton != Skeleton::kContract) continue;
      const Schedule schedule = DefaultSchedule(plan, cpu);
      const auto* winograd = std::get_if<WinogradSchedule>(&schedule);
      tiles.push_back(winograd ? winograd->tile : 0);
    }
    return tiles;
  };
  EXPECT_THAT(defaults({"large", "[8, 64, 56, 56]", "[64, 64, 3, 3]", R"({"padding": [1, 1]})"}), ::testing::UnorderedElementsAre(4, 4, 4));
  EXPECT_THAT(defaults({"tiny", "[1, 4, 10, 10]", "[4, 4, 3, 3]", R"({"padding": [1, 1]})"}), ::testing::UnorderedElementsAre(0, 0, 0));
  EXPECT_THAT(defaults({"few_channels", "[2, 1, 64, 64]", "[16, 1, 3, 3]", R"({"padding": [1, 1]})"}), ::testing::Contains(0));
}

// Weights several times as large as what is multiplied with them stay out of memory; those that many blocks of tiles meet are transformed once.
TEST(DefaultWinograd, TransformsWeightsWhereFewTilesMeetThem) {
  const CpuTarget cpu;
  const auto weights = [&](const Conv& conv) { return DefaultWinograd(PlansOf(conv)[0], cpu)->weights; };
  EXPECT_EQ(weights({"small_images", "[8, 512, 7, 7]", "[512, 512, 3, 3]", R"({"padding": [1, 1]})"}), ContractSchedule::Pack::kTask);
  EXPECT_EQ(weights({"large_images", "[8, 64, 56, 56]", "[64, 64, 3, 3]", R"({"padding": [1, 1]})"}), ContractSchedule::Pack::kPhase);
}

// Sums over channels in parts make up for what the transforms lose: as exact as a sum over the window in one go, within a factor.
TEST(WinogradKernels, AreAboutAsExactAsDirectOnes) {
  for (const Conv& conv : {Conv{"few", "[1, 64, 16, 16]", "[16, 64, 3, 3]", R"({"padding": [1, 1]})"},
                           Conv{"many", "[1, 256, 16, 16]", "[16, 256, 3, 3]", R"({"padding": [1, 1]})"}}) {
    const KernelPlan plan = PlansOf(conv)[0];
    const CpuTarget& cpu = Targets()[0];
    std::mt19937 random(5);
    std::vector<Memory> args;
    for (const KernelArg& arg : plan.args) {
      args.emplace_back(arg.dtype, arg.elements);
      args.back().Fill(&random, -1, 1);
    }
    const auto run = [&](const Schedule& schedule) {
      std::vector<Memory> results = args;
      TestKernel(GenerateCpp(plan, schedule, cpu), cpu).Run(&results);
      return results;
    };
    // In f64, from the definition; the sign of the sum decides whether the ReLU lets it through.
    const WinogradForm form = *WinogradForm::Of(plan);
    const int x = form.data->arg, w = form.other->arg, y = static_cast<int>(std::find_if(plan.args.begin(), plan.args.end(), [](const KernelArg& a) { return a.written; }) - plan.args.begin());
    const auto errors = [&](const std::vector<Memory>& results) {
      double squares = 0;
      for (int64_t m = 0; m < 16; ++m) {
        for (int64_t i = 0; i < 16; ++i) {
          for (int64_t j = 0; j < 16; ++j) {
            double sum = 0;
            for (int64_t c = 0; c < form.channels; ++c) {
              for (int64_t k = 0; k < 9; ++k) {
                const int64_t row = i + k / 3 - 1, column = j + k % 3 - 1;
                if (row < 0 || row >= 16 || column < 0 || column >= 16) continue;
                sum += args[x].Get((c * 16 + row) * 16 + column) * args[w].Get((m * form.channels + c) * 9 + k);
              }
            }
            const double error = results[y].Get((m * 16 + i) * 16 + j) - std::max(sum, 0.0);
            squares += error * error;
          }
        }
      }
      return std::sqrt(squares);
    };
    const WinogradSchedule schedule = WinogradSpace(plan, cpu)[0];
    EXPECT_LT(errors(run(schedule)), 2 * errors(run(DefaultContract(plan, cpu)))) << conv.name << " " << ToString(schedule);
  }
}

}  // namespace
}  // namespace athanor::testing
