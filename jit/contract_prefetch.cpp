#include "jit/contract_prefetch.h"

#include <vector>

#include "jit/body_emitter.h"

namespace athanor {
namespace {

constexpr int64_t kLine = 64;

std::vector<const Operand*> OperandsInRows(const ContractPlan& contract) {
  std::vector<const Operand*> operands;
  for (const Operand& operand : contract.epilogue.operands) {
    const bool lines = FirstStride(operand.map.dim(2)) == 1 && FirstStride(operand.map.dim(1)) > 1;
    if (lines && operand.row < 0 && operand.bounds.empty()) operands.push_back(&operand);
  }
  return operands;
}

}  // namespace

bool EpilogueReadsRows(const ContractPlan& contract) { return !OperandsInRows(contract).empty(); }

void WriteFetchC(const KernelPlan& plan, const ContractPlan& contract, int64_t columns, Prelude* prelude, SourceWriter* out) {
  out->Comment("Asks for what the epilogue will read in rows [m0, m1).");
  out->Open("INLINE void fetch_c(char* const* args, long b, long m0, long m1, long n0)");
  DeclareArgs(plan.args, out);
  BodyEmitter emitter(contract.epilogue, plan.args, prelude, out);
  emitter.SetIndex(0, "b");
  emitter.SetIndex(1, "m");
  emitter.SetIndex(2, "n0");
  out->Open("for (long m = m0; m < m1; ++m)");
  for (const Operand* operand : OperandsInRows(contract)) {
    for (int64_t n = 0; n < columns; n += kLine / SizeOf(plan.args[operand->arg].dtype)) {
      out->Line("__builtin_prefetch({} + {});", emitter.Pointer(*operand), n);
    }
  }
  out->Close();
  out->Close();
  out->Blank();
}

}  // namespace athanor
