#include "tuner/tuner.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <exception>
#include <limits>
#include <memory>
#include <random>

#include <sys/mman.h>
#include <unistd.h>

#include "jit/module.h"
#include "ops/error.h"
#include "ops/host_tensor.h"
#include "tuner/trial.h"

namespace athanor {
namespace {

using Clock = std::chrono::steady_clock;
double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

constexpr double kLeastBand = 0.02, kMostBand = 0.08;
constexpr int kRounds = 5;
// Processor time of a trial: of the incumbent, and of a candidate, that at least and that many times the incumbent's.
constexpr double kIncumbentSeconds = 120, kLeastSeconds = 1, kTimesIncumbent = 20;

// Memory of a kernel's arguments, 64-byte aligned.
class Buffer {
 public:
  explicit Buffer(int64_t bytes) : bytes_(bytes), memory_(new (std::align_val_t(64)) char[bytes + 64]) {}
  ~Buffer() {
    Advise(MADV_DOFORK);
    operator delete[](memory_, std::align_val_t(64));
  }
  // Keeps its whole pages out of forked processes: forking is cheaper, and writing here afterwards copies nothing.
  void Hide() { Advise(MADV_DONTFORK); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  char* data() { return memory_; }
  int64_t bytes() const { return bytes_; }

 private:
  void Advise(int advice) {
    const uintptr_t page = sysconf(_SC_PAGESIZE), first = reinterpret_cast<uintptr_t>(memory_);
    const uintptr_t begin = (first + page - 1) / page * page, end = (first + bytes_) / page * page;
    if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, advice);
  }

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
  if (arg.dtype == DType::kBF16 || arg.dtype == DType::kF16) {
    HostTensor values(arg.dtype, {arg.elements});
    std::uniform_real_distribution<double> uniform(0.1, 1);
    for (int64_t i = 0; i < arg.elements; ++i) values.Set(i, uniform(random));
    std::memcpy(buffer->data(), values.data(), values.bytes());
  }
  return buffer;
}

// The best times of a kernel whose arguments lie in the caches, and in memory: in a program the truth is between the two.
struct Times {
  double warm = 1e30, cold = 1e30;
};

class Candidate {
 public:
  Candidate(const KernelSource& source, const Image& image, const TuneWorkers& workers)
      : workers_(workers), module_(image, "candidate"), scratch_stride_((source.scratch_bytes + 4095) / 4096 * 4096 + 64),
        scratch_(scratch_stride_ * workers.threads) {
    for (const KernelSource::Phase& phase : source.phases) phases_.emplace_back(module_.Get<KernelFn>(phase.symbol), phase.tasks);
    for (int64_t bytes : source.temporary_bytes) temporaries_.push_back(std::make_unique<Buffer>(bytes));
  }

  // The pointers a run takes: those of `arguments`, then its own temporaries.
  template <typename Memory>
  std::vector<char*> Pointers(const std::vector<std::unique_ptr<Memory>>& arguments) const {
    std::vector<char*> pointers;
    for (const auto& argument : arguments) pointers.push_back(argument->data());
    for (const auto& temporary : temporaries_) pointers.push_back(temporary->data());
    return pointers;
  }

  // With one thread and without touching the heap.
  void RunAlone(char* const* args) {
    for (const auto& [run, tasks] : phases_) {
      if (tasks > 0) run(args, 0, tasks, scratch_.data());
    }
  }

  // Seconds with all workers.
  double Run(char* const* args) {
    const auto start = Clock::now();
    for (const auto& [run, tasks] : phases_) {
      Job job{run, args, scratch_.data(), scratch_stride_};
      if (tasks > 0) workers_.parallel_for(tasks, RunTasks, &job);
    }
    return SecondsSince(start);
  }

 private:
  struct Job {
    KernelFn* run;
    char* const* args;
    char* scratch;
    int64_t scratch_stride;
  };
  static void RunTasks(void* context, int64_t begin, int64_t end, int worker) {
    const Job& job = *static_cast<const Job*>(context);
    job.run(job.args, begin, end, job.scratch + worker * job.scratch_stride);
  }

  const TuneWorkers& workers_;
  Module module_;
  int64_t scratch_stride_;
  Buffer scratch_;
  std::vector<std::pair<KernelFn*, int64_t>> phases_;
  std::vector<std::unique_ptr<Buffer>> temporaries_;
};

template <typename T>
double Difference(const char* expected, const char* actual, int64_t elements) {
  const T* e = reinterpret_cast<const T*>(expected);
  const T* a = reinterpret_cast<const T*>(actual);
  double scale = 1e-30, worst = 0;
  for (int64_t i = 0; i < elements; ++i) {
    const double expect = e[i], got = a[i];
    if (std::isfinite(expect)) scale = std::max(scale, std::abs(expect));
    if (expect == got || (std::isnan(expect) && std::isnan(got))) continue;
    if (!std::isfinite(expect) || !std::isfinite(got)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, std::abs(expect - got));
  }
  return worst / scale;
}

HostTensor Copy(DType dtype, const char* data, int64_t elements) {
  HostTensor tensor(dtype, {elements});
  std::memcpy(tensor.data(), data, tensor.bytes());
  return tensor;
}

// The largest difference, relative to the largest magnitude expected; integers are the same or infinitely wrong.
double Difference(DType dtype, const char* expected, const char* actual, int64_t elements) {
  switch (dtype) {
    case DType::kF32: return Difference<float>(expected, actual, elements);
    case DType::kF64: return Difference<double>(expected, actual, elements);
    case DType::kBF16:
    case DType::kF16: return RelativeError(Copy(dtype, expected, elements), Copy(dtype, actual, elements));
    default: return std::memcmp(expected, actual, elements * SizeOf(dtype)) == 0 ? 0 : std::numeric_limits<double>::infinity();
  }
}

// What another order of summation may change.
double Allowed(DType dtype) {
  switch (dtype) {
    case DType::kF32: return 1e-4;
    case DType::kF64: return 1e-10;
    case DType::kBF16: return 2e-2;                          // two roundings to 8 bits
    case DType::kF16: return 2e-3;
    default: return 0;
  }
}

class Session {
 public:
  Session(const KernelPlan& plan, const CpuTarget& cpu, Compiler& compiler, const Generator& generate, const TuneWorkers& workers)
      : plan_(plan), cpu_(cpu), compiler_(compiler), generate_(generate), workers_(workers), sweep_(cpu.l3_bytes) {
    std::mt19937 random(1);
    for (const KernelArg& arg : plan.args) {
      arguments_.push_back(MakeArgument(arg, random));
      trial_.push_back(std::make_unique<SharedBuffer>(arguments_.back()->bytes()));
      initial_.push_back(std::make_unique<Buffer>(arguments_.back()->bytes()));
      std::memcpy(initial_.back()->data(), arguments_.back()->data(), arguments_.back()->bytes());
      arguments_.back()->Hide(), initial_.back()->Hide();
    }
    sweep_.Hide();
  }

  std::unique_ptr<Candidate> Build(const Schedule& schedule) {
    const KernelSource source = generate_(plan_, schedule, cpu_);
    return std::make_unique<Candidate>(source, compiler_.Compile(source, "candidate"), workers_);
  }

  // One run from the initial contents, in a process of its own. Empty, or what went wrong with it.
  std::string TryFresh(Candidate& candidate, double cpu_seconds) {
    for (size_t i = 0; i < trial_.size(); ++i) std::memcpy(trial_[i]->data(), initial_[i]->data(), initial_[i]->bytes());
    const std::vector<char*> args = candidate.Pointers(trial_);
    return Try([&] { candidate.RunAlone(args.data()); }, cpu_seconds);
  }

  void KeepAsExpected() {
    for (size_t i = 0; i < trial_.size(); ++i) {
      expected_.push_back(std::make_unique<Buffer>(plan_.args[i].written ? trial_[i]->bytes() : 0));
      std::memcpy(expected_[i]->data(), trial_[i]->data(), expected_[i]->bytes());
      expected_[i]->Hide();
    }
  }

  // Empty, or how what the last trial wrote differs from the expected.
  std::string Wrong() {
    for (size_t i = 0; i < trial_.size(); ++i) {
      const KernelArg& arg = plan_.args[i];
      if (!arg.written) continue;
      const double error = Difference(arg.dtype, expected_[i]->data(), trial_[i]->data(), arg.elements);
      if (!(error <= Allowed(arg.dtype))) return fmt::format("wrong: argument {} is off by {:.1e}", i, error);
    }
    return "";
  }

  void Measure(Candidate& candidate, Times* times) {
    for (int64_t i = 0; i < sweep_.bytes(); i += 64) sweep_.data()[i] += 1;  // takes the caches
    const std::vector<char*> args = candidate.Pointers(arguments_);
    times->cold = std::min(times->cold, candidate.Run(args.data()));
    times->warm = std::min(times->warm, candidate.Run(args.data()));
  }

 private:
  const KernelPlan& plan_;
  const CpuTarget& cpu_;
  Compiler& compiler_;
  const Generator& generate_;
  const TuneWorkers& workers_;
  std::vector<std::unique_ptr<Buffer>> arguments_, initial_, expected_;
  std::vector<std::unique_ptr<SharedBuffer>> trial_;
  Buffer sweep_;
};

}  // namespace

TuneResult Tune(const KernelPlan& plan, const std::vector<Schedule>& space, const CpuTarget& cpu, Compiler& compiler, double seconds,
                const Generator& generate, const TuneWorkers& workers) {
  ATHANOR_CHECK(!space.empty());
  const auto start = Clock::now();
  Session session(plan, cpu, compiler, generate, workers);
  TuneResult result{space[0]};
  const std::unique_ptr<Candidate> incumbent = session.Build(space[0]);
  const auto trial = Clock::now();
  if (std::string why = session.TryFresh(*incumbent, kIncumbentSeconds); !why.empty()) {
    result.quarantined.push_back(ToString(space[0]) + ": " + why);
    return result;
  }
  const double cpu_seconds = std::max(kLeastSeconds, kTimesIncumbent * SecondsSince(trial));
  session.KeepAsExpected();

  std::vector<double> incumbent_times, ratios = {1.0};        // of each candidate's time to the incumbent's beside it
  std::vector<size_t> candidates = {0};
  for (size_t i = 1; i < space.size() && SecondsSince(start) < seconds; ++i) {
    const auto quarantine = [&](std::string_view why) { result.quarantined.push_back(fmt::format("{}: {}", ToString(space[i]), why)); };
    try {
      const std::unique_ptr<Candidate> candidate = session.Build(space[i]);
      std::string why = session.TryFresh(*candidate, cpu_seconds);
      if (why.empty()) why = session.Wrong();
      if (!why.empty()) {
        quarantine(why);
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
    } catch (const std::exception& error) {
      quarantine(error.what());
    } catch (...) {
      quarantine("threw something that is no std::exception");
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
