#pragma once

#include <string>
#include <vector>

#include "ops/graph.h"

namespace athanor::models {

// How large a network is built. What an option means for a network, and its default, is the network's own.
struct Size {
  int64_t batch = 1;
  int64_t image = 224;                                       // height and width of the images
  int64_t length = 128;                                      // tokens of a sequence
  int64_t shrink = 1;                                        // widths, classes and vocabularies are divided by this: small variants for tests
  bool training = false;                                     // loss inside, parameters want gradients, batch_norm collects statistics
};

// Appends layers to a graph. Parameters become inputs named and shaped as in the state_dict of the published implementation; in
// training they want gradients, and each batch_norm has the outputs "new.NAME.running_mean" and "new.NAME.running_var".
// Images and maps are [batch, channels, height, width], everything is f32.
class NetworkBuilder {
 public:
  NetworkBuilder(std::string name, const Size& size);

  const Size& size() const { return size_; }
  const Shape& shape(ValueId x) const { return graph_.desc(x).shape; }
  int64_t Width(int64_t width) const { return width / size_.shrink; }  // of the variant that is built
  Graph Take() { return std::move(graph_); }

  ValueId Images();                                          // input "x" [batch, 3, image, image]
  ValueId Indices(std::string name, Shape shape);            // an i64 input
  ValueId Parameter(std::string name, Shape shape);

  // Square kernels. No bias unless `bias`.
  struct Conv {
    int64_t channels, kernel, stride = 1, padding = 0;
    bool bias = false;
  };
  ValueId Convolution(ValueId x, const std::string& name, const Conv& conv);
  ValueId BatchNorm(ValueId x, const std::string& name, double eps = 1e-5, double momentum = 0.1);
  ValueId MaxPool(ValueId x, int64_t kernel, int64_t stride, int64_t padding = 0);
  ValueId MeanOfMap(ValueId x);                              // [batch, channels]
  ValueId Linear(ValueId x, const std::string& name, int64_t width);
  ValueId Linear(ValueId x, ValueId weight, ValueId bias) { return graph_.Add1("linear", {x, weight, bias}); }
  ValueId LayerNorm(ValueId x, const std::string& name, double eps);
  // y = softmax(q k^T / sqrt(width of a head)) v on [batch, length, width], heads side by side along width.
  ValueId Attention(ValueId q, ValueId k, ValueId v, int64_t heads, bool causal);

  ValueId Relu(ValueId x) { return graph_.Add1("relu", {x}); }
  ValueId Silu(ValueId x) { return graph_.Add1("silu", {x}); }
  ValueId Tanh(ValueId x) { return graph_.Add1("tanh", {x}); }
  ValueId Gelu(ValueId x, std::string approximate = "none");
  ValueId Add(ValueId a, ValueId b) { return graph_.Add1("add", {a, b}); }
  ValueId MatMul(ValueId a, ValueId b) { return graph_.Add1("matmul", {a, b}); }
  ValueId Embedding(ValueId indices, ValueId table) { return graph_.Add1("embedding", {indices, table}); }
  ValueId Cat(const std::vector<ValueId>& parts, int64_t dim);
  std::vector<ValueId> Chunk(ValueId x, int64_t parts, int64_t dim);
  ValueId Slice(ValueId x, int64_t dim, int64_t start, int64_t end);
  ValueId Reshape(ValueId x, Shape shape);
  ValueId Transpose(ValueId x, int64_t dim0, int64_t dim1);
  ValueId Expand(ValueId x, Shape shape);

  void Output(const std::string& name, ValueId x) { graph_.AddOutput(name, x); }
  // Inference: the output "logits". Training: the output "loss", their mean cross entropy with the input "y", one class a row.
  void Finish(ValueId logits);

 private:
  Size size_;
  Graph graph_;
};

}  // namespace athanor::models
