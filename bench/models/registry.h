#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ops/graph.h"

namespace athanor::models {

// "model:NAME[.train][?OPTION=NUMBER[&OPTION=NUMBER]...]": a network by its name, for inference, or with ".train" for training.
// Options: batch, image or length, shrink; docs/fragment-format.md describes them.
inline constexpr std::string_view kModelPrefix = "model:";
bool IsModel(std::string_view path);
// Throws Error that begins with `path` for an unknown name, an unknown option or a value out of range.
Graph BuildModel(const std::string& path);
std::vector<std::string> ModelNames();

// What the program takes for FRAGMENT: a model, else a fragment file. With `grad` a model is built for training.
Graph LoadGraph(const std::string& path, bool grad = false);

}  // namespace athanor::models
