#include "jit/sizes.h"

#include <fmt/core.h>

#include <algorithm>

namespace athanor {

std::string Sizes::Text(int64_t value) {
  if (value == 0 || value == 1) return std::to_string(value);
  const auto found = std::find(values_.begin(), values_.end(), value);
  return found == values_.end() ? Add(value) : fmt::format("s{}", found - values_.begin());
}

std::string Sizes::Add(int64_t value) {
  values_.push_back(value);
  return fmt::format("s{}", values_.size() - 1);
}

std::string Sizes::Parameters() const {
  std::string text;
  for (size_t i = 0; i < values_.size(); ++i) text += fmt::format(", long s{}", i);
  return text;
}

std::string Sizes::Arguments() const {
  std::string text;
  for (int64_t value : values_) text += fmt::format(", {}", value);
  return text;
}

}  // namespace athanor
