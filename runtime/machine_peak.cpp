#include "runtime/machine_peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "jit/target.h"

namespace athanor {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Independent chains of fused multiply-adds, as many as the two FMA units need to stay busy; returns the operations done.
#define ATHANOR_FMA_LOOP(name, feature, type, bytes, chains)                                         \
  __attribute__((target(feature), noinline)) double name(long rounds) {                             \
    typedef type V __attribute__((vector_size(bytes)));                                             \
    V sum[chains] = {}, a = V{} + type(0.999), b = V{} + type(1e-3);                                \
    for (int i = 0; i < chains; ++i) asm volatile("" : "+v"(sum[i])); /* equal chains would be merged */ \
    for (long r = 0; r < rounds; ++r) {                                                              \
      _Pragma("GCC unroll 16") for (int i = 0; i < chains; ++i) sum[i] = sum[i] * a + b;            \
      asm volatile("" : "+v"(a), "+v"(b));                                                          \
    }                                                                                                \
    for (int i = 0; i < chains; ++i) asm volatile("" ::"v"(sum[i]));                                \
    return 2.0 * chains * (bytes / sizeof(type)) * static_cast<double>(rounds);                      \
  }
ATHANOR_FMA_LOOP(FmaF32Avx512, "avx512f", float, 64, 16)
ATHANOR_FMA_LOOP(FmaF64Avx512, "avx512f", double, 64, 16)
ATHANOR_FMA_LOOP(FmaF32Avx2, "avx2,fma", float, 32, 12)
ATHANOR_FMA_LOOP(FmaF64Avx2, "avx2,fma", double, 32, 12)

// The same with sums of two products of bf16 in each of 16 lanes. Assembly, because compilers disagree on the builtin's types.
__attribute__((target("avx512f"), noinline)) double DotBf16Avx512(long rounds) {
  typedef float V __attribute__((vector_size(64)));
  constexpr int kChains = 16;
  V sum[kChains] = {}, a = V{} + 0.999f, b = V{} + 1e-3f;
  for (long r = 0; r < rounds; ++r) {
    _Pragma("GCC unroll 16") for (int i = 0; i < kChains; ++i) asm volatile("vdpbf16ps %2, %1, %0" : "+v"(sum[i]) : "v"(a), "v"(b));
  }
  return 4.0 * kChains * 16 * static_cast<double>(rounds);
}

__attribute__((target("avx2"), noinline)) double ReadAll(const std::vector<double>& memory) {
  typedef double V __attribute__((vector_size(32)));
  V sum[8] = {};
  const V* data = reinterpret_cast<const V*>(memory.data());
  for (size_t i = 0; i + 8 <= memory.size() / 4; i += 8) {
    for (int k = 0; k < 8; ++k) sum[k] += data[i + k];
  }
  for (const V& part : sum) asm volatile("" ::"x"(part));
  return static_cast<double>(memory.size() * sizeof(double));
}

// Work per second of all threads together, the best of several short rounds.
template <typename Work>
double Rate(int threads, double seconds, const Work& work) {
  double best = 0;
  for (const auto start = Clock::now(); SecondsSince(start) < seconds;) {
    std::atomic<int> waiting{threads};
    std::vector<double> rates(threads);
    std::vector<std::thread> others;
    auto run = [&](int t) {
      --waiting;
      while (waiting > 0) std::this_thread::yield();
      const auto begin = Clock::now();
      rates[t] = work(t) / SecondsSince(begin);
    };
    for (int t = 1; t < threads; ++t) others.emplace_back(run, t);
    run(0);
    for (std::thread& other : others) other.join();
    double sum = 0;
    for (double rate : rates) sum += rate;
    best = std::max(best, sum);
  }
  return best;
}

}  // namespace

MachinePeak MeasurePeak(int threads, double seconds) {
  const bool wide = DetectCpu().isa == Isa::kAvx512, dot_bf16 = wide && __builtin_cpu_supports("avx512bf16");
  constexpr long kRounds = 400000;
  MachinePeak peak;
  peak.gflops_f32 = 1e-9 * Rate(threads, seconds, [&](int) { return wide ? FmaF32Avx512(kRounds) : FmaF32Avx2(kRounds); });
  peak.gflops_f64 = 1e-9 * Rate(threads, seconds, [&](int) { return wide ? FmaF64Avx512(kRounds) : FmaF64Avx2(kRounds); });
  peak.gflops_bf16 = dot_bf16 ? 1e-9 * Rate(threads, seconds, [&](int) { return DotBf16Avx512(kRounds); }) : peak.gflops_f32;
  std::vector<std::vector<double>> memory(threads, std::vector<double>((256 << 20) / sizeof(double) / threads, 1.0));
  peak.read_gbs = 1e-9 * Rate(threads, 2 * seconds, [&](int t) { return ReadAll(memory[t]); });
  return peak;
}

}  // namespace athanor
