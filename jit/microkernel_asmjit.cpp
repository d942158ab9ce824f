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
    if (kernel_.nv == 0) {
      AlongK();
    } else {
      Tile();
    }
    asmjit::CodeBuffer& buffer = code_.textSection()->buffer();
    return {buffer.data(), buffer.data() + buffer.size()};
  }

 private:
  void Tile() {
    if (kernel_.b_tail > 0) {
      as_.mov(x86::eax, (1 << kernel_.b_tail) - 1);
      as_.kmovw(x86::k1, x86::eax);
    }
    for (int r = 0; r < kernel_.mr * kernel_.nv; ++r) as_.vxorps(x86::xmm(r), x86::xmm(r), x86::xmm(r));
    Loop(kernel_.unroll);
    if (kernel_.unroll > 1) Loop(1);
    Finish();
  }

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

  // AVX-512, for the mask of the last steps.
  void AlongK() {
    const int lanes = vector_bytes_ / static_cast<int>(SizeOf(kernel_.accumulator()));
    const x86::Vec vector = Reg(kernel_.mr);
    const auto step = [&](bool tail) {
      if (tail) as_.k(x86::k1).z();
      f64_ ? as_.vmovupd(vector, x86::ptr(x86::rsi)) : as_.vmovups(vector, x86::ptr(x86::rsi));
      for (int i = 0; i < kernel_.mr; ++i) {
        const x86::Mem row = x86::ptr(x86::rdi, Bytes(i * kernel_.a_row));
        if (tail) as_.k(x86::k1);
        if (pairs_) {
          as_.vdpbf16ps(Reg(i), vector, row);
        } else {
          f64_ ? as_.vfmadd231pd(Reg(i), vector, row) : as_.vfmadd231ps(Reg(i), vector, row);
        }
      }
    };
    for (int i = 0; i < kernel_.mr; ++i) as_.vxorps(x86::xmm(i), x86::xmm(i), x86::xmm(i));
    asmjit::Label top = as_.newLabel(), tail = as_.newLabel(), end = as_.newLabel();
    as_.cmp(x86::rcx, lanes);
    as_.jl(tail);
    as_.align(asmjit::AlignMode::kCode, 32);
    as_.bind(top);
    step(false);
    as_.add(x86::rdi, vector_bytes_);
    as_.add(x86::rsi, vector_bytes_);
    as_.sub(x86::rcx, lanes);
    as_.cmp(x86::rcx, lanes);
    as_.jge(top);
    as_.bind(tail);
    as_.test(x86::rcx, x86::rcx);
    as_.jz(end);
    as_.mov(x86::eax, 1);
    as_.shl(x86::eax, x86::cl);
    as_.dec(x86::eax);
    as_.kmovw(x86::k1, x86::eax);
    step(true);
    as_.bind(end);
    for (int i = 0; i < kernel_.mr; ++i) AddLanes(i, kernel_.mr);
    asmjit::Label store = as_.newLabel();
    as_.test(x86::r8, x86::r8);
    as_.jnz(store);
    for (int i = 0; i < kernel_.mr; ++i) f64_ ? as_.vaddsd(x86::xmm(i), x86::xmm(i), C(i, 0)) : as_.vaddss(x86::xmm(i), x86::xmm(i), C(i, 0));
    as_.bind(store);
    for (int i = 0; i < kernel_.mr; ++i) f64_ ? as_.vmovsd(C(i, 0), x86::xmm(i)) : as_.vmovss(C(i, 0), x86::xmm(i));
    as_.vzeroupper();
    as_.ret();
  }

  // The sum of register r in its lowest lane, half by half, as `sum` of the prelude.
  void AddLanes(int r, int free) {
    const x86::Ymm ymm = x86::ymm(r);
    const x86::Xmm xmm = x86::xmm(r), upper = x86::xmm(free);
    as_.vextractf64x4(x86::ymm(free), x86::zmm(r), 1);
    f64_ ? as_.vaddpd(ymm, ymm, x86::ymm(free)) : as_.vaddps(ymm, ymm, x86::ymm(free));
    as_.vextractf128(upper, ymm, 1);
    f64_ ? as_.vaddpd(xmm, xmm, upper) : as_.vaddps(xmm, xmm, upper);
    if (f64_) {
      as_.vunpckhpd(upper, xmm, xmm);
      as_.vaddsd(xmm, xmm, upper);
      return;
    }
    as_.vmovhlps(upper, xmm, xmm);
    as_.vaddps(xmm, xmm, upper);
    as_.vmovshdup(upper, xmm);
    as_.vaddss(xmm, xmm, upper);
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
  if (kernel.dtype == DType::kBF16 && !prelude->bf16_instructions()) return false;
  const int64_t reach = SizeOf(kernel.accumulator()) * std::max({kernel.a_row * kernel.mr + kernel.a_step * kernel.unroll, kernel.b_step * kernel.unroll + 64,
                                                         std::abs(kernel.c_row) * kernel.mr});
  if (((kernel.b_tail > 0 || kernel.nv == 0) && isa != Isa::kAvx512) || reach > INT32_MAX) return false;
  if (kernel.nv == 0 && kernel.mr >= 16) return false;       // of the instructions that add lanes, some reach the first sixteen registers only
  ATHANOR_CHECK(TileRegisters(kernel.mr, kernel.nv) <= (isa == Isa::kAvx512 ? 32 : 16));
  const std::string columns = kernel.nv == 0 ? "one column, in vectors along k" : fmt::format("{} vectors", kernel.nv);
  out->Comment(fmt::format("{} rows by {}{}; machine code from asmjit", kernel.mr, columns,
                           kernel.b_tail > 0 ? fmt::format(", the last with {} lanes", kernel.b_tail) : ""));
  WriteMachineCode({kernel.name, Emitter(kernel, isa).Emit()}, out);
  // Hidden: its address is a distance, not an entry of a table.
  out->Line("extern \"C\" __attribute__((visibility(\"hidden\"))) void {}(const {}* a, const {}* b, {}* c, long k, long first);", kernel.name, kernel.element(), kernel.element(),
            ScalarType(kernel.accumulator()));
  out->Blank();
  return true;
}

}  // namespace athanor
