#include "bench/models/networks.h"

namespace athanor::models {
namespace {

class Backbone {
 public:
  explicit Backbone(NetworkBuilder& net) : net_(net) {}

  ValueId Conv(ValueId x, int64_t channels, int64_t kernel, int64_t stride = 1) {
    const std::string name = "model." + std::to_string(layer_++);
    x = net_.Convolution(x, name + ".conv", {net_.Width(channels), kernel, stride, kernel / 2});
    return net_.Silu(net_.BatchNorm(x, name + ".bn", 1e-3, 0.03));
  }

  // Two 1 x 1 projections, the second followed by four 3 x 3 convolutions; four of the six maps side by side, then mixed.
  ValueId Elan(ValueId x, int64_t width, int64_t out) {
    const ValueId left = Conv(x, width, 1), right = Conv(x, width, 1);
    const ValueId middle = Conv(Conv(right, width, 3), width, 3);
    const ValueId last = Conv(Conv(middle, width, 3), width, 3);
    ++layer_;                                                // the concatenation has a number
    return Conv(net_.Cat({last, middle, right, left}, 1), out, 1);
  }

  // Half the height and width: by pooling, and by a convolution of stride 2.
  ValueId Halve(ValueId x, int64_t width) {
    ++layer_;                                                // the pooling
    const ValueId pooled = Conv(net_.MaxPool(x, 2, 2), width, 1);
    const ValueId strided = Conv(Conv(x, width, 1), width, 3, 2);
    ++layer_;
    return net_.Cat({strided, pooled}, 1);
  }

 private:
  NetworkBuilder& net_;
  int layer_ = 0;
};

}  // namespace

Graph Yolov7(const Size& size) {
  NetworkBuilder net("yolov7", size);
  Backbone backbone(net);
  ValueId x = backbone.Conv(backbone.Conv(net.Images(), 32, 3), 64, 3, 2);
  x = backbone.Conv(backbone.Conv(x, 64, 3), 128, 3, 2);
  x = backbone.Elan(x, 64, 256);
  const ValueId c3 = backbone.Elan(backbone.Halve(x, 128), 128, 512);
  const ValueId c4 = backbone.Elan(backbone.Halve(c3, 256), 256, 1024);
  const ValueId c5 = backbone.Elan(backbone.Halve(c4, 512), 256, 1024);
  if (size.training) {
    net.Finish(net.Linear(net.MeanOfMap(c5), "fc", net.Width(1000)));
    return net.Take();
  }
  net.Output("c3", c3);
  net.Output("c4", c4);
  net.Output("c5", c5);
  return net.Take();
}

}  // namespace athanor::models
