#include "bench/judge.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <set>
#include <string_view>

#include "ops/op.h"
#include "ops/reference.h"

namespace athanor::bench {
namespace {

constexpr int kNoisyRuns = 8;            // a value at a tie falls on the other side in about half of them
constexpr double kLeastMove = 1.0 / 16;  // of the allowed error: an element that noise moves less is judged without it
constexpr double kRoundings = 8;         // how many units in the last place of the largest element a sum errs by

// Operations whose results are rounded. What only selects or moves (relu, amax, max_pool2d, views) stays exact, so that what is
// equal stays equal.
bool Rounds(std::string_view op) {
  static const std::set<std::string_view> kRounding = {"add",
                                                       "sub",
                                                       "mul",
                                                       "div",
                                                       "exp",
                                                       "log",
                                                       "sqrt",
                                                       "rsqrt",
                                                       "pow",
                                                       "tanh",
                                                       "erf",
                                                       "sigmoid",
                                                       "gelu",
                                                       "silu",
                                                       "sum",
                                                       "mean",
                                                       "softmax",
                                                       "log_softmax",
                                                       "layer_norm",
                                                       "rms_norm",
                                                       "group_norm",
                                                       "batch_norm",
                                                       "matmul",
                                                       "linear",
                                                       "conv2d",
                                                       "conv_transpose2d",
                                                       "scaled_dot_product_attention",
                                                       "avg_pool2d"};
  return kRounding.contains(op);
}

double UnitOf(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return 0x1p-53;
    case DType::kBF16:
      return 0x1p-8;
    case DType::kF16:
      return 0x1p-11;
    default:
      return 0x1p-24;
  }
}

// Adds what rounding may: to each element by its storage, and by the sums it came of, which are taken in f32 at least. What is rounded
// already stays or moves by a whole step: twice the error of rounding.
class Noise {
 public:
  explicit Noise(int seed) : random_(static_cast<unsigned>(seed)) {}

  void operator()(const Node& node, std::span<HostTensor> outputs) {
    if (!Rounds(node.op->name)) return;
    for (HostTensor& output : outputs) {
      const DType dtype = output.desc().dtype;
      if (IsFloat(dtype))
        Disturb(output, SizeOf(dtype) < 4 ? 2 * UnitOf(dtype) : 0, kRoundings * std::min(UnitOf(dtype), UnitOf(DType::kF32)));
    }
  }

 private:
  void Disturb(HostTensor& tensor, double of_element, double of_largest) {
    std::vector<double> values = tensor.ToDoubles();
    double largest = 0;
    for (double x : values) {
      if (std::isfinite(x)) largest = std::max(largest, std::abs(x));
    }
    std::uniform_real_distribution<double> uniform(-1, 1);
    for (double& x : values) x += uniform(random_) * (of_element * std::abs(x) + of_largest * largest);
    tensor.Assign(values);
  }

  std::mt19937 random_;
};

double Difference(double expected, double actual) {
  if (expected == actual || (std::isnan(expected) && std::isnan(actual))) return 0;
  const double difference = std::abs(expected - actual);
  return std::isfinite(difference) ? difference : INFINITY;
}

double Largest(const HostTensor& tensor) {
  double largest = 1e-30;
  for (double x : tensor.ToDoubles()) {
    if (std::isfinite(x)) largest = std::max(largest, std::abs(x));
  }
  return largest;
}

// How far the noise moved each element of an output, in units of its largest.
std::vector<double> Moves(const HostTensor& expected, const std::vector<HostTensor>& noisy) {
  const std::vector<double> base = expected.ToDoubles();
  const double scale = Largest(expected);
  std::vector<double> moves(base.size());
  for (const HostTensor& run : noisy) {
    const std::vector<double> values = run.ToDoubles();
    for (size_t i = 0; i < base.size(); ++i) moves[i] = std::max(moves[i], Difference(base[i], values[i]) / scale);
  }
  return moves;
}

// A move of one element is also known from its neighbours': where all of a tensor moves, as a weight's gradient does, an element
// may have been lucky.
bool WithinMoves(const HostTensor& expected, const HostTensor& actual, const std::vector<double>& moves, double allowed) {
  const std::vector<double> want = expected.ToDoubles(), got = actual.ToDoubles();
  const double scale = Largest(expected);
  const double squares = std::inner_product(moves.begin(), moves.end(), moves.begin(), 0.0);
  const double typical = std::sqrt(squares / static_cast<double>(moves.size()));
  for (size_t i = 0; i < want.size(); ++i) {
    const double difference = Difference(want[i], got[i]) / scale;
    const double excused = moves[i] > kLeastMove * allowed ? 2 * std::max(moves[i], typical) : 0;
    if (!(difference <= allowed + excused)) return false;
  }
  return true;
}

}  // namespace

DType JudgedDType(const Graph& graph) {
  std::vector<DType> dtypes;
  for (ValueId input : graph.inputs()) dtypes.push_back(graph.desc(input).dtype);
  for (const NamedValue& output : graph.outputs()) dtypes.push_back(graph.desc(output.value).dtype);
  std::erase_if(dtypes, [](DType dtype) { return !IsFloat(dtype); });
  const auto least = std::max_element(dtypes.begin(), dtypes.end(), [](DType a, DType b) { return UnitOf(a) < UnitOf(b); });
  return least == dtypes.end() ? DType::kF32 : *least;
}

// The interpreter rounds to the dtype after every op, as the kernels do not.
double AllowedError(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return 2e-2;  // a few roundings to 8 bits
    case DType::kF16:
      return 2e-3;
    case DType::kF64:
      return 1e-10;
    default:
      return 1e-4;
  }
}

Judgement Judge(const Graph& graph, std::span<const HostTensor> inputs, std::span<const HostTensor> results) {
  const std::vector<HostTensor> expected = Interpret(graph, inputs);
  Judgement judgement;
  judgement.allowed = AllowedError(JudgedDType(graph));
  judgement.right = true;
  std::vector<size_t> doubtful;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double error = RelativeError(expected[i], results[i]);
    if (i == 0 || error > judgement.error) judgement.error = error, judgement.worst = graph.outputs()[i].name;
    if (!(error <= judgement.allowed)) doubtful.push_back(i);
  }
  if (doubtful.empty()) return judgement;
  std::vector<std::vector<HostTensor>> noisy(doubtful.size());
  for (int run = 0; run < kNoisyRuns; ++run) {
    std::vector<HostTensor> outputs = Interpret(graph, inputs, Noise(run));
    for (size_t i = 0; i < doubtful.size(); ++i) noisy[i].push_back(std::move(outputs[doubtful[i]]));
  }
  for (size_t i = 0; i < doubtful.size(); ++i) {
    const HostTensor& want = expected[doubtful[i]];
    const std::vector<double> moves = Moves(want, noisy[i]);
    judgement.sensitivity = std::max(judgement.sensitivity, *std::max_element(moves.begin(), moves.end()));
    judgement.right &= WithinMoves(want, results[doubtful[i]], moves, judgement.allowed);
  }
  return judgement;
}

}  // namespace athanor::bench
