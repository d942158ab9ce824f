#include "examples/generate/model.h"

#include <functional>

#include "examples/common/layers.h"

using athanor::DType;
using athanor::Graph;
using athanor::ValueId;
using Ints = std::vector<int64_t>;

namespace {

// What a block's attention makes of its query, key and value, [batch, heads, length, width / heads] each.
using Attend = std::function<ValueId(int64_t block, const std::vector<ValueId>& parts)>;

// `positions` is what the rows of "pos" are picked by.
ValueId Logits(const GptConfig& c, Layers& layers, Graph& graph, ValueId tokens, const std::function<ValueId(ValueId)>& positions, const Attend& attend) {
  const ValueId table = layers.Parameter("tok.weight", {c.vocabulary, c.width}), pos = layers.Parameter("pos.weight", {c.context, c.width});
  ValueId x = graph.Add1("add", {graph.Add1("embedding", {tokens, table}), positions(pos)});
  for (int64_t i = 0; i < c.blocks; ++i) {
    const std::string name = "blocks." + std::to_string(i);
    const std::vector<ValueId> parts = layers.Project(layers.LayerNorm(x, c.width, name + ".norm1"), c.heads, name + ".attn");
    x = layers.Residuals(x, layers.Merge(attend(i, parts), name + ".attn"), name);
  }
  return layers.Linear(layers.LayerNorm(x, c.width, "norm"), c.width, c.vocabulary, "head");
}

}  // namespace

Graph Gpt(const GptConfig& c, int64_t length, bool with_loss) {
  Graph graph("gpt_bytes");
  Layers layers(graph);
  const ValueId tokens = graph.AddInput("x", {DType::kI64, {c.batch, length}});
  const auto positions = [&](ValueId pos) {
    return graph.Add1("narrow", {pos}, {{"dim", int64_t{0}}, {"start", int64_t{0}}, {"length", length}});
  };
  const Attend attend = [&](int64_t, const std::vector<ValueId>& parts) {
    return graph.Add1("scaled_dot_product_attention", {parts[0], parts[1], parts[2]}, {{"is_causal", true}});
  };
  const ValueId logits = Logits(c, layers, graph, tokens, positions, attend);
  if (!with_loss) {
    graph.AddOutput("logits", logits);
    return graph;
  }
  const ValueId targets = layers.Reshape(graph.AddInput("y", {DType::kI64, {c.batch, length}}), {c.batch * length});
  const ValueId rows = layers.Reshape(logits, {c.batch * length, c.vocabulary});
  graph.AddOutput("loss", graph.Add1("cross_entropy", {rows, targets}, {{"reduction", std::string("mean")}}));
  return graph;
}

DecodingStep MakeDecodingStep(const GptConfig& c) {
  DecodingStep step{Graph("gpt_bytes_decode"), {}};
  Graph& graph = step.graph;
  Layers layers(graph);
  const ValueId token = graph.AddInput("x", {DType::kI64, {1, 1}}), position = graph.AddInput("position", {DType::kI64, {1}});
  const ValueId filled = graph.AddInput("filled", {DType::kI64, {1}});
  const auto positions = [&](ValueId pos) { return graph.Add1("embedding", {position, pos}); };
  const Attend attend = [&](int64_t block, const std::vector<ValueId>& parts) {
    ValueId appended[2];
    for (int i = 0; i < 2; ++i) {
      const std::string name = (i == 0 ? "keys." : "values.") + std::to_string(block);
      const ValueId cache = graph.AddInput(name, {DType::kF32, {1, c.heads, c.context, c.width / c.heads}});
      appended[i] = graph.Add1("kv_append", {cache, parts[i + 1], position});
      graph.AddOutput("new." + name, appended[i]);
      step.in_place.push_back({"new." + name, name});
    }
    return graph.Add1("scaled_dot_product_attention", {parts[0], appended[0], appended[1], athanor::kNone, filled});
  };
  graph.AddOutput("logits", Logits(c, layers, graph, token, positions, attend));
  return step;
}
