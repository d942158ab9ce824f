#include "jit/microkernel.h"

namespace athanor {
namespace {

void WriteAlongK(const Microkernel& kernel, Prelude* prelude, SourceWriter* out) {
  const bool pairs = kernel.dtype == DType::kBF16;
  const DType loaded = pairs ? DType::kI32 : kernel.dtype, dtype = kernel.accumulator();
  for (const char* helper : {"load", "tail"}) prelude->Use(helper, loaded);
  prelude->Use("sum", dtype);
  if (pairs) prelude->Use("dot");
  out->Comment(fmt::format("{} rows by one column, in vectors along k", kernel.mr));
  out->Open("static __attribute__((noinline)) void {}(const {}* a, const {}* b, {}* c, long k, long first)", kernel.name, kernel.element(), kernel.element(),
            ScalarType(dtype));
  for (int i = 0; i < kernel.mr; ++i) out->Line("{} c{} = {{}};", VectorType(dtype), i);
  const auto step = [&](const char* load, const char* count) {
    out->Line("const {} x = {}(b + p{});", VectorType(loaded), load, count);
    for (int i = 0; i < kernel.mr; ++i) {
      out->Line(fmt::runtime(pairs ? "c{0} = dot(c{0}, {1}(a + p + {2}{3}), x);" : "c{0} += {1}(a + p + {2}{3}) * x;"), i, load, i * kernel.a_row, count);
    }
  };
  out->Line("long p = 0;");
  out->Open("for (; p + {0} <= k; p += {0})", prelude->lanes());
  step("load", "");
  out->Close();
  out->Open("if (p < k)");
  step("load_tail", ", k - p");
  out->Close();
  for (int i = 0; i < kernel.mr; ++i) {
    out->Line("const {} s{} = sum(c{});", ScalarType(dtype), i, i);
    out->Line("c[{0}] = first ? s{1} : c[{0}] + s{1};", i * kernel.c_row, i);
  }
  out->Close();
  out->Blank();
}

}  // namespace

void WriteMicrokernel(const Microkernel& kernel, bool asmjit, Prelude* prelude, SourceWriter* out) {
  if (asmjit && WriteMicrokernelAsmjit(kernel, prelude, out)) return;
  WriteMicrokernelCpp(kernel, prelude, out);
}

void WriteMicrokernelCpp(const Microkernel& kernel, Prelude* prelude, SourceWriter* out) {
  if (kernel.nv == 0) return WriteAlongK(kernel, prelude, out);
  const bool pairs = kernel.dtype == DType::kBF16;
  const DType loaded = pairs ? DType::kI32 : kernel.dtype;
  const std::string_view scalar = ScalarType(kernel.accumulator()), vector = VectorType(kernel.accumulator());
  const int lanes = prelude->lanes();
  for (const char* helper : {"splat", "load"}) prelude->Use(helper, loaded);
  for (const char* helper : {"load", "store"}) prelude->Use(helper, kernel.accumulator());
  if (kernel.b_tail > 0) prelude->Use("tail", loaded);
  if (pairs) prelude->Use("dot");
  out->Comment(kernel.b_tail > 0 ? fmt::format("{} rows by {} vectors, the last with {} lanes", kernel.mr, kernel.nv, kernel.b_tail)
                                 : fmt::format("{} rows by {} vectors", kernel.mr, kernel.nv));
  out->Open("static __attribute__((noinline)) void {}(const {}* a, const {}* b, {}* c, long k, long first)", kernel.name,
            kernel.element(), kernel.element(), scalar);
  for (int i = 0; i < kernel.mr; ++i) {
    std::string line = fmt::format("{} ", vector);
    for (int j = 0; j < kernel.nv; ++j) line += fmt::format("{}c{}_{} = {{}}", j ? ", " : "", i, j);
    out->Line("{};", line);
  }
  out->Line("#pragma clang loop unroll_count({})", kernel.unroll);
  out->Open("for (long p = 0; p < k; ++p)");
  for (int j = 0; j < kernel.nv; ++j) {
    const bool tail = kernel.b_tail > 0 && j == kernel.nv - 1;
    out->Line("const {} b{} = {};", VectorType(loaded), j,
              tail ? fmt::format("load_tail(b + {}, {})", j * lanes, kernel.b_tail) : fmt::format("load(b + {})", j * lanes));
  }
  for (int i = 0; i < kernel.mr; ++i) {
    std::string line = fmt::format("{{ const {} x = splat(a[{}]);", VectorType(loaded), i * kernel.a_row);
    for (int j = 0; j < kernel.nv; ++j) {
      line += fmt::format(fmt::runtime(pairs ? " c{0}_{1} = dot(c{0}_{1}, x, b{1});" : " c{0}_{1} += x * b{1};"), i, j);
    }
    out->Line("{} }}", line);
  }
  out->Line("a += {};", kernel.a_step);
  out->Line("b += {};", kernel.b_step);
  out->Close();
  out->Open("if (!first)");
  for (int i = 0; i < kernel.mr; ++i) {
    for (int j = 0; j < kernel.nv; ++j) out->Line("c{0}_{1} = load(c + {2}) + c{0}_{1};", i, j, i * kernel.c_row + j * lanes);
  }
  out->Close();
  for (int i = 0; i < kernel.mr; ++i) {
    for (int j = 0; j < kernel.nv; ++j) out->Line("store(c + {2}, c{0}_{1});", i, j, i * kernel.c_row + j * lanes);
  }
  out->Close();
  out->Blank();
}

}  // namespace athanor
