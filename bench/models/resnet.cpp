#include "bench/models/networks.h"

namespace athanor::models {
namespace {

ValueId Bottleneck(NetworkBuilder& net, ValueId x, const std::string& name, int64_t width, int64_t stride, bool project) {
  const auto conv = [&](ValueId v, const char* number, const NetworkBuilder::Conv& c) {
    return net.BatchNorm(net.Convolution(v, name + ".conv" + number, c), name + ".bn" + number);
  };
  ValueId y = net.Relu(conv(x, "1", {width, 1}));
  y = net.Relu(conv(y, "2", {width, 3, stride, 1}));
  y = conv(y, "3", {4 * width, 1});
  if (project) x = net.BatchNorm(net.Convolution(x, name + ".downsample.0", {4 * width, 1, stride}), name + ".downsample.1");
  return net.Relu(net.Add(y, x));
}

}  // namespace

Graph ResNet50(const Size& size) {
  NetworkBuilder net("resnet50", size);
  ValueId x = net.Relu(net.BatchNorm(net.Convolution(net.Images(), "conv1", {net.Width(64), 7, 2, 3}), "bn1"));
  x = net.MaxPool(x, 3, 2, 1);
  const int blocks[] = {3, 4, 6, 3};
  for (int stage = 0; stage < 4; ++stage) {
    for (int i = 0; i < blocks[stage]; ++i) {
      const std::string name = "layer" + std::to_string(stage + 1) + "." + std::to_string(i);
      x = Bottleneck(net, x, name, net.Width(64 << stage), stage > 0 && i == 0 ? 2 : 1, i == 0);
    }
  }
  net.Finish(net.Linear(net.MeanOfMap(x), "fc", net.Width(1000)));
  return net.Take();
}

}  // namespace athanor::models
