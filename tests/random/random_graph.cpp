#include "tests/random/random_graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

using Ints = std::vector<int64_t>;

constexpr int64_t kMaxElements = 3000;

class Generator {
 public:
  explicit Generator(const RandomGraphOptions& options)
      : random_(options.seed), dtype_(options.dtype), smooth_(options.smooth), graph_(fmt::format("random_{}", options.seed)) {}

  Graph Run(int steps) {
    Input(RandomShape());
    for (int step = 0; step < steps; ++step) Step();
    std::vector<ValueId> outputs = {values_.back()};
    if (Below(2) == 0) outputs.push_back(Pick());
    for (size_t i = 0; i < outputs.size(); ++i) graph_.AddOutput(fmt::format("y{}", i), outputs[i]);
    return std::move(graph_);
  }

 private:
  // --- choices

  int64_t Below(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }
  bool Chance(int64_t n) { return Below(n) == 0; }           // one in n
  const Shape& shape(ValueId v) const { return graph_.desc(v).shape; }
  int64_t Rank(ValueId v) const { return graph_.desc(v).rank(); }
  bool Empty(ValueId v) const { return Product(shape(v)) == 0; }

  int64_t Extent() {
    constexpr int64_t kExtents[] = {1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 19, 33};
    return Chance(60) ? 0 : kExtents[Below(std::size(kExtents))];
  }

  Shape RandomShape() {
    Shape shape(static_cast<size_t>(1 + Below(4)));
    do {
      for (int64_t& extent : shape) extent = Extent();
    } while (Product(shape) > kMaxElements);
    return shape;
  }

  // Late values more often than early ones.
  ValueId Pick() {
    const auto n = static_cast<int64_t>(values_.size());
    return values_[std::max(Below(n), Below(n))];
  }

  // --- building

  ValueId Input(Shape shape) {
    TensorDesc desc = {dtype_, std::move(shape)};
    if (desc.rank() == 2 && Chance(4)) desc.strides = {1, std::max<int64_t>(desc.shape[0], 1) + Below(3)};   // column-major
    if (desc.rank() > 2 && Chance(6)) {                      // a part of longer rows
      desc.strides = ContiguousStrides(desc.shape);
      for (int64_t& stride : desc.strides) stride *= 2;
    }
    values_.push_back(graph_.AddInput(Name(), desc, true));
    return values_.back();
  }

  ValueId Integers(Shape shape, DType dtype = DType::kI64) { return graph_.AddInput(Name(), {dtype, std::move(shape)}, false); }
  std::string Name() const { return fmt::format("x{}", graph_.inputs().size()); }
  ValueId Number(double x) { return graph_.AddConstant(x, dtype_); }
  ValueId Op(const char* op, std::initializer_list<ValueId> inputs, Attrs attrs = {}) { return graph_.Add1(op, inputs, std::move(attrs)); }

  void Keep(ValueId v) {
    if (graph_.desc(v).dtype == dtype_ && graph_.desc(v).elements() <= kMaxElements) values_.push_back(v);
  }

  // Bounded, so that chains of products stay within the range of f32.
  ValueId Tame(ValueId x) { return Op("tanh", {x}); }

  void Step() {
    using Action = void (Generator::*)(ValueId);
    static constexpr Action kActions[] = {
        &Generator::Unary,    &Generator::Unary,     &Generator::Binary,  &Generator::Binary,   &Generator::Binary,   &Generator::Reorder,
        &Generator::Regroup,  &Generator::Regroup,   &Generator::Part,    &Generator::Parts,    &Generator::Stretch,  &Generator::Reduce,
        &Generator::Reduce,   &Generator::Rows,      &Generator::Rows,    &Generator::Products, &Generator::Products, &Generator::Join,
        &Generator::Mask,     &Generator::Attention, &Generator::Conv,    &Generator::Conv,     &Generator::Pool,     &Generator::Channels,
        &Generator::Windows,  &Generator::Indices,   &Generator::Losses,  &Generator::Select,   &Generator::Dropout,  &Generator::Sequences};
    try {
      (this->*kActions[Below(std::size(kActions))])(Pick());
    } catch (const Error&) {                                 // sizes that do not fit the op: the graph stays as it was
    }
  }

  // --- steps

  void Unary(ValueId x) {
    static constexpr const char* kOps[] = {"tanh", "sigmoid", "gelu", "erf", "neg", "silu", "relu", "abs"};
    switch (Below(8)) {
      case 0: return Keep(Op("exp", {Tame(x)}));
      case 1: return Keep(Op(Chance(2) ? "log" : Chance(2) ? "sqrt" : "rsqrt", {Op("add", {Op("mul", {x, x}), Number(0.5)})}));
      case 2: return Keep(Op("gelu", {x}, {{"approximate", "tanh"}}));
      case 3: return smooth_ ? void() : Keep(Op("clamp", {x}, {{"min", -0.4}, {"max", 0.7}}));
      case 4: return Chance(2) ? Keep(Op("contiguous", {x})) : Keep(Op("cast", {x}, {{"dtype", std::string(athanor::Name(dtype_))}}));
      default: return Keep(Op(kOps[Below(smooth_ ? 6 : 8)], {x}));
    }
  }

  // With an input of the trailing dimensions, some of them 1, or with another value that fits.
  void Binary(ValueId x) {
    static constexpr const char* kOps[] = {"add", "sub", "mul", "maximum", "minimum"};
    const char* op = kOps[Below(smooth_ ? 3 : 5)];
    if (Chance(4)) return Keep(Op(op, {x, Number(0.5 * static_cast<double>(Below(5)) - 1)}));
    ValueId y = Pick();
    if (Chance(2)) {
      Shape other(shape(x).begin() + Below(Rank(x) + 1), shape(x).end());
      for (int64_t& extent : other) extent = Chance(3) ? 1 : extent;
      y = Input(std::move(other));
    }
    if (Chance(8)) return Keep(Op("div", {x, Op("add", {Op("mul", {y, y}), Number(1)})}));
    if (Chance(12)) return Keep(Op("pow", {Op("exp", {Tame(x)}), Tame(y)}));
    Keep(Chance(2) ? Op(op, {x, y}) : Op(op, {y, x}));
  }

  void Reorder(ValueId x) {
    if (Rank(x) >= 2 && Chance(3)) return Keep(Op("transpose", {x}, {{"dim0", Below(Rank(x))}, {"dim1", -1 - Below(Rank(x))}}));
    Ints dims(static_cast<size_t>(Rank(x)));
    for (size_t d = 0; d < dims.size(); ++d) dims[d] = static_cast<int64_t>(d);
    for (size_t d = dims.size(); d > 1; --d) std::swap(dims[d - 1], dims[Below(static_cast<int64_t>(d))]);
    Keep(Op("permute", {x}, {{"dims", dims}}));
  }

  // Splits a dimension, joins two, or flattens.
  void Regroup(ValueId x) {
    Shape to = shape(x);
    if (to.empty() || (Chance(6) && to.size() < 5)) return Keep(Op("unsqueeze", {x}, {{"dim", Below(Rank(x) + 1)}}));
    if (Chance(6)) return Keep(Op("squeeze", {x}));
    const auto d = Below(static_cast<int64_t>(to.size()));
    if (Chance(6)) return Keep(Op("flatten", {x}, {{"start_dim", d}, {"end_dim", int64_t{-1}}}));
    if (Chance(2) && d > 0) {
      to[d - 1] *= to[d];
      to.erase(to.begin() + d);
    } else if (to.size() < 5) {
      const int64_t parts = to[d] % 3 == 0 ? 3 : to[d] % 2 == 0 ? 2 : 1;
      to[d] /= parts;
      to.insert(to.begin() + d + Below(2), parts);
    }
    Keep(Op("reshape", {x}, {{"shape", to}}));
  }

  void Part(ValueId x) {
    if (Rank(x) == 0) return;
    const int64_t dim = Below(Rank(x)), extent = shape(x)[dim];
    if (extent == 0) return;
    const int64_t start = Below(extent);
    switch (Below(3)) {
      case 0: return Keep(Op("select", {x}, {{"dim", dim}, {"index", start}}));
      case 1: return Keep(Op("narrow", {x}, {{"dim", dim}, {"start", start}, {"length", 1 + Below(extent - start)}}));
      default: return Keep(Op("slice", {x}, {{"dim", dim}, {"start", start}, {"step", 1 + Below(3)}}));
    }
  }

  void Parts(ValueId x) {
    if (Rank(x) == 0) return;
    const int64_t dim = Below(Rank(x)), extent = shape(x)[dim];
    std::vector<ValueId> parts;
    if (Chance(3) && extent > 0 && extent < 8) {
      parts = graph_.Add("unbind", std::vector{x}, {{"dim", dim}});
    } else if (Chance(2)) {
      parts = graph_.Add("split", std::vector{x}, {{"split_size", 1 + extent / (1 + Below(3))}, {"dim", dim}});
    } else {
      parts = graph_.Add("chunk", std::vector{x}, {{"chunks", 1 + Below(3)}, {"dim", dim}});
    }
    for (const ValueId part : parts) Keep(part);
  }

  void Stretch(ValueId x) {
    Shape to = shape(x);
    for (int64_t& extent : to) extent = extent == 1 ? 1 + Below(5) : extent;
    if (Chance(2) && to.size() < 5) to.insert(to.begin(), 1 + Below(3));
    if (Product(to) <= kMaxElements) Keep(Op("expand", {x}, {{"size", to}}));
  }

  void Reduce(ValueId x) {
    Ints dims;
    int64_t count = 1;
    for (int64_t d = 0; d < Rank(x); ++d) {
      if (Chance(2)) dims.push_back(d), count *= shape(x)[d];
    }
    if (dims.empty()) count = Product(shape(x));
    const char* op = !smooth_ && count > 0 && Chance(3) ? "amax" : count > 0 && Chance(2) ? "mean" : "sum";
    const ValueId y = Op(op, {x}, {{"dim", dims}, {"keepdim", Chance(2)}});
    Keep(y);
    if (Rank(y) == Rank(x) && Chance(2)) Keep(Op("sub", {x, y}));
  }

  void Rows(ValueId x) {
    if (Rank(x) == 0 || Empty(x)) return;
    if (Chance(2)) return Keep(Op(Chance(3) ? "log_softmax" : "softmax", {x}, {{"dim", Below(Rank(x))}}));
    const int64_t width = shape(x).back();
    if (width < 3) return;                                   // a variance of two numbers is ill-conditioned too often
    const Attrs attrs = {{"normalized_shape", Ints{width}}, {"eps", 0.01}};
    if (Chance(3)) return Keep(Op("rms_norm", {x, Input({width})}, attrs));
    const ValueId weight = Input({width}), bias = Input({width});
    Keep(Op("layer_norm", {x, weight, bias}, attrs));
  }

  void Products(ValueId x) {
    if (Rank(x) == 0) return;
    const int64_t width = shape(x).back();
    if (Rank(x) >= 2 && Chance(3)) {
      const ValueId y = Op("transpose", {x}, {{"dim0", int64_t{-1}}, {"dim1", int64_t{-2}}});
      return Keep(Op("mul", {Op("matmul", {x, y}), Number(0.1)}));
    }
    if (Chance(4)) return Keep(Op("matmul", {x, Chance(2) ? Input({width}) : Input({width, 1 + Below(20)})}));
    const int64_t out = 1 + Below(20);
    const ValueId weight = Input({out, width});
    if (Chance(2)) return Keep(Op("linear", {x, weight}));
    const ValueId bias = Input({out});
    Keep(Op("linear", {x, weight, bias}));
  }

  void Join(ValueId x) {
    if (Rank(x) == 0) return;
    Shape other = shape(x);
    const int64_t dim = Below(Rank(x));
    other[dim] = 1 + Below(4);
    const ValueId y = Chance(2) ? x : Input(std::move(other));
    Keep(graph_.Add("cat", std::vector{y, x, y}, {{"dim", dim}})[0]);
  }

  void Mask(ValueId x) {
    if (Rank(x) >= 2) Keep(Op("tril", {x}, {{"diagonal", Below(5) - 2}}));
  }

  // A choice by a comparison, or by booleans from outside.
  void Select(ValueId x) {
    const ValueId condition = Chance(2) ? Integers(shape(x), DType::kBool) : smooth_ ? kNone : Op(Chance(2) ? "gt" : Chance(2) ? "lt" : "eq", {x, Pick()});
    if (condition != kNone) Keep(Op("where", {condition, x, Chance(2) ? Number(0.25) : Pick()}));
  }

  void Dropout(ValueId x) {
    const ValueId seed = Integers({}), offset = Integers({});
    Keep(Op("dropout", {x, seed, offset}, {{"p", 0.25 * static_cast<double>(Below(5))}, {"training", !Chance(5)}}));
  }

  // x as images: of rank 4.
  ValueId Images(ValueId x) {
    while (Rank(x) < 4) x = Op("unsqueeze", {x}, {{"dim", int64_t{0}}});
    if (Rank(x) == 5) x = Op("flatten", {x}, {{"start_dim", int64_t{0}}, {"end_dim", int64_t{1}}});
    return x;
  }

  void Attention(ValueId x) {
    if (Rank(x) < 2 || Empty(x)) return;
    if (Rank(x) > 2 && Chance(3)) {                          // of itself
      return Keep(Op("scaled_dot_product_attention", {x, x, Chance(2) ? x : Input(shape(x))}, {{"is_causal", Chance(2)}}));
    }
    const ValueId q = Images(x);
    const Shape s = shape(q);
    const int64_t keys = 1 + Below(20), heads = Chance(2) || s[1] % 2 != 0 ? s[1] : s[1] / 2;
    const ValueId k = Input({s[0], heads, keys, s[3]}), v = Input({s[0], heads, keys, 1 + Below(9)});
    Attrs attrs = {{"enable_gqa", true}};
    if (Chance(4)) attrs["scale"] = 0.3;
    if (Chance(4)) attrs["window"] = Ints{Below(4) - 1, Below(4) - 1};
    ValueId mask = kNone, lengths = kNone, seed = kNone;
    if (Chance(3)) {
      const Shape of = {Chance(2) ? 1 : s[0], Chance(2) ? 1 : s[1], Chance(3) ? 1 : s[2], keys};
      mask = Chance(2) ? Integers(of, DType::kBool) : Input(of);
    } else if (Chance(3)) {
      attrs["is_causal"] = true;
    }
    if (Chance(5) && keys > 3) lengths = Integers({s[0]});
    if (Chance(5)) attrs["dropout_p"] = 0.3, seed = Integers({});
    Keep(graph_.Add("scaled_dot_product_attention", std::vector{q, k, v, mask, lengths, seed}, attrs)[0]);
  }

  Ints Two(int64_t least, int64_t count) { return {least + Below(count), least + Below(count)}; }

  void Conv(ValueId x) {
    x = Images(x);
    const int64_t channels = shape(x)[1];
    if (channels == 0) return;
    const int64_t groups = Chance(3) ? channels : channels % 2 == 0 && Chance(3) ? 2 : 1;
    const Ints kernel = Two(1, 4);
    Attrs attrs = {{"stride", Two(1, 3)}, {"padding", Two(0, 3)}, {"dilation", Two(1, 2)}, {"groups", groups}};
    const bool transposed = Chance(3);
    const int64_t out = (groups == channels ? 1 : 1 + Below(6)) * (transposed ? 1 : groups);
    if (transposed && Chance(2)) attrs["output_padding"] = Two(0, 2);
    if (!transposed && Chance(5)) attrs["stride"] = kernel, attrs["padding"] = Ints{0}, attrs["dilation"] = Ints{1};   // patches
    const ValueId weight = Input(transposed ? Shape{channels, out, kernel[0], kernel[1]} : Shape{out, channels / groups, kernel[0], kernel[1]});
    const ValueId bias = Chance(2) ? Input({transposed ? out * groups : out}) : kNone;
    Keep(graph_.Add(transposed ? "conv_transpose2d" : "conv2d", std::vector{x, weight, bias}, attrs)[0]);
  }

  void Pool(ValueId x) {
    const bool max = Chance(2);
    // Equal maxima that rounding tells apart come of equal elements: only inputs have none.
    x = max && smooth_ ? Input({1 + Below(3), 1 + Below(3), 3 + Below(14), 3 + Below(18)}) : Images(x);
    const Ints kernel = Two(1, 4);
    Attrs attrs = {{"kernel_size", kernel}, {"stride", Two(1, 3)}, {"padding", Ints{Below(kernel[0] / 2 + 1), Below(kernel[1] / 2 + 1)}},
                   {"ceil_mode", Chance(4)}};
    if (max && Chance(4)) attrs["dilation"] = Two(1, 2);
    if (!max && Chance(3)) attrs["count_include_pad"] = false;
    Keep(Op(max ? "max_pool2d" : "avg_pool2d", {x}, attrs));
  }

  void Channels(ValueId x) {
    if (Rank(x) < 2 || Empty(x) || Product(shape(x)) / shape(x)[1] < 3) return;
    const int64_t channels = shape(x)[1];
    const ValueId weight = Input({channels}), bias = Input({channels});
    if (Chance(3)) {
      const int64_t groups = channels % 2 == 0 && Chance(2) ? 2 : 1;
      if (Product(shape(x)) / shape(x)[0] / groups < 3) return;
      return Keep(Op("group_norm", {x, weight, bias}, {{"num_groups", groups}, {"eps", 0.01}}));
    }
    if (Chance(2)) return Keep(graph_.Add("batch_norm", std::vector{x, kNone, kNone, weight, bias}, {{"training", true}, {"eps", 0.01}})[0]);
    const ValueId mean = Input({channels}), spread = Input({channels}), variance = Op("add", {Op("mul", {spread, spread}), Number(0.5)});
    Keep(graph_.Add("batch_norm", std::vector{x, mean, variance, weight, bias}, {{"training", Chance(2)}, {"eps", 0.01}})[0]);
  }

  void Windows(ValueId x) {
    if (Chance(3)) {
      return Keep(Op("unfold", {Images(x)}, {{"kernel_size", Two(1, 3)}, {"stride", Two(1, 3)}, {"padding", Two(0, 2)}, {"dilation", Two(1, 2)}}));
    }
    if (Rank(x) == 0) return;
    static constexpr const char* kModes[] = {"constant", "constant", "reflect", "replicate", "circular"};
    const std::string mode = kModes[Below(std::size(kModes))];
    Ints pad;
    for (int64_t i = 0; i < 2 * std::min<int64_t>(Rank(x), 2); ++i) pad.push_back(Below(4) - (mode == "constant" ? 1 : 0));
    Attrs attrs = {{"pad", pad}, {"mode", mode}};
    if (mode == "constant") attrs["value"] = 0.5;
    Keep(Op("pad", {x}, attrs));
  }

  void Indices(ValueId x) {
    if (Rank(x) == 0 || Empty(x)) return;
    const int64_t dim = Below(Rank(x));
    switch (Below(4)) {
      case 0: return Keep(Op("index_select", {x, Integers({1 + Below(9)})}, {{"dim", dim}}));
      case 1: {
        Shape of = shape(x);
        of[dim] = 1 + Below(7);
        return Keep(Op("gather", {x, Integers(of)}, {{"dim", dim}}));
      }
      case 2: {
        const int64_t classes = 1 + Below(7);
        const ValueId hot = Op("one_hot", {Integers(shape(x))}, {{"num_classes", classes}});
        return Keep(Op("cast", {hot}, {{"dtype", std::string(athanor::Name(dtype_))}}));
      }
      default:
        if (Rank(x) == 2) Keep(Op("embedding", {Integers(Chance(2) ? Shape{1 + Below(9)} : Shape{2, 1 + Below(5)}, Chance(2) ? DType::kI32 : DType::kI64), x}));
    }
  }

  void Losses(ValueId x) {
    if (Empty(x)) return;
    static constexpr const char* kReductions[] = {"none", "mean", "sum"};
    const Attrs attrs = {{"reduction", kReductions[Below(3)]}};
    if (Rank(x) >= 2 && Chance(2)) {
      Shape of = shape(x);
      of.erase(of.begin() + 1);
      return Keep(Op(Chance(2) ? "cross_entropy" : "nll_loss", {x, Integers(of)}, attrs));
    }
    Keep(Op("mse_loss", {x, Chance(2) ? x : Input(shape(x))}, attrs));
  }

  void Sequences(ValueId x) {
    if (Rank(x) < 3 || Empty(x)) return;
    const int64_t width = shape(x).back(), length = shape(x)[Rank(x) - 2];
    if (Chance(2) && width >= 2) {
      const int64_t pairs = 1 + Below(width / 2), rows = length + Below(3);
      const ValueId cosines = Input({rows, pairs}), sines = Input({rows, pairs});
      return Keep(Op("rope", {x, cosines, sines}, {{"interleaved", Chance(2)}}));
    }
    const ValueId entries = Images(x);
    Shape cache = shape(entries);
    cache[2] += Below(9);
    Keep(Op("kv_append", {Input(cache), entries, Integers(Chance(2) ? Shape{} : Shape{cache[0]})}));
  }

  std::mt19937 random_;
  DType dtype_;
  bool smooth_;
  Graph graph_;
  std::vector<ValueId> values_;
};

}  // namespace

Graph RandomGraph(const RandomGraphOptions& options) { return Generator(options).Run(options.steps); }

}  // namespace athanor
