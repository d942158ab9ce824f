#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/graph.h"

// Appends layers to a graph. A layer's parameters are inputs "NAME.weight" and "NAME.bias" that want gradients.
class Layers {
 public:
  explicit Layers(athanor::Graph& graph) : graph_(graph) {}

  athanor::ValueId Parameter(const std::string& name, athanor::Shape shape);
  athanor::ValueId Linear(athanor::ValueId x, int64_t in, int64_t out, const std::string& name);
  athanor::ValueId LayerNorm(athanor::ValueId x, int64_t width, const std::string& name);
  // The end of a classifier: the output "loss", the mean cross entropy of `logits` [batch, classes] with a new input "y" i64
  // [batch], or without a loss the output "logits".
  void Classify(athanor::ValueId logits, bool with_loss);
  athanor::ValueId Reshape(athanor::ValueId x, std::vector<int64_t> shape);
  // Query, key and value [batch, heads, length, width / heads] from one projection "NAME.qkv" of x [batch, length, width].
  std::vector<athanor::ValueId> Project(athanor::ValueId x, int64_t heads, const std::string& name);
  // The heads of y [batch, heads, length, size] side by side, through a projection "NAME.proj": [batch, length, heads * size].
  athanor::ValueId Merge(athanor::ValueId y, const std::string& name);
  // x + attended, then the same plus a perceptron "NAME.fc1", gelu, "NAME.fc2" of its normalisation "NAME.norm2".
  athanor::ValueId Residuals(athanor::ValueId x, athanor::ValueId attended, const std::string& name);

 protected:
  athanor::Graph& graph_;
};
