#include "bench/suites.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "bench/models/registry.h"
#include "bench/resources.h"
#include "ops/error.h"

namespace athanor::bench {
namespace {

struct Suite {
  std::string name;
  std::vector<std::string> prefixes;  // of the fragments' names; "" is a prefix of all
  bool models = false;
};

const std::vector<Suite>& Suites() {
  static const std::vector<Suite> suites = {
      {"all", {""}, true},
      {"anchors", {""}},
      {"attention", {"attention_", "decode_"}},
      {"convolutions", {"conv_", "bottleneck_", "yolov7_", "patch_embed_conv"}},
      {"memory", {"bias_gelu_residual", "cross_entropy", "layer_norm", "layout_"}},
      {"models", {}, true},
      {"products", {"linear_", "ln_qkv_", "matmul_", "patch_embed_slices"}},
      {"steps", {"block_", "step_"}},
  };
  return suites;
}

}  // namespace

std::vector<std::string> SuiteNames() {
  std::vector<std::string> names;
  for (const Suite& suite : Suites()) names.push_back(suite.name);
  return names;
}

std::vector<std::string> SuitePaths(const std::string& suite) {
  const auto found = std::find_if(Suites().begin(), Suites().end(), [&](const Suite& s) { return s.name == suite; });
  if (found == Suites().end()) Fail("--suite {}: is unknown, expected one of {}", suite, fmt::join(SuiteNames(), ", "));
  std::vector<std::string> paths;
  for (const std::string& prefix : found->prefixes) {
    for (const auto& entry : std::filesystem::directory_iterator(ResourcePath("fragments"))) {
      if (entry.path().extension() == ".json" && entry.path().filename().string().starts_with(prefix))
        paths.push_back(entry.path().string());
    }
  }
  std::sort(paths.begin(), paths.end());
  for (const std::string& model : found->models ? models::ModelNames() : std::vector<std::string>()) {
    paths.push_back(fmt::format("{}{}", models::kModelPrefix, model));
    paths.push_back(paths.back() + ".train");
  }
  return paths;
}

}  // namespace athanor::bench
