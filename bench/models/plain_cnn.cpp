// AlexNet and VGG: convolutions, pooling, three fully connected layers.
#include "bench/models/networks.h"

namespace athanor::models {
namespace {

// torchvision numbers the layers of a Sequential; an activation or a pooling layer counts as well.
std::string Feature(int index) { return "features." + std::to_string(index); }

// `first`: the index of the first of three linear layers, `step` from one to the next.
void Classifier(NetworkBuilder& net, ValueId x, int first, int step) {
  x = net.Reshape(x, {net.size().batch, Product(net.shape(x)) / net.size().batch});
  const auto name = [&](int i) { return "classifier." + std::to_string(first + i * step); };
  x = net.Relu(net.Linear(x, name(0), net.Width(4096)));
  x = net.Relu(net.Linear(x, name(1), net.Width(4096)));
  net.Finish(net.Linear(x, "classifier.6", net.Width(1000)));
}

}  // namespace

Graph AlexNet(const Size& size) {
  NetworkBuilder net("alexnet", size);
  const auto conv = [&](ValueId x, int index, NetworkBuilder::Conv c) {
    c.channels = net.Width(c.channels);
    return net.Relu(net.Convolution(x, Feature(index), c));
  };
  ValueId x = conv(net.Images(), 0, {64, 11, 4, 2, true});
  x = conv(net.MaxPool(x, 3, 2), 3, {192, 5, 1, 2, true});
  x = conv(net.MaxPool(x, 3, 2), 6, {384, 3, 1, 1, true});
  x = conv(x, 8, {256, 3, 1, 1, true});
  x = conv(x, 10, {256, 3, 1, 1, true});
  Classifier(net, net.MaxPool(x, 3, 2), 1, 3);
  return net.Take();
}

Graph Vgg16(const Size& size) {
  NetworkBuilder net("vgg16", size);
  ValueId x = net.Images();
  int index = 0;
  for (const auto& [channels, layers] : {std::pair{64, 2}, {128, 2}, {256, 3}, {512, 3}, {512, 3}}) {
    for (int i = 0; i < layers; ++i, index += 2) x = net.Relu(net.Convolution(x, Feature(index), {net.Width(channels), 3, 1, 1, true}));
    x = net.MaxPool(x, 2, 2);
    ++index;
  }
  Classifier(net, x, 0, 3);
  return net.Take();
}

}  // namespace athanor::models
