#include "jit/microkernel.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "jit/compiler.h"

namespace athanor {
namespace {

enum class Maker { kCpp, kAsmjit };

template <typename T>
class Runner {
 public:
  Runner(const Microkernel& kernel, const CpuTarget& cpu, Maker maker) : kernel_(kernel), lanes_(cpu.vector_bytes() / static_cast<int>(sizeof(T))) {
    Prelude prelude(cpu, lanes_);
    SourceWriter out;
    made_ = true;
    if (maker == Maker::kAsmjit) made_ = WriteMicrokernelAsmjit(kernel, &prelude, &out);
    else WriteMicrokernelCpp(kernel, &prelude, &out);
    if (!made_) return;
    out.Open("extern \"C\" void call(const {0}* a, const {0}* b, {0}* c, long k, long first)", ScalarType(kernel.dtype));
    out.Line("{}(a, b, c, k, first);", kernel.name);
    out.Close();
    KernelSource source;
    source.text = prelude.Text() + out.text();
    module_ = std::make_unique<Module>(MakeClangCompiler(cpu)->Compile(source, "microkernel"), "microkernel");
  }

  bool made() const { return made_; }

  void Check(long k, bool first) {
    std::mt19937 random(static_cast<uint32_t>(k + 1));
    std::uniform_real_distribution<T> uniform(-1, 1);
    auto fill = [&](int64_t n) {
      std::vector<T> values(n);
      for (T& value : values) value = uniform(random);
      return values;
    };
    const int columns = kernel_.nv == 0 ? 1 : kernel_.nv * lanes_, live = kernel_.b_tail > 0 ? columns - lanes_ + static_cast<int>(kernel_.b_tail) : columns;
    const std::vector<T> a = fill(kernel_.mr * kernel_.a_row + k * kernel_.a_step + 1), b = fill(k * kernel_.b_step + live);
    std::vector<T> c = fill(kernel_.mr * kernel_.c_row + columns);
    const std::vector<T> before = c;
    module_->Get<void(const T*, const T*, T*, long, long)>("call")(a.data(), b.data(), c.data(), k, first);
    for (int i = 0; i < kernel_.mr; ++i) {
      for (int j = 0; j < live; ++j) {
        double expected = first ? 0 : before[i * kernel_.c_row + j];
        for (long p = 0; p < k; ++p) expected += static_cast<double>(a[i * kernel_.a_row + p * kernel_.a_step]) * b[p * kernel_.b_step + j];
        ASSERT_NEAR(c[i * kernel_.c_row + j], expected, (k + 1) * (sizeof(T) == 4 ? 1e-6 : 1e-14)) << i << ", " << j << ", k " << k;
      }
    }
  }

 private:
  Microkernel kernel_;
  int lanes_;
  bool made_ = false;
  std::unique_ptr<Module> module_;
};

template <typename T>
void CheckTiles(Isa isa, Maker maker, std::initializer_list<std::pair<int, int>> tiles) {
  const CpuTarget cpu = Restrict(DetectCpu(), isa);
  const int lanes = cpu.vector_bytes() / static_cast<int>(sizeof(T));
  for (auto [mr, nv] : tiles) {
    for (bool panels : {false, true}) {
      for (int64_t tail : {int64_t{0}, int64_t{1}, static_cast<int64_t>(lanes) - 1}) {
        Microkernel kernel;
        kernel.name = "tile";
        kernel.dtype = sizeof(T) == 4 ? DType::kF32 : DType::kF64;
        kernel.mr = mr, kernel.nv = nv;
        kernel.a_row = panels ? 1 : 37, kernel.a_step = panels ? 16 : 1;
        kernel.b_step = nv * lanes + 3, kernel.b_tail = tail, kernel.c_row = nv * lanes + 5;
        Runner<T> runner(kernel, cpu, maker);
        ASSERT_TRUE(runner.made() || (maker == Maker::kAsmjit && tail > 0 && isa == Isa::kAvx2));
        if (!runner.made()) continue;
        for (long k : {0, 1, 3, 4, 5, 33}) {
          runner.Check(k, true);
          runner.Check(k, false);
        }
      }
    }
  }
}

template <typename T>
void CheckAlongK(Isa isa, Maker maker) {
  const CpuTarget cpu = Restrict(DetectCpu(), isa);
  for (int mr : {8, 5, 1}) {
    Microkernel kernel;
    kernel.name = "tile";
    kernel.dtype = sizeof(T) == 4 ? DType::kF32 : DType::kF64;
    kernel.mr = mr, kernel.nv = 0, kernel.a_row = 101, kernel.b_step = 1, kernel.c_row = 3;
    Runner<T> runner(kernel, cpu, maker);
    ASSERT_EQ(runner.made(), maker == Maker::kCpp || isa == Isa::kAvx512);
    if (!runner.made()) continue;
    for (long k : {0, 1, 7, 8, 16, 31, 100}) {
      runner.Check(k, true);
      runner.Check(k, false);
    }
  }
}

TEST(Microkernel, AlongK) {
  for (Isa isa : {Isa::kAvx2, Isa::kAvx512}) {
    if (DetectCpu().isa != Isa::kAvx512 && isa == Isa::kAvx512) continue;
    for (Maker maker : {Maker::kCpp, Maker::kAsmjit}) {
      CheckAlongK<float>(isa, maker);
      CheckAlongK<double>(isa, maker);
    }
  }
}

TEST(Microkernel, Avx512) {
  if (DetectCpu().isa != Isa::kAvx512) GTEST_SKIP() << "no AVX-512 here";
  for (Maker maker : {Maker::kCpp, Maker::kAsmjit}) {
    CheckTiles<float>(Isa::kAvx512, maker, {{8, 3}, {1, 1}, {6, 4}, {14, 2}, {7, 2}});
    CheckTiles<double>(Isa::kAvx512, maker, {{8, 3}, {5, 1}});
  }
}

TEST(Microkernel, Avx2) {
  for (Maker maker : {Maker::kCpp, Maker::kAsmjit}) {
    CheckTiles<float>(Isa::kAvx2, maker, {{4, 2}, {1, 1}, {6, 2}, {4, 3}});
    CheckTiles<double>(Isa::kAvx2, maker, {{4, 2}, {3, 1}});
  }
}

TEST(Microkernel, TooWideStridesAreNotMadeByAsmjit) {
  Microkernel kernel;
  kernel.name = "tile";
  kernel.a_row = int64_t{1} << 31, kernel.b_step = 48, kernel.c_row = 48;
  Prelude prelude(Isa::kAvx512, 16);
  SourceWriter out;
  EXPECT_FALSE(WriteMicrokernelAsmjit(kernel, &prelude, &out));
  EXPECT_TRUE(out.text().empty());
}

}  // namespace
}  // namespace athanor
