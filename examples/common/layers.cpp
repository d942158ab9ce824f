#include "examples/common/layers.h"

using athanor::DType;
using athanor::ValueId;
using Ints = std::vector<int64_t>;

ValueId Layers::Parameter(const std::string& name, athanor::Shape shape) {
  return graph_.AddInput(name, {DType::kF32, std::move(shape)}, true);
}

ValueId Layers::Linear(ValueId x, int64_t in, int64_t out, const std::string& name) {
  return graph_.Add1("linear", {x, Parameter(name + ".weight", {out, in}), Parameter(name + ".bias", {out})});
}

ValueId Layers::LayerNorm(ValueId x, int64_t width, const std::string& name) {
  return graph_.Add1("layer_norm", {x, Parameter(name + ".weight", {width}), Parameter(name + ".bias", {width})},
                     {{"normalized_shape", Ints{width}}, {"eps", 1e-5}});
}

void Layers::Classify(ValueId logits, bool with_loss) {
  if (!with_loss) return graph_.AddOutput("logits", logits);
  const ValueId labels = graph_.AddInput("y", {DType::kI64, {graph_.desc(logits).shape[0]}});
  graph_.AddOutput("loss", graph_.Add1("cross_entropy", {logits, labels}, {{"reduction", std::string("mean")}}));
}

ValueId Layers::Reshape(ValueId x, Ints shape) { return graph_.Add1("reshape", {x}, {{"shape", std::move(shape)}}); }

std::vector<ValueId> Layers::Project(ValueId x, int64_t heads, const std::string& name) {
  const athanor::Shape shape = graph_.desc(x).shape;
  const int64_t width = shape[2];
  const ValueId qkv = Reshape(Linear(x, width, 3 * width, name + ".qkv"), {shape[0], shape[1], 3, heads, width / heads});
  const ValueId split = graph_.Add1("permute", {qkv}, {{"dims", Ints{2, 0, 3, 1, 4}}});
  return graph_.Add("unbind", std::vector<ValueId>{split}, {{"dim", int64_t{0}}});
}

ValueId Layers::Merge(ValueId y, const std::string& name) {
  const athanor::Shape shape = graph_.desc(y).shape;
  const int64_t width = shape[1] * shape[3];
  const ValueId swapped = graph_.Add1("transpose", {y}, {{"dim0", int64_t{1}}, {"dim1", int64_t{2}}});
  return Linear(Reshape(swapped, {shape[0], shape[2], width}), width, width, name + ".proj");
}

ValueId Layers::Residuals(ValueId x, ValueId attended, const std::string& name) {
  const int64_t width = graph_.desc(x).shape[2];
  x = graph_.Add1("add", {x, attended});
  const ValueId hidden = graph_.Add1("gelu", {Linear(LayerNorm(x, width, name + ".norm2"), width, 4 * width, name + ".fc1")});
  return graph_.Add1("add", {x, Linear(hidden, 4 * width, width, name + ".fc2")});
}
