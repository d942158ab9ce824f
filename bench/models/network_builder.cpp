#include "bench/models/network_builder.h"

#include "ops/error.h"

namespace athanor::models {

using Ints = std::vector<int64_t>;

NetworkBuilder::NetworkBuilder(std::string name, const Size& size) : size_(size), graph_(name + (size.training ? ".train" : ".fwd")) {}

ValueId NetworkBuilder::Images() { return graph_.AddInput("x", {DType::kF32, {size_.batch, 3, size_.image, size_.image}}); }

ValueId NetworkBuilder::Indices(std::string name, Shape shape) { return graph_.AddInput(std::move(name), {DType::kI64, std::move(shape)}); }

ValueId NetworkBuilder::Parameter(std::string name, Shape shape) {
  return graph_.AddInput(std::move(name), {DType::kF32, std::move(shape)}, size_.training);
}

ValueId NetworkBuilder::Convolution(ValueId x, const std::string& name, const Conv& conv) {
  const Attrs attrs = {{"stride", Ints{conv.stride, conv.stride}}, {"padding", Ints{conv.padding, conv.padding}}};
  const ValueId weight = Parameter(name + ".weight", {conv.channels, shape(x)[1], conv.kernel, conv.kernel});
  if (!conv.bias) return graph_.Add1("conv2d", {x, weight}, attrs);
  return graph_.Add1("conv2d", {x, weight, Parameter(name + ".bias", {conv.channels})}, attrs);
}

ValueId NetworkBuilder::BatchNorm(ValueId x, const std::string& name, double eps, double momentum) {
  const int64_t channels = shape(x)[1];
  const ValueId weight = Parameter(name + ".weight", {channels}), bias = Parameter(name + ".bias", {channels});
  const ValueId mean = graph_.AddInput(name + ".running_mean", {DType::kF32, {channels}});
  const ValueId var = graph_.AddInput(name + ".running_var", {DType::kF32, {channels}});
  const Attrs attrs = {{"training", size_.training}, {"momentum", momentum}, {"eps", eps}};
  const std::string outputs[] = {name, "new." + name + ".running_mean", "new." + name + ".running_var"};
  const std::vector<ValueId> y = graph_.Add("batch_norm", std::vector<ValueId>{x, mean, var, weight, bias}, attrs, std::span(outputs, size_.training ? 3 : 1));
  if (size_.training) {
    Output(outputs[1], y[1]);
    Output(outputs[2], y[2]);
  }
  return y[0];
}

ValueId NetworkBuilder::MaxPool(ValueId x, int64_t kernel, int64_t stride, int64_t padding) {
  return graph_.Add1("max_pool2d", {x}, {{"kernel_size", Ints{kernel, kernel}}, {"stride", Ints{stride, stride}}, {"padding", Ints{padding, padding}}});
}

ValueId NetworkBuilder::MeanOfMap(ValueId x) { return graph_.Add1("mean", {x}, {{"dim", Ints{2, 3}}, {"keepdim", false}}); }

ValueId NetworkBuilder::Linear(ValueId x, const std::string& name, int64_t width) {
  const ValueId weight = Parameter(name + ".weight", {width, shape(x).back()});
  return Linear(x, weight, Parameter(name + ".bias", {width}));
}

ValueId NetworkBuilder::LayerNorm(ValueId x, const std::string& name, double eps) {
  const int64_t width = shape(x).back();
  return graph_.Add1("layer_norm", {x, Parameter(name + ".weight", {width}), Parameter(name + ".bias", {width})},
                     {{"normalized_shape", Ints{width}}, {"eps", eps}});
}

ValueId NetworkBuilder::Attention(ValueId q, ValueId k, ValueId v, int64_t heads, bool causal) {
  const int64_t batch = shape(q)[0], length = shape(q)[1], width = shape(q)[2];
  const auto split = [&](ValueId x) { return Transpose(Reshape(x, {batch, length, heads, width / heads}), 1, 2); };
  const ValueId y = graph_.Add1("scaled_dot_product_attention", {split(q), split(k), split(v)}, {{"is_causal", causal}});
  return Reshape(Transpose(y, 1, 2), {batch, length, width});
}

ValueId NetworkBuilder::Gelu(ValueId x, std::string approximate) { return graph_.Add1("gelu", {x}, {{"approximate", std::move(approximate)}}); }

ValueId NetworkBuilder::Cat(const std::vector<ValueId>& parts, int64_t dim) { return graph_.Add("cat", parts, {{"dim", dim}})[0]; }

std::vector<ValueId> NetworkBuilder::Chunk(ValueId x, int64_t parts, int64_t dim) {
  return graph_.Add("chunk", std::vector<ValueId>{x}, {{"chunks", parts}, {"dim", dim}});
}

ValueId NetworkBuilder::Slice(ValueId x, int64_t dim, int64_t start, int64_t end) {
  return graph_.Add1("slice", {x}, {{"dim", dim}, {"start", start}, {"end", end}});
}

ValueId NetworkBuilder::Reshape(ValueId x, Shape shape) { return graph_.Add1("reshape", {x}, {{"shape", std::move(shape)}}); }

ValueId NetworkBuilder::Transpose(ValueId x, int64_t dim0, int64_t dim1) { return graph_.Add1("transpose", {x}, {{"dim0", dim0}, {"dim1", dim1}}); }

ValueId NetworkBuilder::Expand(ValueId x, Shape shape) { return graph_.Add1("expand", {x}, {{"size", std::move(shape)}}); }

void NetworkBuilder::Finish(ValueId logits) {
  if (!size_.training) return Output("logits", logits);
  const ValueId classes = Indices("y", {shape(logits)[0]});
  Output("loss", graph_.Add1("cross_entropy", {logits, classes}));
}

}  // namespace athanor::models
