#include "examples/common/initialization.h"

#include <algorithm>
#include <cmath>

#include "examples/common/random.h"

void InitializeAsTorch(const athanor::Graph& model, uint64_t seed, NamedTensors& tensors) {
  std::mt19937_64 random(seed);
  double bound = 0;
  for (athanor::ValueId input : model.inputs()) {
    const athanor::Value& value = model.value(input);
    athanor::HostTensor& tensor = tensors.at(value.name);
    if (value.name.find("norm") != std::string::npos) {
      const bool one = value.name.ends_with(".weight") || value.name.ends_with(".running_var");
      std::fill_n(Floats(tensor), tensor.elements(), one ? 1.0f : 0.0f);
      continue;
    }
    if (!value.wants_grad) continue;
    // A bias follows its weight, and has its bound.
    if (value.desc.rank() > 1) {
      bound = 1 / std::sqrt(static_cast<double>(value.desc.elements()) / static_cast<double>(value.desc.shape[0]));
    }
    const double limit = value.name == "pos" ? 0.035 : bound;
    for (int64_t i = 0; i < tensor.elements(); ++i) Floats(tensor)[i] = static_cast<float>((Uniform(random) * 2 - 1) * limit);
  }
}
