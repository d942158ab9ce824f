#include "examples/train_vit/model.h"

#include <string>

#include "examples/common/layers.h"

using athanor::DType;
using athanor::Graph;
using athanor::ValueId;
using Ints = std::vector<int64_t>;

Graph VisionTransformer(const VitConfig& c, int64_t batch, bool with_loss) {
  Graph graph("vit_fashion_mnist");
  Layers build(graph);
  const int64_t side = 28 / c.patch, length = side * side;
  const ValueId images = graph.AddInput("x", {DType::kF32, {batch, 1, 28, 28}});
  const ValueId kernel = build.Parameter("patch.weight", {c.width, 1, c.patch, c.patch}),
                bias = build.Parameter("patch.bias", {c.width});
  const ValueId patches = graph.Add1("conv2d", {images, kernel, bias}, {{"stride", Ints{c.patch, c.patch}}});
  const ValueId flat = graph.Add1("flatten", {patches}, {{"start_dim", int64_t{2}}, {"end_dim", int64_t{-1}}});
  const ValueId tokens = graph.Add1("transpose", {flat}, {{"dim0", int64_t{1}}, {"dim1", int64_t{2}}});
  ValueId x = graph.Add1("add", {tokens, build.Parameter("pos", {1, length, c.width})});
  for (int64_t i = 0; i < c.blocks; ++i) {
    const std::string name = "blocks." + std::to_string(i);
    const std::vector<ValueId> parts = build.Project(build.LayerNorm(x, c.width, name + ".norm1"), c.heads, name + ".attn");
    const ValueId y = graph.Add1("scaled_dot_product_attention", {parts[0], parts[1], parts[2]});
    x = build.Residuals(x, build.Merge(y, name + ".attn"), name);
  }
  const ValueId pooled = graph.Add1("mean", {build.LayerNorm(x, c.width, "norm")}, {{"dim", Ints{1}}, {"keepdim", false}});
  build.Classify(build.Linear(pooled, c.width, c.classes, "head"), with_loss);
  return graph;
}
