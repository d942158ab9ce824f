#include "jit/microkernel.h"

namespace athanor {

void WriteMicrokernelCpp(const Microkernel& kernel, Prelude* prelude, SourceWriter* out) {
  const std::string_view scalar = ScalarType(kernel.dtype), vector = VectorType(kernel.dtype);
  const int lanes = prelude->lanes();
  for (const char* helper : {"splat", "load", "store"}) prelude->Use(helper, kernel.dtype);
  if (kernel.b_tail > 0) prelude->Use("tail", kernel.dtype);
  out->Comment(kernel.b_tail > 0 ? fmt::format("{} rows by {} vectors, the last with {} lanes", kernel.mr, kernel.nv, kernel.b_tail)
                                 : fmt::format("{} rows by {} vectors", kernel.mr, kernel.nv));
  out->Open("static __attribute__((noinline)) void {}(const {}* a, const {}* b, {}* c, long k, long first)", kernel.name, scalar,
            scalar, scalar);
  for (int i = 0; i < kernel.mr; ++i) {
    std::string line = fmt::format("{} ", vector);
    for (int j = 0; j < kernel.nv; ++j) line += fmt::format("{}c{}_{} = {{}}", j ? ", " : "", i, j);
    out->Line("{};", line);
  }
  out->Line("#pragma clang loop unroll_count({})", kernel.unroll);
  out->Open("for (long p = 0; p < k; ++p)");
  for (int j = 0; j < kernel.nv; ++j) {
    const bool tail = kernel.b_tail > 0 && j == kernel.nv - 1;
    out->Line("const {} b{} = {};", vector, j,
              tail ? fmt::format("load_tail(b + {}, {})", j * lanes, kernel.b_tail) : fmt::format("load(b + {})", j * lanes));
  }
  for (int i = 0; i < kernel.mr; ++i) {
    std::string line = fmt::format("{{ const {} x = splat(a[{}]);", vector, i * kernel.a_row);
    for (int j = 0; j < kernel.nv; ++j) line += fmt::format(" c{0}_{1} += x * b{1};", i, j);
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
