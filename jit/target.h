#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace athanor {

// The instruction set that generated C++ is written for. The prelude hides the difference; generators use `lanes`.
enum class Isa : uint8_t { kAvx2, kAvx512 };
std::string_view Name(Isa isa);                              // "avx2", "avx512"

// What is known of a CPU. Only `isa` and `features` are causes of generated code; the rest steers schedules.
struct CpuTarget {
  Isa isa = Isa::kAvx512;
  std::vector<std::string> features;                         // LLVM names, sorted: "avx512f", "fma", ... (ISA features only, no tuning flags)
  std::string model;                                         // for people
  int64_t l1_bytes = 32 << 10, l2_bytes = 1 << 20, l3_bytes = 32 << 20;
  int cores = 1;

  int vector_bytes() const { return isa == Isa::kAvx512 ? 64 : 32; }
  // Streaming stores to many rows at once want whole lines of the cache: parts of too many are flushed before they are whole.
  bool vectors_fill_lines() const { return vector_bytes() == 64; }
  int vector_registers() const { return isa == Isa::kAvx512 ? 32 : 16; }
  bool Has(std::string_view feature) const;                  // "avx512bf16": rounds to bf16, sums two products of bf16
};

// This machine. Throws Error naming the missing features when it has neither AVX-512 (F, BW, DQ, VL) nor AVX2 + FMA.
CpuTarget DetectCpu();
// The same machine restricted to `isa` (AVX2 code runs on an AVX-512 machine).
CpuTarget Restrict(const CpuTarget& cpu, Isa isa);
// One machine of each kind that code is generated for, whatever this one is: AVX2, AVX-512, and this with what is optional.
std::vector<CpuTarget> AllTargets();

}  // namespace athanor
