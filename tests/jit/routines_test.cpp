#include "jit/routines.h"

#include <gtest/gtest.h>

#include <numeric>
#include <thread>
#include <vector>

#include "jit/machine_code.h"
#include "jit/prelude.h"
#include "ops/error.h"
#include "tests/jit/kernel_runner.h"

namespace athanor {
namespace {

using testing::CompilerFor;
using testing::Targets;

TEST(Routines, AreTakenOutOfTheSource) {
  std::string text = "int before;\nROUTINE void f_f32(float* a, long n) {\n  if (n) {\n  }\n}\n// note\nROUTINE void g() {\n}\nint behind() {\n}\n";
  const std::vector<Routine> routines = TakeRoutines(&text);
  ASSERT_EQ(routines.size(), 2u);
  EXPECT_EQ(routines[0].name, "f_f32");
  EXPECT_EQ(routines[0].definition, "extern \"C\" void f_f32(float* a, long n) {\n  if (n) {\n  }\n}\n");
  EXPECT_EQ(routines[1].name, "g");
  EXPECT_EQ(routines[1].prelude, "int before;\n");
  EXPECT_EQ(text, "int before;\nextern \"C\" void f_f32(float* a, long n);\n// note\nextern \"C\" void g();\nint behind() {\n}\n");
  EXPECT_TRUE(TakeRoutines(&text).empty());
}

TEST(Routines, OfOneNameAreNumbered) {
  Prelude prelude(Isa::kAvx2, 8);
  const std::string one = "ROUTINE void $NAME(long n) {\n}\n", two = "// two\nROUTINE void $NAME(int n) {\n}\n";
  EXPECT_EQ(prelude.AddRoutine("f", one), "f");
  EXPECT_EQ(prelude.AddRoutine("f", two), "f_2");
  EXPECT_EQ(prelude.AddRoutine("f", one), "f");
  EXPECT_EQ(prelude.AddRoutine("f", two), "f_2");
  const std::string text = prelude.Text();
  EXPECT_TRUE(text.ends_with("ROUTINE void f(long n) {\n}\n// two\nROUTINE void f_2(int n) {\n}\n"));
  EXPECT_NE(text.find("#define ROUTINE"), std::string::npos);
}

TEST(MachineCode, IsTakenOutOfTheSource) {
  std::vector<uint8_t> bytes(100);
  std::iota(bytes.begin(), bytes.end(), 150);                // through 255 to 0
  SourceWriter out;
  out.Line("int before;");
  WriteMachineCode({"tile", bytes}, &out);
  out.Line("int between;");
  WriteMachineCode({"tile_m", {195}}, &out);
  std::string text = out.text();
  const std::vector<MachineCode> codes = TakeMachineCode(&text);
  ASSERT_EQ(codes.size(), 2u);
  EXPECT_EQ(codes[0].name, "tile");
  EXPECT_EQ(codes[0].bytes, bytes);
  EXPECT_EQ(codes[1].name, "tile_m");
  EXPECT_EQ(codes[1].bytes, std::vector<uint8_t>{195});
  EXPECT_EQ(text, "int before;\nint between;\n");
}

// Kernels of two threads that want the same routine, which reads a constant, at once.
TEST(Routines, AreSharedByKernels) {
  const std::unique_ptr<Compiler> compiler = MakeClangCompiler(DetectCpu());
  std::vector<int> right(4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      KernelSource source;
      source.text = "#define ROUTINE static __attribute__((noinline))\n\nROUTINE double root(double x) {\n  return x * 1.25;\n}\n";
      source.text += fmt::format("extern \"C\" double f(double x) {{ return root(x) + {}; }}\n", t);
      Module module(compiler->Compile(source, "f"), "f");
      right[t] = module.Get<double(double)>("f")(4) == 5 + t;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, std::vector<int>(4, 1));
}

TEST(Routines, ThatDoNotCompileAreNamed) {
  KernelSource source;
  source.text = "#define ROUTINE static __attribute__((noinline))\n\nROUTINE int wrong(int x) {\n  return y;\n}\nextern \"C\" int f(int x) { return wrong(x); }\n";
  const std::unique_ptr<Compiler> compiler = MakeClangCompiler(DetectCpu());
  for (int again = 0; again < 2; ++again) {
    try {
      compiler->Compile(source, "f");
      FAIL() << "accepted";
    } catch (const InternalError& error) {
      EXPECT_NE(std::string(error.what()).find("wrong"), std::string::npos) << error.what();
    }
  }
}

// The copies of the prelude against loops over elements, in whole and in odd sizes.
template <typename T>
class Copies {
 public:
  explicit Copies(const CpuTarget& cpu) : lanes_(cpu.vector_bytes() / static_cast<int>(sizeof(T))) {
    const DType dtype = sizeof(T) == 4 ? DType::kF32 : DType::kF64;
    Prelude prelude(cpu, lanes_);
    std::string calls;
    for (const char* name : {"copy_rows", "copy_squares", "pack_rows", "pack_squares"}) {
      prelude.Use(name, dtype);
      const bool packs = std::string_view(name).starts_with("pack");
      const char* arguments = packs ? "from, row, rows, columns, to, to_row, stride" : "from, row, to, to_row, rows, columns";
      calls += fmt::format("extern \"C\" void call_{0}(const {1}* from, long row, long rows, long columns, {1}* to, long to_row, long stride) {{ {0}_{2}({3}); }}\n",
                           name, ScalarType(dtype), Name(dtype), arguments);
    }
    KernelSource source;
    source.text = prelude.Text() + calls;
    module_ = std::make_unique<Module>(CompilerFor(cpu).Compile(source, "copies"), "copies");
  }

  void Check(long rows, long columns) {
    const long row = columns + lanes_ + 3, panel = 2 * lanes_;
    std::vector<T> from(rows * row + lanes_);
    std::iota(from.begin(), from.end(), T(1));
    const auto run = [&](const char* name, long size, long to_row, long stride, const auto& expected) {
      std::vector<T> to(size + lanes_, T(-1)), right = to;
      expected(&right);
      module_->Get<void(const T*, long, long, long, T*, long, long)>(name)(from.data(), row, rows, columns, to.data(), to_row, stride);
      EXPECT_EQ(to, right) << name << " " << rows << " x " << columns;
    };
    const auto each = [&](const auto& element) {
      for (long i = 0; i < rows; ++i) {
        for (long j = 0; j < columns; ++j) element(i, j, from[i * row + j]);
      }
    };
    run("call_copy_rows", rows * (columns + 5), columns + 5, 0, [&](std::vector<T>* to) { each([&](long i, long j, T v) { (*to)[i * (columns + 5) + j] = v; }); });
    run("call_copy_squares", columns * (rows + 5), rows + 5, 0, [&](std::vector<T>* to) { each([&](long i, long j, T v) { (*to)[j * (rows + 5) + i] = v; }); });
    // Element `along` of a row that is packed, `step` of these rows: zeros behind the last, up to a vector.
    const auto packed = [&](std::vector<T>* to, long along, long step, long steps, T v, long extent) {
      const long stride = steps * panel + lanes_;
      if (along == extent - 1) {
        for (long l = along; l < (along / lanes_ + 1) * lanes_; ++l) (*to)[l / panel * stride + step * panel + l % panel] = 0;
      }
      (*to)[along / panel * stride + step * panel + along % panel] = v;
    };
    const auto size = [&](long along, long steps) { return (along + panel - 1) / panel * (steps * panel + lanes_); };
    run("call_pack_rows", size(columns, rows), panel, rows * panel + lanes_,
        [&](std::vector<T>* to) { each([&](long i, long j, T v) { packed(to, j, i, rows, v, columns); }); });
    run("call_pack_squares", size(rows, columns), panel, columns * panel + lanes_,
        [&](std::vector<T>* to) { each([&](long i, long j, T v) { packed(to, i, j, columns, v, rows); }); });
  }

 private:
  int lanes_;
  std::unique_ptr<Module> module_;
};

TEST(Routines, CopyBlocksOfAnySize) {
  for (const CpuTarget& cpu : Targets()) {
    Copies<float> single(cpu);
    Copies<double> twice(cpu);
    for (long rows : {1, 3, 8, 16, 17, 32, 47, 64}) {
      for (long columns : {1, 7, 8, 15, 16, 33, 48, 64, 71}) {
        single.Check(rows, columns);
        twice.Check(rows, columns);
      }
    }
  }
}

}  // namespace
}  // namespace athanor
