#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "jit/prelude.h"
#include "tests/jit/kernel_runner.h"

namespace athanor::testing {
namespace {

// out[i] = v_<function>(in[i]) over whole vectors.
KernelSource UnaryKernel(const std::string& function, DType dtype, Isa isa, int lanes, int64_t n) {
  Prelude prelude(isa, lanes);
  for (const char* helper : {"load", "store"}) prelude.Use(helper, dtype);
  prelude.Use(function, dtype);
  const std::string type(ScalarType(dtype));
  KernelSource source;
  source.text = prelude.Text() + "extern \"C\" void run(char* const* args, long, long, char*) {\n  for (long i = 0; i < " +
                std::to_string(n) + "; i += " + std::to_string(lanes) + ") store((" + type + "*)args[1] + i, v_" + function +
                "(load((const " + type + "*)args[0] + i)));\n}\n";
  source.phases = {{"run", 1}};
  return source;
}

template <typename T>
std::vector<T> Sweep() {
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  std::vector<T> values = {0,
                           T(-0.0),
                           std::numeric_limits<T>::infinity(),
                           -std::numeric_limits<T>::infinity(),
                           std::numeric_limits<T>::quiet_NaN(),
                           std::numeric_limits<T>::denorm_min(),
                           -std::numeric_limits<T>::denorm_min(),
                           std::numeric_limits<T>::min(),
                           std::numeric_limits<T>::max(),
                           std::numeric_limits<T>::lowest()};
  // Every bit pattern at a stride that visits all exponents and mantissas, then the ranges where the functions bend.
  const Bits stride = static_cast<Bits>((sizeof(T) == 4 ? 1.0 : 4294967296.0) * 4099) | 1;
  for (Bits bits = 0, count = 0; count < 1000000; ++count, bits += stride) values.push_back(std::bit_cast<T>(bits));
  for (T bound : {T(1), T(5), T(20), T(110), T(760)}) {
    for (int i = -100000; i <= 100000; ++i) values.push_back(bound * static_cast<T>(i) / T(100003));
  }
  while (values.size() % 16 != 0) values.push_back(1);
  return values;
}

template <typename T>
double UlpError(T got, long double want) {
  const T rounded = static_cast<T>(want);
  if (std::isnan(rounded) || std::isnan(got)) return std::isnan(rounded) && std::isnan(got) ? 0 : INFINITY;
  if (std::isinf(rounded) || std::isinf(got)) {  // an overflow in the last place is one unit off
    const long double limit = std::numeric_limits<T>::max();
    return rounded == got ? 0
           : std::abs(static_cast<long double>(std::isinf(got) ? std::copysign(limit, got) : got) - want) < limit * 1e-6L
               ? 1
               : INFINITY;
  }
  int exponent = std::numeric_limits<T>::min_exponent;
  if (rounded != 0) std::frexp(rounded, &exponent);
  const int least = std::numeric_limits<T>::min_exponent;
  const long double ulp = std::ldexp(1.0L, std::max(exponent, least) - std::numeric_limits<T>::digits);
  return static_cast<double>(std::abs(got - want) / ulp);
}

// `flushes`: zero will do for a denormal, unless vectors are those that AVX-512 scales by an instruction.
template <typename T>
void CheckFunction(const std::string& function, const std::function<long double(long double)>& exact, double bound, bool flushes = false) {
  const DType dtype = sizeof(T) == 4 ? DType::kF32 : DType::kF64;
  static const std::vector<T> inputs = Sweep<T>();
  const auto n = static_cast<int64_t>(inputs.size());
  std::vector<Memory> args;
  for (int i = 0; i < 2; ++i) args.emplace_back(dtype, n);
  std::memcpy(args[0].data(), inputs.data(), n * sizeof(T));
  std::vector<long double> want(n);
  for (int64_t i = 0; i < n; ++i) want[i] = exact(inputs[i]);
  for (const CpuTarget& cpu : Targets()) {
    for (const int element : {4, 8}) {  // the type fills a register, is half of one, or needs two
      const int lanes = cpu.vector_bytes() / element;
      TestKernel kernel(UnaryKernel(function, dtype, cpu.isa, lanes, n), cpu);
      kernel.Run(&args);
      double worst = 0;
      int64_t where = 0;
      for (int64_t i = 0; i < n; ++i) {
        T got;
        std::memcpy(&got, args[1].data() + i * sizeof(T), sizeof(T));
        const bool scaled = cpu.isa == Isa::kAvx512 && lanes * sizeof(T) == 64;
        const bool flushed = flushes && !scaled && got == 0 && std::abs(want[i]) < std::numeric_limits<T>::min();
        const double error = flushed ? 0 : UlpError(got, want[i]);
        if (error > worst || std::isnan(error)) worst = error, where = i;
      }
      T got;
      std::memcpy(&got, args[1].data() + where * sizeof(T), sizeof(T));
      EXPECT_LE(worst, bound) << function << " " << Name(dtype) << " " << Name(cpu.isa) << " x" << lanes << " at "
                              << inputs[where] << ": " << got << " for " << want[where];
      ::testing::Test::RecordProperty(function + std::string(Name(dtype)) + std::string(Name(cpu.isa)) + std::to_string(lanes),
                                      std::to_string(worst));
    }
  }
}

void CheckBoth(const std::string& function, long double (*exact)(long double), double bound, bool flushes = false) {
  CheckFunction<float>(function, [&](long double x) { return exact(x); }, bound, flushes);
  CheckFunction<double>(function, [&](long double x) { return exact(x); }, bound, flushes);
}

TEST(PreludeMath, Exp) {
  CheckBoth("exp", [](long double x) { return std::exp(x); }, 1.1);
}
TEST(PreludeMath, Exp2) {
  CheckBoth("exp2", [](long double x) { return std::exp2(x); }, 1.5, /*flushes=*/true);
}
TEST(PreludeMath, Log) {
  CheckBoth("log", [](long double x) { return std::log(x); }, 1.1);
}
TEST(PreludeMath, Tanh) {
  CheckBoth("tanh", [](long double x) { return std::tanh(x); }, 3);
}
TEST(PreludeMath, Erf) {
  CheckBoth("erf", [](long double x) { return std::erf(x); }, 3);
}
TEST(PreludeMath, Sigmoid) {
  CheckBoth("sigmoid", [](long double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }, 3);
}

KernelSource PowKernel(DType dtype, Isa isa, int lanes, int64_t n) {
  Prelude prelude(isa, lanes);
  for (const char* helper : {"load", "store", "pow"}) prelude.Use(helper, dtype);
  const std::string type(ScalarType(dtype));
  KernelSource source;
  source.text = prelude.Text() + "extern \"C\" void run(char* const* args, long, long, char*) {\n  typedef " + type +
                " T;\n  for (long i = 0; i < " + std::to_string(n) + "; i += " + std::to_string(lanes) +
                ") store((T*)args[2] + i, v_pow(load((const T*)args[0] + i), load((const T*)args[1] + i)));\n}\n";
  source.phases = {{"run", 1}};
  return source;
}

template <typename T>
void CheckPow() {
  const DType dtype = sizeof(T) == 4 ? DType::kF32 : DType::kF64;
  std::vector<T> bases, exponents;
  const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  const T special[] = {0, T(-0.0), 1, -1, 2, -2, 3, -3, T(0.5), T(-0.5), 7, T(2.5), T(1e30), T(1e-30), inf, -inf, nan, 100, -101};
  for (T a : special) {
    for (T b : special) bases.push_back(a), exponents.push_back(b);
  }
  std::mt19937 random(3);
  std::uniform_real_distribution<double> base(0, 20), exponent(-20, 20);
  for (int i = 0; i < 200000; ++i)
    bases.push_back(static_cast<T>(base(random))), exponents.push_back(static_cast<T>(exponent(random)));
  while (bases.size() % 16 != 0) bases.push_back(1), exponents.push_back(1);
  const auto n = static_cast<int64_t>(bases.size());
  std::vector<Memory> args;
  for (int i = 0; i < 3; ++i) args.emplace_back(dtype, n);
  for (int64_t i = 0; i < n; ++i) args[0].Set(i, bases[i]), args[1].Set(i, exponents[i]);
  for (const CpuTarget& cpu : Targets()) {
    TestKernel kernel(PowKernel(dtype, cpu.isa, cpu.vector_bytes() / static_cast<int>(sizeof(T)), n), cpu);
    kernel.Run(&args);
    int failures = 0;
    for (int64_t i = 0; i < n && failures < 10; ++i) {
      const auto got = static_cast<T>(args[2].Get(i));
      const long double want = std::pow(static_cast<long double>(bases[i]), static_cast<long double>(exponents[i]));
      const double size = std::abs(exponents[i] * std::log(std::abs(static_cast<double>(bases[i]))));
      const double bound = sizeof(T) == 4 || !std::isfinite(size) ? 1 : 2 + 2 * size;
      if (UlpError(got, want) <= bound) continue;
      ADD_FAILURE() << Name(cpu.isa) << " pow(" << bases[i] << ", " << exponents[i] << ") is " << got << ", expected " << want;
      ++failures;
    }
  }
}

TEST(PreludeMath, Pow) {
  CheckPow<float>();
  CheckPow<double>();
}

}  // namespace
}  // namespace athanor::testing
