#pragma once

#include <string>
#include <vector>

namespace athanor::bench {

// Fragments and models by a common name: what `athanor bench --suite NAME` measures. Throws Error for an unknown name.
std::vector<std::string> SuitePaths(const std::string& suite);
std::vector<std::string> SuiteNames();

}  // namespace athanor::bench
