#include "tuner/tuner.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>

#include "jit/module.h"
#include "ops/error.h"

namespace athanor {
namespace {

using Clock = std::chrono::steady_clock;
double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

constexpr double kLeastBand = 0.02, kMostBand = 0.08;
constexpr int kRounds = 5;

// Memory of a kernel's arguments, 64-byte aligned.
class Buffer {
 public:
  explicit Buffer(int64_t bytes) : bytes_(bytes), memory_(new (std::align_val_t(64)) char[bytes + 64]) {}
  ~Buffer() { operator delete[](memory_, std::align_val_t(64)); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  char* data() { return memory_; }
  int64_t bytes() const { return bytes_; }

 private:
  int64_t bytes_;
  char* memory_;
};

template <typename T>
void Fill(Buffer& buffer, std::mt19937& random) {
  std::uniform_real_distribution<T> uniform(T(0.1), T(1));
  for (int64_t i = 0; i < buffer.bytes() / static_cast<int64_t>(sizeof(T)); ++i) reinterpret_cast<T*>(buffer.data())[i] = uniform(random);
}

// Random positive floats (a variance or a norm stays one); zeros for everything else, which are valid indices.
std::unique_ptr<Buffer> MakeArgument(const KernelArg& arg, std::mt19937& random) {
  auto buffer = std::make_unique<Buffer>(arg.elements * SizeOf(arg.dtype));
  std::memset(buffer->data(), 0, buffer->bytes());
  if (arg.dtype == DType::kF32) Fill<float>(*buffer, random);
  if (arg.dtype == DType::kF64) Fill<double>(*buffer, random);
  return buffer;
}

// The best times of a kernel whose arguments lie in the caches, and in memory: in a program the truth is between the two.
struct Times {
  double warm = 1e30, cold = 1e30;
};

class Candidate {
 public:
  Candidate(const KernelSource& source, const Image& image) : module_(image, "candidate"), scratch_(source.scratch_bytes) {
    for (const KernelSource::Phase& phase : source.phases) phases_.emplace_back(module_.Get<KernelFn>(phase.symbol), phase.tasks);
    for (int64_t bytes : source.temporary_bytes) temporaries_.push_back(std::make_unique<Buffer>(bytes));
  }

  double Run(const std::vector<std::unique_ptr<Buffer>>& arguments) {
    std::vector<char*> args;
    for (const auto& argument : arguments) args.push_back(argument->data());
    for (const auto& temporary : temporaries_) args.push_back(temporary->data());
    const auto start = Clock::now();
    for (const auto& [run, tasks] : phases_) {
      if (tasks > 0) run(args.data(), 0, tasks, scratch_.data());
    }
    return SecondsSince(start);
  }

 private:
  Module module_;
  Buffer scratch_;
  std::vector<std::pair<KernelFn*, int64_t>> phases_;
  std::vector<std::unique_ptr<Buffer>> temporaries_;
};

template <typename T>
double Difference(const Buffer& expected, Buffer& actual) {
  const T* e = reinterpret_cast<const T*>(const_cast<Buffer&>(expected).data());
  const T* a = reinterpret_cast<const T*>(actual.data());
  double scale = 1e-30, worst = 0;
  for (int64_t i = 0; i < expected.bytes() / static_cast<int64_t>(sizeof(T)); ++i) {
    const double expect = e[i], got = a[i];
    if (std::isfinite(expect)) scale = std::max(scale, std::abs(expect));
    if (expect == got || (std::isnan(expect) && std::isnan(got))) continue;
    if (!std::isfinite(expect) || !std::isfinite(got)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, std::abs(expect - got));
  }
  return worst / scale;
}

class Session {
 public:
  Session(const KernelPlan& plan, const CpuTarget& cpu, Compiler& compiler, const Generator& generate)
      : plan_(plan), cpu_(cpu), compiler_(compiler), generate_(generate), sweep_(cpu.l3_bytes / sizeof(double)) {
    std::mt19937 random(1);
    for (const KernelArg& arg : plan.args) arguments_.push_back(MakeArgument(arg, random)), initial_.push_back(MakeArgument(arg, random));
    for (size_t i = 0; i < arguments_.size(); ++i) std::memcpy(initial_[i]->data(), arguments_[i]->data(), arguments_[i]->bytes());
  }

  std::unique_ptr<Candidate> Build(const Schedule& schedule) {
    const KernelSource source = generate_(plan_, schedule, cpu_);
    return std::make_unique<Candidate>(source, compiler_.Compile(source, "candidate"));
  }

  // One run from the initial contents; later ones may see what earlier ones wrote.
  void RunFresh(Candidate& candidate) {
    for (size_t i = 0; i < arguments_.size(); ++i) std::memcpy(arguments_[i]->data(), initial_[i]->data(), initial_[i]->bytes());
    candidate.Run(arguments_);
  }

  void KeepAsExpected() {
    expected_.clear();
    for (size_t i = 0; i < arguments_.size(); ++i) {
      expected_.push_back(std::make_unique<Buffer>(arguments_[i]->bytes()));
      std::memcpy(expected_[i]->data(), arguments_[i]->data(), arguments_[i]->bytes());
    }
  }

  // Empty, or how the written arguments differ from the expected ones.
  std::string Wrong() {
    for (size_t i = 0; i < arguments_.size(); ++i) {
      const DType dtype = plan_.args[i].dtype;
      if (!plan_.args[i].written || (dtype != DType::kF32 && dtype != DType::kF64)) continue;
      const double error = dtype == DType::kF32 ? Difference<float>(*expected_[i], *arguments_[i]) : Difference<double>(*expected_[i], *arguments_[i]);
      if (!(error <= (dtype == DType::kF32 ? 1e-4 : 1e-10))) return fmt::format("argument {} is off by {:.1e}", i, error);
    }
    return "";
  }

  void Measure(Candidate& candidate, Times* times) {
    for (size_t i = 0; i < sweep_.size(); i += 8) sweep_[i] += 1;  // takes the caches
    times->cold = std::min(times->cold, candidate.Run(arguments_));
    times->warm = std::min(times->warm, candidate.Run(arguments_));
  }

 private:
  const KernelPlan& plan_;
  const CpuTarget& cpu_;
  Compiler& compiler_;
  const Generator& generate_;
  std::vector<std::unique_ptr<Buffer>> arguments_, initial_, expected_;
  std::vector<double> sweep_;
};

}  // namespace

TuneResult Tune(const KernelPlan& plan, const std::vector<Schedule>& space, const CpuTarget& cpu, Compiler& compiler, double seconds,
                const Generator& generate) {
  ATHANOR_CHECK(!space.empty());
  const auto start = Clock::now();
  Session session(plan, cpu, compiler, generate);
  const std::unique_ptr<Candidate> incumbent = session.Build(space[0]);
  session.RunFresh(*incumbent);
  session.KeepAsExpected();

  TuneResult result{space[0]};
  std::vector<double> incumbent_times, ratios = {1.0};        // of each candidate's time to the incumbent's beside it
  std::vector<size_t> candidates = {0};
  for (size_t i = 1; i < space.size() && SecondsSince(start) < seconds; ++i) {
    try {
      const std::unique_ptr<Candidate> candidate = session.Build(space[i]);
      session.RunFresh(*candidate);
      if (std::string why = session.Wrong(); !why.empty()) {
        result.quarantined.push_back(ToString(space[i]) + ": " + why);
        continue;
      }
      Times own, other;
      for (int round = 0; round < kRounds; ++round) {
        session.Measure(*incumbent, &other);
        session.Measure(*candidate, &own);
        if (round == 1 && own.warm > 1.5 * other.warm) break;  // hopeless
      }
      incumbent_times.push_back(other.warm);
      ratios.push_back(std::max(own.warm / other.warm, own.cold / other.cold));  // only what wins in both is worth having
      candidates.push_back(i);
    } catch (const InternalError& error) {
      result.quarantined.push_back(ToString(space[i]) + ": " + error.what());
    }
  }
  if (incumbent_times.empty()) {
    Times times;
    session.Measure(*incumbent, &times);
    incumbent_times.push_back(times.warm);
  }
  result.measured = static_cast<int>(candidates.size());
  std::sort(incumbent_times.begin(), incumbent_times.end());
  const double fastest = incumbent_times.front(), median = incumbent_times[incumbent_times.size() / 2];
  result.band = std::clamp(median / fastest - 1, kLeastBand, kMostBand);
  const double best = *std::min_element(ratios.begin(), ratios.end());
  for (size_t c = 0; c < candidates.size(); ++c) {
    if (ratios[c] > best * (1 + result.band)) continue;
    result.best = space[candidates[c]];
    result.best_ms = 1e3 * fastest * ratios[c];
    break;
  }
  result.heuristic_ms = 1e3 * fastest;
  return result;
}

}  // namespace athanor
