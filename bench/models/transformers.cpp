#include "bench/models/networks.h"

namespace athanor::models {
namespace {

constexpr int64_t kWidth = 768, kHeads = 12;
constexpr int kLayers = 12;

ValueId VitLayer(NetworkBuilder& net, ValueId x, const std::string& name) {
  const int64_t width = net.shape(x).back();
  ValueId y = net.LayerNorm(x, name + ".ln_1", 1e-6);
  const ValueId weight = net.Parameter(name + ".self_attention.in_proj_weight", {3 * width, width});
  const ValueId bias = net.Parameter(name + ".self_attention.in_proj_bias", {3 * width});
  const std::vector<ValueId> qkv = net.Chunk(net.Linear(y, weight, bias), 3, 2);
  x = net.Add(x, net.Linear(net.Attention(qkv[0], qkv[1], qkv[2], kHeads, false), name + ".self_attention.out_proj", width));
  y = net.Gelu(net.Linear(net.LayerNorm(x, name + ".ln_2", 1e-6), name + ".mlp.0", 4 * width));
  return net.Add(x, net.Linear(y, name + ".mlp.3", width));
}

ValueId BertLayer(NetworkBuilder& net, ValueId x, const std::string& name) {
  const int64_t width = net.shape(x).back();
  const auto project = [&](const char* what) { return net.Linear(x, name + ".attention.self." + what, width); };
  const ValueId q = project("query"), k = project("key"), v = project("value");
  const ValueId y = net.Linear(net.Attention(q, k, v, kHeads, false), name + ".attention.output.dense", width);
  x = net.LayerNorm(net.Add(y, x), name + ".attention.output.LayerNorm", 1e-12);
  const ValueId hidden = net.Gelu(net.Linear(x, name + ".intermediate.dense", 4 * width));
  return net.LayerNorm(net.Add(net.Linear(hidden, name + ".output.dense", width), x), name + ".output.LayerNorm", 1e-12);
}

// GPT-2's "Conv1D": a linear layer whose weight is stored [in, out].
ValueId Gpt2Linear(NetworkBuilder& net, ValueId x, const std::string& name, int64_t width) {
  const ValueId weight = net.Parameter(name + ".weight", {net.shape(x).back(), width});
  return net.Add(net.MatMul(x, weight), net.Parameter(name + ".bias", {width}));
}

ValueId Gpt2Layer(NetworkBuilder& net, ValueId x, const std::string& name) {
  const int64_t width = net.shape(x).back();
  const std::vector<ValueId> qkv = net.Chunk(Gpt2Linear(net, net.LayerNorm(x, name + ".ln_1", 1e-5), name + ".attn.c_attn", 3 * width), 3, 2);
  x = net.Add(x, Gpt2Linear(net, net.Attention(qkv[0], qkv[1], qkv[2], kHeads, true), name + ".attn.c_proj", width));
  const ValueId hidden = net.Gelu(Gpt2Linear(net, net.LayerNorm(x, name + ".ln_2", 1e-5), name + ".mlp.c_fc", 4 * width), "tanh");
  return net.Add(x, Gpt2Linear(net, hidden, name + ".mlp.c_proj", width));
}

// The first rows of a table of learned positions.
ValueId Positions(NetworkBuilder& net, const std::string& name, int64_t longest, int64_t width) {
  const ValueId table = net.Parameter(name, {longest, width});
  return net.Slice(table, 0, 0, net.size().length);
}

}  // namespace

Graph VitB16(const Size& size) {
  NetworkBuilder net("vit", size);
  const int64_t width = net.Width(kWidth), patches = (size.image / 16) * (size.image / 16);
  const ValueId images = net.Images(), token = net.Parameter("class_token", {1, 1, width});
  const ValueId map = net.Convolution(images, "conv_proj", {width, 16, 16, 0, true});
  const ValueId rows = net.Transpose(net.Reshape(map, {size.batch, width, patches}), 1, 2);
  ValueId x = net.Cat({net.Expand(token, {size.batch, 1, width}), rows}, 1);
  x = net.Add(x, net.Parameter("encoder.pos_embedding", {1, patches + 1, width}));
  for (int i = 0; i < kLayers; ++i) x = VitLayer(net, x, "encoder.layers.encoder_layer_" + std::to_string(i));
  x = net.Reshape(net.Slice(net.LayerNorm(x, "encoder.ln", 1e-6), 1, 0, 1), {size.batch, width});
  net.Finish(net.Linear(x, "heads.head", net.Width(1000)));
  return net.Take();
}

Graph BertBase(const Size& size) {
  NetworkBuilder net("bert", size);
  const int64_t width = net.Width(kWidth);
  const ValueId ids = net.Indices("input_ids", {size.batch, size.length}), types = net.Indices("token_type_ids", {size.batch, size.length});
  const ValueId words = net.Embedding(ids, net.Parameter("embeddings.word_embeddings.weight", {net.Width(30522), width}));
  const ValueId positions = Positions(net, "embeddings.position_embeddings.weight", 512, width);
  const ValueId kinds = net.Embedding(types, net.Parameter("embeddings.token_type_embeddings.weight", {2, width}));
  ValueId x = net.LayerNorm(net.Add(net.Add(words, kinds), positions), "embeddings.LayerNorm", 1e-12);
  for (int i = 0; i < kLayers; ++i) x = BertLayer(net, x, "encoder.layer." + std::to_string(i));
  const ValueId first = net.Reshape(net.Slice(x, 1, 0, 1), {size.batch, width});
  const ValueId pooled = net.Tanh(net.Linear(first, "pooler.dense", width));
  if (size.training) {
    net.Finish(net.Linear(pooled, "classifier", 2));
    return net.Take();
  }
  net.Output("last_hidden_state", x);
  net.Output("pooler_output", pooled);
  return net.Take();
}

Graph Gpt2(const Size& size) {
  NetworkBuilder net("gpt2", size);
  const int64_t width = net.Width(kWidth), vocabulary = net.Width(50257);
  const ValueId ids = net.Indices("input_ids", {size.batch, size.length});
  const ValueId words = net.Parameter("transformer.wte.weight", {vocabulary, width});
  ValueId x = net.Add(net.Embedding(ids, words), Positions(net, "transformer.wpe.weight", 1024, width));
  for (int i = 0; i < kLayers; ++i) x = Gpt2Layer(net, x, "transformer.h." + std::to_string(i));
  x = net.Reshape(net.LayerNorm(x, "transformer.ln_f", 1e-5), {size.batch * size.length, width});
  net.Finish(net.MatMul(x, net.Transpose(words, 0, 1)));
  return net.Take();
}

}  // namespace athanor::models
