#pragma once

#include <cstdint>
#include <string>
#include <vector>

// Fashion-MNIST (Xiao et al. 2017) as Debian's package dataset-fashion-mnist ships it.
struct Dataset {
  std::vector<float> images;    // [count, 1, 28, 28], normalised to mean 0 and variance 1
  std::vector<int64_t> labels;  // [count], 0 to 9
  int64_t count() const { return static_cast<int64_t>(labels.size()); }
};

inline constexpr int64_t kPixels = 28 * 28;

// `split` is "train" or "t10k". Throws athanor::Error when a file is missing or is not what it should be.
Dataset LoadFashionMnist(const std::string& directory, const std::string& split);
