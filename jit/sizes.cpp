#include "jit/sizes.h"

#include <fmt/core.h>

#include <algorithm>

#include "ops/error.h"

namespace athanor {

std::string Sizes::Text(int64_t value) {
  if (value == 0 || value == 1) return std::to_string(value);
  const auto found = std::find_if(sizes_.begin(), sizes_.end(), [&](const Size& size) { return size.shared && size.value == value; });
  if (found != sizes_.end()) return found->name;
  const auto number = std::count_if(sizes_.begin(), sizes_.end(), [](const Size& size) { return size.shared; });
  return sizes_.emplace_back(fmt::format("s{}", number), value, true).name;
}

std::string Sizes::Named(std::string_view name, int64_t value) {
  const auto found = std::find_if(sizes_.begin(), sizes_.end(), [&](const Size& size) { return size.name == name; });
  if (found == sizes_.end()) return sizes_.emplace_back(std::string(name), value, false).name;
  ATHANOR_CHECK(!found->shared && found->value == value);
  return found->name;
}

std::string Sizes::Parameters() const {
  std::string text;
  for (const Size& size : sizes_) text += fmt::format(", long {}", size.name);
  return text;
}

std::string Sizes::Arguments() const {
  std::string text;
  for (const Size& size : sizes_) text += fmt::format(", {}", size.value);
  return text;
}

}  // namespace athanor
