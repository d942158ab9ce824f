#include "bench/judge.h"

#include <algorithm>
#include <cmath>
#include <future>
#include <random>
#include <set>
#include <string_view>
#include <thread>

#include "ops/backward.h"
#include "ops/op.h"
#include "ops/reference.h"

namespace athanor::bench {
namespace {

// With noise three times as large as rounding errors, and kNoisyRuns runs, hardly an element in a hundred million stays unexplained that is only
// as far off as rounding made it; errors from about eight standard deviations on are seen. Behind a kink the noise grows only by the square
// root: three times as many jumps. Hence the factor.
constexpr double kNoise = 3;
constexpr double kBehindKink = 2;
// Beyond so many times what a few runs moved any element of an output, more runs would not explain a difference either.
constexpr double kGross = 4;
constexpr double kRoundings = 8;  // how many units in the last place of the largest element a sum errs by

// Operations whose results need no rounding: they select or move, so that what is equal stays equal.
bool IsExact(const Graph& graph, const Node& node) {
  static const std::set<std::string_view> kExact = {"relu",      "maximum",    "minimum",  "where",     "clamp",         "neg",     "abs",
                                                    "amax",      "max_pool2d", "pad",      "tril",      "unfold",        "gather",  "contiguous",
                                                    "embedding", "one_hot",    "index_select", "kv_append", "_scatter_rows"};
  switch (node.op->kind) {
    case OpKind::kView:
    case OpKind::kConcat:
    case OpKind::kWindow:
    case OpKind::kIota:
    case OpKind::kRandom:
    case OpKind::kGather:
      return true;
    default:
      break;
  }
  const bool widens = node.op->name == "cast" && SizeOf(graph.desc(node.inputs[0]).dtype) <= SizeOf(graph.desc(node.outputs[0]).dtype);
  return widens || kExact.contains(node.op->name);
}

// Half the distance between 1 and the next number.
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

// What storing x in a narrow dtype may change; f16 has a smallest step that matters.
double RoundingError(DType dtype, double x) {
  if (!IsHalf(dtype)) return 0;
  return std::max(UnitOf(dtype) * std::abs(x), dtype == DType::kF16 ? 0x1p-25 : 0);
}

// The errors of sums, relative to the largest element.
double ArithmeticError(DType dtype) { return dtype == DType::kF64 ? 1e-10 : 1e-4; }

double Largest(const std::vector<double>& values) {
  double largest = 1e-30;
  for (double x : values) {
    if (std::isfinite(x)) largest = std::max(largest, std::abs(x));
  }
  return largest;
}

// Attention rounds what its second products multiply (the probabilities, their gradients): with cancellation, an element errs by the
// magnitude of its row.
bool RoundsWithin(const Node& node) { return node.op->name.find("attention") != std::string_view::npos; }

// The root mean square of each row, at each of its elements.
std::vector<double> RowMagnitudes(const HostTensor& tensor, const std::vector<double>& values) {
  const size_t row = tensor.desc().shape.empty() ? 1 : static_cast<size_t>(tensor.desc().shape.back());
  std::vector<double> magnitudes(values.size());
  for (size_t begin = 0; begin < values.size(); begin += row) {
    double squares = 0;
    for (size_t i = begin; i < begin + row; ++i) squares += values[i] * values[i];
    std::fill_n(magnitudes.begin() + static_cast<std::ptrdiff_t>(begin), row, std::sqrt(squares / static_cast<double>(row)));
  }
  return magnitudes;
}

// Adds to each element what rounding may: by its storage, and by the sums it came of.
class Noise {
 public:
  Noise(const Graph& graph, int seed) : graph_(graph), random_(static_cast<unsigned>(seed)) {}

  void operator()(const Node& node, std::span<HostTensor> outputs) {
    if (IsExact(graph_, node)) return;
    for (size_t i = 0; i < outputs.size(); ++i) {
      const DType dtype = graph_.desc(node.outputs[i]).dtype;
      if (IsFloat(dtype)) Disturb(outputs[i], dtype, RoundsWithin(node));
    }
  }

 private:
  void Disturb(HostTensor& tensor, DType dtype, bool by_rows) {
    std::vector<double> values = tensor.ToDoubles();
    const std::vector<double> rows = by_rows ? RowMagnitudes(tensor, values) : std::vector<double>(values.size(), 0.0);
    const double of_sums = kRoundings * std::min(UnitOf(dtype), UnitOf(DType::kF32)) * Largest(values);
    std::uniform_real_distribution<double> uniform(-kNoise, kNoise);
    for (size_t i = 0; i < values.size(); ++i) {
      const double of_storage = RoundingError(dtype, values[i]) + RoundingError(dtype, rows[i]);
      values[i] += uniform(random_) * (of_storage + of_sums);
    }
    tensor.Assign(values);
  }

  const Graph& graph_;
  std::mt19937 random_;
};

double Difference(double expected, double actual) {
  if (expected == actual || (std::isnan(expected) && std::isnan(actual))) return 0;
  const double difference = std::abs(expected - actual);
  return std::isfinite(difference) ? difference : INFINITY;
}

// Whether each value depends on a decision: something discrete made of numbers that rounding moves, as the mask of a ReLU's gradient is.
// The gradients of frameworks (ops/backward.h) take theirs inside.
std::vector<bool> BehindKinks(const Graph& graph) {
  std::vector<bool> behind(graph.values().size());
  for (const Node& node : graph.nodes()) {
    bool any = node.op->name.ends_with(kBackwardSuffix), floats = false;
    for (ValueId v : node.inputs) {
      if (v != kNone) any = any || behind[v], floats = floats || IsFloat(graph.desc(v).dtype);
    }
    for (ValueId v : node.outputs) behind[v] = any || (floats && !IsFloat(graph.desc(v).dtype));
  }
  return behind;
}

// One output's elements against their exact values.
class Comparison {
 public:
  Comparison(const HostTensor& exact, const HostTensor& actual, double arithmetic, bool behind_kink)
      : exact_(exact.ToDoubles()), scale_(Largest(exact_)), excuse_(behind_kink ? kBehindKink : 1), moved_(exact_.size()) {
    const DType dtype = actual.desc().dtype;
    const std::vector<double> got = actual.ToDoubles();
    for (size_t i = 0; i < got.size(); ++i) {
      const double difference = Difference(RoundTo(dtype, exact_[i]), got[i]) == 0 ? 0 : Difference(exact_[i], got[i]);
      error_ = std::max(error_, difference / scale_);
      if (difference == 0) continue;
      const double excess = difference - RoundingError(dtype, exact_[i]) - arithmetic * scale_;
      if (!(excess <= 0)) unexplained_.push_back({i, excess});
    }
  }

  void Excuse(const HostTensor& noisy) {
    const std::vector<double> values = noisy.ToDoubles();
    for (size_t i = 0; i < values.size(); ++i) {
      const double move = Difference(exact_[i], values[i]);
      if (std::isfinite(move)) moved_[i] = std::max(moved_[i], move);
      sensitivity_ = std::max(sensitivity_, moved_[i] / scale_);
    }
    std::erase_if(unexplained_, [&](const Element& e) { return e.excess <= excuse_ * moved_[e.index]; });
  }

  bool right() const { return unexplained_.empty(); }
  bool grossly_wrong() const {
    return std::any_of(unexplained_.begin(), unexplained_.end(), [&](const Element& e) { return !(e.excess <= kGross * sensitivity_ * scale_); });
  }
  double error() const { return error_; }
  double sensitivity() const { return sensitivity_; }

 private:
  struct Element {
    size_t index;
    double excess;  // over what needs no noise
  };

  std::vector<double> exact_;
  double scale_, excuse_, error_ = 0, sensitivity_ = 0;
  std::vector<double> moved_;
  std::vector<Element> unexplained_;
};

}  // namespace

DType JudgedDType(const Graph& graph) {
  std::vector<DType> dtypes;
  for (ValueId input : graph.inputs()) dtypes.push_back(graph.desc(input).dtype);
  for (const NamedValue& output : graph.outputs()) dtypes.push_back(graph.desc(output.value).dtype);
  std::erase_if(dtypes, [](DType dtype) { return !IsFloat(dtype); });
  const auto least = std::max_element(dtypes.begin(), dtypes.end(), [](DType a, DType b) { return UnitOf(a) < UnitOf(b); });
  return least == dtypes.end() ? DType::kF32 : *least;
}

double AllowedError(DType dtype) { return ArithmeticError(dtype) + RoundingError(dtype, 1); }

Judgement Judge(const Graph& graph, std::span<const HostTensor> inputs, std::span<const HostTensor> results, int noisy_runs) {
  const std::vector<HostTensor> exact = InterpretUnrounded(graph, inputs);
  const DType dtype = JudgedDType(graph);
  Judgement judgement{.allowed = AllowedError(dtype)};
  const std::vector<bool> behind = BehindKinks(graph);
  std::vector<Comparison> comparisons;
  for (size_t i = 0; i < exact.size(); ++i) {
    comparisons.emplace_back(exact[i], results[i], ArithmeticError(dtype), behind[graph.outputs()[i].value]);
    if (i == 0 || comparisons[i].error() > judgement.error) judgement.error = comparisons[i].error(), judgement.worst = graph.outputs()[i].name;
  }
  const auto all_right = [&] { return std::all_of(comparisons.begin(), comparisons.end(), [](const Comparison& c) { return c.right(); }); };
  const int at_once = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 16u));
  for (int run = 0; run < noisy_runs && !all_right(); run += at_once) {
    std::vector<std::future<std::vector<HostTensor>>> batch;
    for (int seed = run; seed < std::min(run + at_once, noisy_runs); ++seed) {
      batch.push_back(std::async(std::launch::async, [&, seed] { return InterpretUnrounded(graph, inputs, Noise(graph, seed)); }));
    }
    for (auto& noisy : batch) {
      const std::vector<HostTensor> outputs = noisy.get();
      for (size_t i = 0; i < outputs.size(); ++i) {
        if (!comparisons[i].right()) comparisons[i].Excuse(outputs[i]);
      }
    }
  }
  judgement.right = all_right();
  judgement.decided = judgement.right || noisy_runs >= kNoisyRuns ||
                      std::any_of(comparisons.begin(), comparisons.end(), [](const Comparison& c) { return c.grossly_wrong(); });
  for (const Comparison& c : comparisons) judgement.sensitivity = std::max(judgement.sensitivity, c.sensitivity());
  return judgement;
}

}  // namespace athanor::bench
