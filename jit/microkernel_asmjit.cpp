#include <asmjit/x86.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "jit/machine_code.h"
#include "jit/microkernel.h"
#include "ops/error.h"

// asmjit's archive refers to this name in place of stderr's: see cmake/AthanorAsmjit.cmake.
extern "C" __attribute__((visibility("hidden"))) FILE* athanor_asmjit_stderr;
FILE* athanor_asmjit_stderr = stderr;

namespace athanor {
namespace {

namespace x86 = asmjit::x86;

// Emits one micro-kernel. Registers: rdi a, rsi b, rdx c, rcx k, r8 first; accumulators from 0 up, then B's row, then A's element.
class Emitter {
 public:
  Emitter(const Microkernel& kernel, Isa isa) : kernel_(kernel), wide_(isa == Isa::kAvx512), f64_(kernel.dtype == DType::kF64), pairs_(kernel.dtype == DType::kBF16) {
    vector_bytes_ = wide_ ? 64 : 32;
    code_.init(asmjit::Environment(asmjit::Arch::kX64));
    code_.attach(&as_);
  }

  std::vector<uint8_t> Emit() {
    if (kernel_.b_tail > 0) {
      as_.mov(x86::eax, (1 << kernel_.b_tail) - 1);
      as_.kmovw(x86::k1, x86::eax);
    }
    for (int r = 0; r < kernel_.mr * kernel_.nv; ++r) as_.vxorps(x86::xmm(r), x86::xmm(r), x86::xmm(r));
    Loop(kernel_.unroll);
    if (kernel_.unroll > 1) Loop(1);
    Finish();
    asmjit::CodeBuffer& buffer = code_.textSection()->buffer();
    return {buffer.data(), buffer.data() + buffer.size()};
  }

 private:
  x86::Vec Reg(int r) const { return wide_ ? x86::Vec(x86::zmm(r)) : x86::Vec(x86::ymm(r)); }
  x86::Vec Acc(int i, int j) const { return Reg(i * kernel_.nv + j); }
  x86::Vec B(int j) const { return Reg(kernel_.mr * kernel_.nv + j); }
  x86::Vec A() const { return Reg(kernel_.mr * kernel_.nv + kernel_.nv); }
  int32_t Bytes(int64_t elements) const { return static_cast<int32_t>(elements * SizeOf(kernel_.accumulator())); }
  x86::Mem C(int i, int j) const { return x86::ptr(x86::rdx, Bytes(i * kernel_.c_row) + j * vector_bytes_); }

  // While at least `steps` of k are left: that many at once.
  void Loop(int steps) {
    asmjit::Label top = as_.newLabel(), end = as_.newLabel();
    as_.cmp(x86::rcx, steps);
    as_.jl(end);
    as_.align(asmjit::AlignMode::kCode, 32);
    as_.bind(top);
    for (int s = 0; s < steps; ++s) Step(Bytes(s * kernel_.a_step), Bytes(s * kernel_.b_step));
    as_.add(x86::rdi, Bytes(steps * kernel_.a_step));
    as_.add(x86::rsi, Bytes(steps * kernel_.b_step));
    as_.sub(x86::rcx, steps);
    as_.cmp(x86::rcx, steps);
    as_.jge(top);
    as_.bind(end);
  }

  void Step(int32_t a, int32_t b) {
    for (int j = 0; j < kernel_.nv; ++j) {
      const x86::Mem row = x86::ptr(x86::rsi, b + j * vector_bytes_);
      if (kernel_.b_tail > 0 && j == kernel_.nv - 1) {
        f64_ ? as_.k(x86::k1).z().vmovupd(B(j), row) : as_.k(x86::k1).z().vmovups(B(j), row);
      } else {
        f64_ ? as_.vmovupd(B(j), row) : as_.vmovups(B(j), row);
      }
    }
    for (int i = 0; i < kernel_.mr; ++i) {
      const x86::Mem element = x86::ptr(x86::rdi, a + Bytes(i * kernel_.a_row));
      f64_ ? as_.vbroadcastsd(A(), element) : as_.vbroadcastss(A(), element);
      for (int j = 0; j < kernel_.nv; ++j) {
        if (pairs_) {
          as_.vdpbf16ps(Acc(i, j), A(), B(j));
        } else {
          f64_ ? as_.vfmadd231pd(Acc(i, j), A(), B(j)) : as_.vfmadd231ps(Acc(i, j), A(), B(j));
        }
      }
    }
  }

  void Finish() {
    asmjit::Label store = as_.newLabel();
    as_.test(x86::r8, x86::r8);
    as_.jnz(store);
    for (int i = 0; i < kernel_.mr; ++i) {
      for (int j = 0; j < kernel_.nv; ++j) {
        f64_ ? as_.vaddpd(Acc(i, j), Acc(i, j), C(i, j)) : as_.vaddps(Acc(i, j), Acc(i, j), C(i, j));
      }
    }
    as_.bind(store);
    for (int i = 0; i < kernel_.mr; ++i) {
      for (int j = 0; j < kernel_.nv; ++j) f64_ ? as_.vmovupd(C(i, j), Acc(i, j)) : as_.vmovups(C(i, j), Acc(i, j));
    }
    as_.vzeroupper();
    as_.ret();
  }

  const Microkernel& kernel_;
  bool wide_, f64_, pairs_;
  int vector_bytes_;
  asmjit::CodeHolder code_;
  x86::Assembler as_;
};

}  // namespace

bool WriteMicrokernelAsmjit(const Microkernel& kernel, Prelude* prelude, SourceWriter* out) {
  const Isa isa = prelude->isa();
  if (kernel.nv == 0 || (kernel.dtype == DType::kBF16 && !prelude->bf16_instructions())) return false;
  const int64_t reach = SizeOf(kernel.accumulator()) * std::max({kernel.a_row * kernel.mr + kernel.a_step * kernel.unroll, kernel.b_step * kernel.unroll + 64,
                                                         std::abs(kernel.c_row) * kernel.mr});
  if ((kernel.b_tail > 0 && isa != Isa::kAvx512) || reach > INT32_MAX) return false;
  ATHANOR_CHECK(TileRegisters(kernel.mr, kernel.nv) <= (isa == Isa::kAvx512 ? 32 : 16));
  out->Comment(fmt::format("{} rows by {} vectors{}; machine code from asmjit", kernel.mr, kernel.nv,
                           kernel.b_tail > 0 ? fmt::format(", the last with {} lanes", kernel.b_tail) : ""));
  WriteMachineCode({kernel.name, Emitter(kernel, isa).Emit()}, out);
  // Hidden: its address is a distance, not an entry of a table.
  out->Line("extern \"C\" __attribute__((visibility(\"hidden\"))) void {}(const {}* a, const {}* b, {}* c, long k, long first);", kernel.name, kernel.element(), kernel.element(),
            ScalarType(kernel.accumulator()));
  out->Blank();
  return true;
}

}  // namespace athanor
