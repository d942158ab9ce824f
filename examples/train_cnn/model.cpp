#include "examples/train_cnn/model.h"

#include <string>

#include "examples/common/layers.h"

using athanor::DType;
using athanor::Graph;
using athanor::ValueId;
using Ints = std::vector<int64_t>;

namespace {

class ResidualLayers : public Layers {
 public:
  ResidualLayers(Graph& graph, bool training) : Layers(graph), training_(training) {}

  // Convolution "NAME.conv" that halves height and width when `stride` is 2, and normalisation "NAME.norm".
  ValueId ConvNorm(ValueId x, int64_t channels, int64_t kernel, int64_t stride, const std::string& name) {
    const ValueId weight = Parameter(name + ".conv.weight", {channels, graph_.desc(x).shape[1], kernel, kernel});
    const int64_t padding = kernel / 2;
    return BatchNorm(graph_.Add1("conv2d", {x, weight}, {{"stride", Ints{stride, stride}}, {"padding", Ints{padding, padding}}}),
                     name + ".norm");
  }

  ValueId Relu(ValueId x) { return graph_.Add1("relu", {x}); }

  // relu(x + f(x)), f being two convolutions; x itself goes through a 1 x 1 convolution where f changes its shape.
  ValueId Block(ValueId x, int64_t channels, int64_t stride, const std::string& name) {
    const ValueId hidden = Relu(ConvNorm(x, channels, 3, stride, name + ".first"));
    const ValueId y = ConvNorm(hidden, channels, 3, 1, name + ".second");
    const bool same = graph_.desc(x).shape == graph_.desc(y).shape;
    return Relu(graph_.Add1("add", {same ? x : ConvNorm(x, channels, 1, stride, name + ".shortcut"), y}));
  }

 private:
  ValueId BatchNorm(ValueId x, const std::string& name) {
    const athanor::Shape channels = {graph_.desc(x).shape[1]};
    const ValueId weight = Parameter(name + ".weight", channels), bias = Parameter(name + ".bias", channels);
    const ValueId mean = graph_.AddInput(name + ".running_mean", {DType::kF32, channels});
    const ValueId variance = graph_.AddInput(name + ".running_var", {DType::kF32, channels});
    const std::vector<ValueId> y = graph_.Add("batch_norm", std::vector<ValueId>{x, mean, variance, weight, bias},
                                              {{"training", training_}, {"momentum", 0.1}, {"eps", 1e-5}});
    if (training_) {
      graph_.AddOutput("new." + name + ".running_mean", y[1]);
      graph_.AddOutput("new." + name + ".running_var", y[2]);
    }
    return y[0];
  }

  const bool training_;
};

}  // namespace

Graph ResNet(const ResNetConfig& c, int64_t batch, bool training) {
  Graph graph("resnet_fashion_mnist");
  ResidualLayers build(graph, training);
  ValueId x = graph.AddInput("x", {DType::kF32, {batch, 1, 28, 28}});
  x = build.Relu(build.ConvNorm(x, c.width, 3, 1, "stem"));
  for (int64_t stage = 0; stage < c.stages; ++stage) {
    for (int64_t i = 0; i < c.blocks; ++i) {
      const std::string name = "stages." + std::to_string(stage) + "." + std::to_string(i);
      x = build.Block(x, c.width << stage, stage > 0 && i == 0 ? 2 : 1, name);
    }
  }
  const ValueId pooled = graph.Add1("mean", {x}, {{"dim", Ints{2, 3}}, {"keepdim", false}});
  build.Classify(build.Linear(pooled, c.width << (c.stages - 1), c.classes, "head"), training);
  return graph;
}
