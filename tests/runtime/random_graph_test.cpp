// Random graphs, compiled, equal the reference interpreter: forward and with gradients.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "ops/error.h"
#include "ops/fragment.h"
#include "ops/gradient.h"
#include "tests/runtime/comparison.h"

namespace athanor {
namespace {

constexpr int64_t kMaxElements = 3000;

class Generator {
 public:
  Generator(unsigned seed, DType dtype, bool smooth) : random_(seed), dtype_(dtype), smooth_(smooth), graph_(fmt::format("random_{}", seed)) {}

  Graph Run(int steps) {
    Input(RandomShape());
    for (int step = 0; step < steps; ++step) Step();
    std::vector<ValueId> outputs = {values_.back()};
    if (Below(2) == 0) outputs.push_back(Pick());
    for (size_t i = 0; i < outputs.size(); ++i) graph_.AddOutput(fmt::format("y{}", i), outputs[i]);
    return std::move(graph_);
  }

 private:
  int64_t Below(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }
  const Shape& shape(ValueId v) const { return graph_.desc(v).shape; }
  int64_t Rank(ValueId v) const { return graph_.desc(v).rank(); }

  int64_t Extent() {
    constexpr int64_t kExtents[] = {1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 19, 33};
    return Below(60) == 0 ? 0 : kExtents[Below(std::size(kExtents))];
  }

  Shape RandomShape() {
    Shape shape(static_cast<size_t>(1 + Below(4)));
    do {
      for (int64_t& extent : shape) extent = Extent();
    } while (Product(shape) > kMaxElements);
    return shape;
  }

  ValueId Input(Shape shape) {
    TensorDesc desc = {dtype_, std::move(shape)};
    if (desc.rank() == 2 && Below(4) == 0) desc.strides = {1, std::max<int64_t>(desc.shape[0], 1) + Below(3)};   // column-major
    values_.push_back(graph_.AddInput(fmt::format("x{}", graph_.inputs().size()), desc, true));
    return values_.back();
  }

  // Late values more often than early ones.
  ValueId Pick() {
    const auto n = static_cast<int64_t>(values_.size());
    return values_[std::max(Below(n), Below(n))];
  }

  void Keep(ValueId v) {
    if (graph_.desc(v).elements() <= kMaxElements) values_.push_back(v);
  }

  void Step() {
    using Action = void (Generator::*)(ValueId);
    static constexpr Action kActions[] = {&Generator::Unary,  &Generator::Unary,   &Generator::Binary, &Generator::Binary,
                                          &Generator::Binary, &Generator::Reorder, &Generator::Regroup, &Generator::Part,
                                          &Generator::Parts,  &Generator::Stretch, &Generator::Reduce, &Generator::Reduce,
                                          &Generator::Rows,   &Generator::Rows,    &Generator::Product2, &Generator::Product2,
                                          &Generator::Join,   &Generator::Mask};
    (this->*kActions[Below(std::size(kActions))])(Pick());
  }

  void Unary(ValueId x) {
    static constexpr const char* kOps[] = {"tanh", "sigmoid", "gelu", "erf", "neg", "silu", "relu", "abs"};
    Keep(graph_.Add1(kOps[Below(smooth_ ? 6 : 8)], {x}));
  }

  // With an input of the trailing dimensions, some of them 1, or with another value that fits.
  void Binary(ValueId x) {
    static constexpr const char* kOps[] = {"add", "sub", "mul", "maximum", "minimum"};
    const char* op = kOps[Below(smooth_ ? 3 : 5)];
    if (Below(4) == 0) return Keep(graph_.Add1(op, {x, graph_.AddConstant(0.5 * static_cast<double>(Below(5)) - 1, dtype_)}));
    ValueId y = Pick();
    if (Below(2) == 0) {
      Shape other(shape(x).begin() + Below(Rank(x) + 1), shape(x).end());
      for (int64_t& extent : other) extent = Below(3) == 0 ? 1 : extent;
      y = Input(std::move(other));
    }
    try {
      Keep(Below(2) == 0 ? graph_.Add1(op, {x, y}) : graph_.Add1(op, {y, x}));
    } catch (const Error&) {                                 // the shapes do not broadcast
      Keep(graph_.Add1(op, {x, x}));
    }
  }

  void Reorder(ValueId x) {
    std::vector<int64_t> dims(static_cast<size_t>(Rank(x)));
    for (size_t d = 0; d < dims.size(); ++d) dims[d] = static_cast<int64_t>(d);
    std::shuffle(dims.begin(), dims.end(), random_);
    Keep(graph_.Add1("permute", {x}, {{"dims", dims}}));
  }

  // Splits a dimension, joins two, or flattens.
  void Regroup(ValueId x) {
    Shape to = shape(x);
    if (to.empty()) return Keep(graph_.Add1("unsqueeze", {x}, {{"dim", int64_t{0}}}));
    const auto d = Below(static_cast<int64_t>(to.size()));
    if (Below(2) == 0 && d > 0) {
      to[d - 1] *= to[d];
      to.erase(to.begin() + d);
    } else if (to.size() < 5) {
      const int64_t parts = to[d] % 3 == 0 ? 3 : to[d] % 2 == 0 ? 2 : 1;
      to[d] /= parts;
      to.insert(to.begin() + d + Below(2), parts);
    }
    Keep(graph_.Add1("reshape", {x}, {{"shape", to}}));
  }

  void Part(ValueId x) {
    if (Rank(x) == 0) return;
    const int64_t dim = Below(Rank(x)), extent = shape(x)[dim];
    if (extent == 0) return;
    const int64_t start = Below(extent);
    switch (Below(3)) {
      case 0: return Keep(graph_.Add1("select", {x}, {{"dim", dim}, {"index", start}}));
      case 1: return Keep(graph_.Add1("narrow", {x}, {{"dim", dim}, {"start", start}, {"length", 1 + Below(extent - start)}}));
      default: return Keep(graph_.Add1("slice", {x}, {{"dim", dim}, {"start", start}, {"step", 1 + Below(3)}}));
    }
  }

  void Parts(ValueId x) {
    if (Rank(x) == 0) return;
    const int64_t dim = Below(Rank(x));
    const std::vector<ValueId> parts = Below(2) == 0 && shape(x)[dim] > 0 && shape(x)[dim] < 8
                                           ? graph_.Add("unbind", std::vector{x}, {{"dim", dim}})
                                           : graph_.Add("chunk", std::vector{x}, {{"chunks", 1 + Below(3)}, {"dim", dim}});
    for (const ValueId part : parts) Keep(part);
  }

  void Stretch(ValueId x) {
    Shape to = shape(x);
    for (int64_t& extent : to) extent = extent == 1 ? 1 + Below(5) : extent;
    if (Below(2) == 0 && to.size() < 5) to.insert(to.begin(), 1 + Below(3));
    if (Product(to) <= kMaxElements) Keep(graph_.Add1("expand", {x}, {{"size", to}}));
  }

  void Reduce(ValueId x) {
    std::vector<int64_t> dims;
    int64_t count = 1;
    for (int64_t d = 0; d < Rank(x); ++d) {
      if (Below(2) == 0) dims.push_back(d), count *= shape(x)[d];
    }
    if (dims.empty()) count = Product(shape(x));
    const char* op = !smooth_ && count > 0 && Below(3) == 0 ? "amax" : count > 0 && Below(2) == 0 ? "mean" : "sum";
    const ValueId y = graph_.Add1(op, {x}, {{"dim", dims}, {"keepdim", Below(2) == 0}});
    Keep(y);
    if (Rank(y) == Rank(x) && Below(2) == 0) Keep(graph_.Add1("sub", {x, y}));
  }

  void Rows(ValueId x) {
    if (Rank(x) == 0 || Product(shape(x)) == 0) return;
    if (Below(2) == 0) return Keep(graph_.Add1(Below(3) == 0 ? "log_softmax" : "softmax", {x}, {{"dim", Below(Rank(x))}}));
    const int64_t width = shape(x).back();
    if (width < 3) return;                                   // a variance of two numbers is ill-conditioned too often
    const ValueId weight = Input({width}), bias = Input({width});
    Keep(graph_.Add1("layer_norm", {x, weight, bias}, {{"normalized_shape", std::vector<int64_t>{width}}}));
  }

  void Product2(ValueId x) {
    if (Rank(x) == 0) return;
    const int64_t width = shape(x).back();
    if (Rank(x) >= 3 && Rank(x) <= 4 && Below(2) == 0) {
      return Keep(graph_.Add1("scaled_dot_product_attention", {x, x, Below(2) == 0 ? x : Input(shape(x))}, {{"is_causal", Below(2) == 0}}));
    }
    if (Rank(x) >= 2 && Below(3) == 0) {
      const ValueId y = graph_.Add1("transpose", {x}, {{"dim0", int64_t{-1}}, {"dim1", int64_t{-2}}});
      return Keep(graph_.Add1("mul", {graph_.Add1("matmul", {x, y}), graph_.AddConstant(0.1, dtype_)}));
    }
    const int64_t out = 1 + Below(20);
    const ValueId weight = Input({out, width});
    Keep(Below(2) == 0 ? graph_.Add1("linear", {x, weight}) : graph_.Add1("linear", {x, weight, Input({out})}));
  }

  void Join(ValueId x) {
    if (Rank(x) == 0) return;
    Shape other = shape(x);
    const int64_t dim = Below(Rank(x));
    other[dim] = 1 + Below(4);
    const ValueId y = Below(2) == 0 ? x : Input(std::move(other));
    Keep(graph_.Add("cat", std::vector{y, x, y}, {{"dim", dim}})[0]);
  }

  void Mask(ValueId x) {
    if (Rank(x) >= 2) Keep(graph_.Add1("tril", {x}, {{"diagonal", Below(5) - 2}}));
  }

  std::mt19937 random_;
  DType dtype_;
  bool smooth_;
  Graph graph_;
  std::vector<ValueId> values_;
};

// A random graph of `steps` ops over small tensors of odd sizes, with broadcasts, view chains, reductions, products and attention. The
// same numbers give the same graph, and a smaller `steps` its beginning. `smooth` leaves out ops whose gradient jumps where
// rounding decides.
Graph RandomGraph(unsigned seed, int steps, DType dtype, bool smooth) { return Generator(seed, dtype, smooth).Run(steps); }

// The largest difference, relative to the largest magnitude, or to 1 where that is more: what cancels to nothing keeps its rounding.
double ErrorOf(const HostTensor& expected, const HostTensor& actual) {
  double scale = 0;
  for (const double x : expected.ToDoubles()) scale = std::max(scale, std::abs(x));
  return RelativeError(expected, actual) * std::min(scale, 1.0);
}

// What differs between the compiled graph and the interpreter; empty when nothing does.
std::string Difference(const Graph& graph, unsigned seed) {
  try {
    const std::vector<HostTensor> inputs = RandomInputs(graph, seed);
    const std::vector<HostTensor> expected = Interpret(graph, inputs);
    const std::unique_ptr<Executable> executable = Executable::Compile(graph, Options());
    const std::vector<HostTensor> actual = RunExecutable(*executable, graph, inputs);
    for (size_t i = 0; i < expected.size(); ++i) {
      const double error = ErrorOf(expected[i], actual[i]);
      if (!(error <= (graph.desc(graph.inputs()[0]).dtype == DType::kF64 ? 1e-10 : 1e-4))) {
        return fmt::format("{} errs by {:.1e} of its scale", graph.outputs()[i].name, error);
      }
    }
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

// Fails with the shortest beginning of the graph that already goes wrong.
void Check(unsigned seed, DType dtype, bool gradients) {
  const auto difference = [&](int steps) {
    const Graph graph = RandomGraph(seed, steps, dtype, gradients);
    return Difference(gradients ? Gradient(graph) : graph, seed);
  };
  constexpr int kSteps = 9;
  if (difference(kSteps).empty()) return;
  int steps = 0;
  while (steps < kSteps && difference(steps).empty()) ++steps;
  ADD_FAILURE() << "seed " << seed << ", " << steps << " steps: " << difference(steps) << "\n"
                << WriteFragment(RandomGraph(seed, steps, dtype, gradients));
}

// As long as one wants by hand: ATHANOR_TEST_RANDOM_GRAPHS=BEGIN-END.
std::pair<unsigned, unsigned> Seeds() {
  unsigned begin = 0, end = 60;
  if (const char* range = std::getenv("ATHANOR_TEST_RANDOM_GRAPHS")) {
    EXPECT_EQ(std::sscanf(range, "%u-%u", &begin, &end), 2);
  }
  return {begin, end};
}

TEST(RandomGraph, ForwardEqualsTheReference) {
  const auto [begin, end] = Seeds();
  for (unsigned seed = begin; seed < end; ++seed) Check(seed, seed % 2 ? DType::kF64 : DType::kF32, false);
}

TEST(RandomGraph, GradientsEqualTheReference) {
  const auto [begin, end] = Seeds();
  for (unsigned seed = begin; seed < end; ++seed) Check(seed + 1000000, DType::kF64, true);
}

TEST(RandomGraph, SameSeedSameGraph) {
  EXPECT_EQ(WriteFragment(RandomGraph(5, 9, DType::kF32, false)), WriteFragment(RandomGraph(5, 9, DType::kF32, false)));
}

}  // namespace
}  // namespace athanor
