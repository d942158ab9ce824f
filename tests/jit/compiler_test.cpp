#include "jit/compiler.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "jit/machine_code.h"
#include "jit/source_writer.h"
#include "ops/error.h"

namespace athanor {
namespace {

Image CompileText(const std::string& text, const CpuTarget& cpu = DetectCpu()) {
  KernelSource source;
  source.text = text;
  return MakeClangCompiler(cpu)->Compile(source, "test_kernel");
}

constexpr char kVectors[] = R"(
typedef float V __attribute__((vector_size(64), aligned(4)));
static const float table[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
extern "C" void scale(char* const* args, long begin, long end, char*) {
  float* x = (float*)args[0];
  for (long i = begin; i < end; ++i) *(V*)(x + 16 * i) *= *(const V*)table;
}
)";

TEST(ClangCompiler, RunsVectorCodeWithConstants) {
  for (Isa isa : {Isa::kAvx2, Isa::kAvx512}) {
    if (isa == Isa::kAvx512 && DetectCpu().isa != Isa::kAvx512) GTEST_SKIP() << "no AVX-512 here";
    Module module(CompileText(kVectors, Restrict(DetectCpu(), isa)), "scale");
    std::vector<float> x(64, 2.0f);
    char* args[] = {reinterpret_cast<char*>(x.data())};
    module.Get<KernelFn>("scale")(args, 1, 3, nullptr);
    for (int i = 0; i < 64; ++i) EXPECT_EQ(x[i], i >= 16 && i < 48 ? 2.0f * (i % 16 + 1) : 2.0f) << i;
  }
}

TEST(ClangCompiler, JumpTablesStayPositionIndependent) {
  const Image image = CompileText(R"(
extern "C" int choose(int x, int y) {
  switch (x) {
    case 0: return y * 3; case 1: return y - 7; case 2: return y << 4; case 3: return y / 5;
    case 4: return y ^ 9; case 5: return -y; case 6: return y % 11; case 7: return 42; default: return 0;
  }
})");
  Module first(image, "choose"), second(image, "choose");
  for (const Module* module : {&first, &second}) {
    auto* choose = module->Get<int(int, int)>("choose");
    EXPECT_EQ(choose(0, 5), 15);
    EXPECT_EQ(choose(3, 50), 10);
    EXPECT_EQ(choose(7, 1), 42);
    EXPECT_EQ(choose(9, 1), 0);
  }
}

// Two functions of one size might be placed in either order, and one compiler serves many sources.
TEST(ClangCompiler, TheSameSourceIsTheSameImage) {
  std::string text = "extern \"C\" {\nint before(); int after();\n}\nextern \"C\" int both() { return before() * 10 + after(); }\n";
  for (const char* function : {"before", "after"}) {         // mov eax, 4 or 2; ret
    SourceWriter out;
    WriteMachineCode({function, {0xb8, static_cast<uint8_t>(function[0] == 'b' ? 4 : 2), 0, 0, 0, 0xc3}}, &out);
    text += out.text();
  }
  const std::unique_ptr<Compiler> compiler = MakeClangCompiler(DetectCpu());
  const Image image = compiler->Compile({.text = text}, "both");
  EXPECT_EQ(Module(image, "both").Get<int()>("both")(), 42);
  for (int i = 0; i < 20; ++i) {
    EXPECT_NO_THROW(compiler->Compile({.text = kVectors}, "scale"));
    EXPECT_EQ(compiler->Compile({.text = text}, "both"), image);
  }
  EXPECT_EQ(CompileText(text), image);
}

TEST(ClangCompiler, OnlyBuiltinsThatASourceNamesAreKnown) {
  EXPECT_NO_THROW(CompileText("extern \"C\" int ones(unsigned x) { return __builtin_popcount(x); }"));
  EXPECT_THROW(CompileText("extern \"C\" int ones(unsigned x) { return popcount(x); }"), InternalError);
  EXPECT_THROW(CompileText("extern \"C\" int ones(unsigned x) { return __builtin_no_such(x); }"), InternalError);
}

TEST(ClangCompiler, LoopsBecomeNoLibraryCalls) {
  EXPECT_NO_THROW(CompileText(R"(
struct S { double x[40]; };
extern "C" void clear(char* p, long n, S* a, const S* b) {
  for (long i = 0; i < n; ++i) p[i] = 0;
  for (long i = 0; i < n; ++i) p[i + n] = p[i];
  for (int i = 0; i < 40; ++i) a->x[i] = b->x[i];
})"));
}

TEST(ClangCompiler, LinksAssemblyBlocks) {
  Module module(CompileText(R"(
asm(".text\n.globl seven\nseven:\n.byte 0xb8, 7, 0, 0, 0, 0xc3\n");
extern "C" int seven();
extern "C" int eight() { return seven() + 1; }
)"), "eight");
  EXPECT_EQ(module.Get<int()>("eight")(), 8);
}

void ExpectFailureNaming(const std::string& text, const std::string& name) {
  try {
    CompileText(text);
    FAIL() << "accepted";
  } catch (const InternalError& error) {
    EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
  }
}

TEST(ClangCompiler, RefusesExternalSymbolsAndBadSource) {
  ExpectFailureNaming("extern \"C\" int missing(); extern \"C\" int f() { return missing(); }", "missing");
  ExpectFailureNaming("int f() { return undeclared; }", "undeclared");
  ExpectFailureNaming("static int calls; extern \"C\" int f() { return ++calls; }", "writable data");
  ExpectFailureNaming("extern const int* const pair[]; const int one = 1, two = 2; const int* const pair[] = {&one, &two};\n"
                      "extern \"C\" const int* const* f() { return pair; }",
                      "section");
}

TEST(ClangCompiler, CompilesConcurrently) {
  const std::unique_ptr<Compiler> compiler = MakeClangCompiler(DetectCpu());
  std::vector<std::thread> threads;
  std::vector<int> right(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        KernelSource source;
        source.text = fmt::format("extern \"C\" int f(int x) {{ return x * {} + {}; }}", t + 2, i);
        Module module(compiler->Compile(source, "f"), "f");
        right[t] += module.Get<int(int)>("f")(10) == 10 * (t + 2) + i;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, std::vector<int>(4, 10));
}

TEST(ClangCompiler, ListsAssemblyAndIr) {
  KernelSource source;
  source.text = kVectors;
  const Compiler::Listing listing = MakeClangCompiler(DetectCpu())->List(source, "scale");
  EXPECT_NE(listing.assembly.find("scale"), std::string::npos);
  EXPECT_NE(listing.llvm_ir.find("define"), std::string::npos);
}

TEST(ClangCompiler, SeveralKernelsAtOnceAreWhatTheyAreAlone) {
  const CpuTarget cpu = DetectCpu();
  const std::unique_ptr<Compiler> compiler = MakeClangCompiler(cpu);
  std::vector<std::string> texts;
  for (int i = 0; i < 3; ++i) {
    texts.push_back(fmt::format("#define ROUTINE static\nROUTINE void add(float* x, long n) {{\n  for (long i = 0; i < n; ++i) x[i] += 1;\n}}\n"
                                "extern \"C\" void kernel(char* const* args, long begin, long end, char*) {{ add((float*)args[0] + begin, end + {}); }}\n", i));
  }
  std::vector<Compiler::Job> jobs;
  for (const std::string& text : texts) jobs.push_back({text, "several"});
  const std::vector<Compiler::Result> results = compiler->CompileAll(jobs);
  ASSERT_EQ(results.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(results[i].image, MakeClangCompiler(cpu)->Compile({.text = texts[i]}, "several"));
    EXPECT_GT(results[i].milliseconds, 0);
  }
  EXPECT_TRUE(compiler->CompileAll({}).empty());

  jobs.push_back({"int main( {", "broken"});
  try {
    compiler->CompileAll(jobs);
    ADD_FAILURE() << "a broken source compiled";
  } catch (const InternalError& error) {
    EXPECT_NE(std::string(error.what()).find("kernel broken"), std::string::npos) << error.what();
  }
  jobs.pop_back();
  EXPECT_EQ(compiler->CompileAll(jobs)[0].image, results[0].image);
}

}  // namespace
}  // namespace athanor
