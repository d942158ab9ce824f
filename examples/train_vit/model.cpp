#include "examples/train_vit/model.h"

#include "ops/gradient.h"

using athanor::DType;
using athanor::Graph;
using athanor::ValueId;
using Ints = std::vector<int64_t>;

namespace {

class Builder {
 public:
  explicit Builder(Graph& graph) : graph_(graph) {}

  ValueId Parameter(const std::string& name, athanor::Shape shape) { return graph_.AddInput(name, {DType::kF32, std::move(shape)}, true); }

  ValueId Linear(ValueId x, int64_t in, int64_t out, const std::string& name) {
    return graph_.Add1("linear", {x, Parameter(name + ".weight", {out, in}), Parameter(name + ".bias", {out})});
  }

  ValueId LayerNorm(ValueId x, int64_t width, const std::string& name) {
    return graph_.Add1("layer_norm", {x, Parameter(name + ".weight", {width}), Parameter(name + ".bias", {width})},
                       {{"normalized_shape", Ints{width}}, {"eps", 1e-5}});
  }

  ValueId Reshape(ValueId x, Ints shape) { return graph_.Add1("reshape", {x}, {{"shape", std::move(shape)}}); }

  ValueId Attention(ValueId x, int64_t batch, int64_t length, int64_t width, int64_t heads, const std::string& name) {
    const ValueId qkv = Reshape(Linear(x, width, 3 * width, name + ".qkv"), {batch, length, 3, heads, width / heads});
    const ValueId split = graph_.Add1("permute", {qkv}, {{"dims", Ints{2, 0, 3, 1, 4}}});
    const std::vector<ValueId> parts = graph_.Add("unbind", std::vector<ValueId>{split}, {{"dim", int64_t{0}}});
    const ValueId y = graph_.Add1("scaled_dot_product_attention", {parts[0], parts[1], parts[2]});
    const ValueId merged = Reshape(graph_.Add1("transpose", {y}, {{"dim0", int64_t{1}}, {"dim1", int64_t{2}}}), {batch, length, width});
    return Linear(merged, width, width, name + ".proj");
  }

  ValueId Block(ValueId x, int64_t batch, int64_t length, int64_t width, int64_t heads, const std::string& name) {
    x = graph_.Add1("add", {x, Attention(LayerNorm(x, width, name + ".norm1"), batch, length, width, heads, name + ".attn")});
    const ValueId hidden = graph_.Add1("gelu", {Linear(LayerNorm(x, width, name + ".norm2"), width, 4 * width, name + ".fc1")});
    return graph_.Add1("add", {x, Linear(hidden, 4 * width, width, name + ".fc2")});
  }

 private:
  Graph& graph_;
};

}  // namespace

Graph VisionTransformer(const VitConfig& c, bool with_loss) {
  Graph graph("vit_fashion_mnist");
  Builder build(graph);
  const int64_t side = 28 / c.patch, length = side * side;
  const ValueId images = graph.AddInput("x", {DType::kF32, {c.batch, 1, 28, 28}});
  const ValueId kernel = build.Parameter("patch.weight", {c.width, 1, c.patch, c.patch}), bias = build.Parameter("patch.bias", {c.width});
  const ValueId patches = graph.Add1("conv2d", {images, kernel, bias}, {{"stride", Ints{c.patch, c.patch}}});
  const ValueId flat = graph.Add1("flatten", {patches}, {{"start_dim", int64_t{2}}, {"end_dim", int64_t{-1}}});
  const ValueId tokens = graph.Add1("transpose", {flat}, {{"dim0", int64_t{1}}, {"dim1", int64_t{2}}});
  ValueId x = graph.Add1("add", {tokens, build.Parameter("pos", {1, length, c.width})});
  for (int64_t i = 0; i < c.blocks; ++i) x = build.Block(x, c.batch, length, c.width, c.heads, "blocks." + std::to_string(i));
  const ValueId pooled = graph.Add1("mean", {build.LayerNorm(x, c.width, "norm")}, {{"dim", Ints{1}}, {"keepdim", false}});
  const ValueId logits = build.Linear(pooled, c.width, c.classes, "head");
  if (!with_loss) {
    graph.AddOutput("logits", logits);
    return graph;
  }
  const ValueId labels = graph.AddInput("y", {DType::kI64, {c.batch}});
  graph.AddOutput("loss", graph.Add1("cross_entropy", {logits, labels}, {{"reduction", std::string("mean")}}));
  return graph;
}

TrainingStep MakeTrainingStep(const Graph& model, double weight_decay) {
  TrainingStep step{athanor::Gradient(model), {}};
  Graph& graph = step.graph;
  const std::vector<athanor::NamedValue> outputs = graph.outputs();
  graph.ClearOutputs();
  std::vector<ValueId> tensors = {graph.AddInput("step", {DType::kF32, {}}), graph.AddInput("lr", {DType::kF32, {}})};
  std::vector<std::string> names;
  for (const athanor::NamedValue& output : outputs) {
    if (!output.name.starts_with("grad.")) {
      graph.AddOutput(output.name, output.value);
      continue;
    }
    const std::string name = output.name.substr(5);
    const ValueId parameter = *graph.Find(name);
    const athanor::TensorDesc desc = graph.desc(parameter);
    tensors.insert(tensors.end(), {parameter, output.value, graph.AddInput("m." + name, desc), graph.AddInput("v." + name, desc)});
    names.push_back(name);
  }
  const std::vector<ValueId> updated = graph.Add("adamw", tensors, {{"beta1", 0.9}, {"beta2", 0.999}, {"eps", 1e-8}, {"weight_decay", weight_decay}});
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string targets[] = {names[i], "m." + names[i], "v." + names[i]};
    for (int k = 0; k < 3; ++k) {
      graph.AddOutput("new." + targets[k], updated[3 * i + k]);
      step.in_place.push_back({"new." + targets[k], targets[k]});
    }
  }
  return step;
}
