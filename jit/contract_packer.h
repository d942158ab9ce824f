#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "jit/contract_operand.h"
#include "jit/loop_writer.h"
#include "jit/plan.h"

namespace athanor {

// Writes the functions that copy operands of a contraction, with their prologues.
//   pack_a(args, b, m0, m1, k0, k1, to, sums)  steps [k0, k1) of rows [m0, m1), and the side outputs of those rows
//   pack_b(args, b, k0, k1, n0, n1, to)        steps [k0, k1) of columns [n0, n1), n0 at the start of a panel
// A keeps its own direction: rows one behind the other when k is contiguous, else panels [m / lanes][k][lanes]. B becomes panels
// [n / width][k][width] of nv vectors, the last one narrower; lanes past n are zero. Panels of A may be packed by parts of k, in order:
// running sums wait in `sums`, and the last part writes the side outputs.
class ContractPacker {
 public:
  // `a_depth`: the most steps of k that are packed at once.
  ContractPacker(const KernelPlan& plan, const ContractPlan& contract, const ContractOperand& a, const ContractOperand& b, int nv,
                 int64_t a_depth, Prelude* prelude, SourceWriter* out);

  void WritePackA();
  void WritePackB();

  int64_t a_row() const { return panels_ ? 1 : row_; }       // strides of packed A, in elements
  int64_t a_step() const { return panels_ ? lanes_ : 1; }
  bool a_in_panels() const { return panels_; }
  int64_t PackedRows(int64_t rows) const;                    // elements
  int64_t PackedColumns(int64_t columns, int64_t k) const;
  std::string RowOffset(const std::string& row) const;       // of packed A, k = 0
  int64_t SumElements(int64_t rows) const;                   // room for running sums, in panels

 private:
  void WritePanels();
  void WriteRows();
  std::vector<std::vector<int>> Stages() const;
  void PackAlongN();
  void PackAlongK();
  DType dtype() const { return contract_.accumulator; }

  const KernelPlan& plan_;
  const ContractPlan& contract_;
  const ContractOperand& a_;
  const ContractOperand& b_;
  int nv_;
  Prelude* prelude_;
  SourceWriter* out_;
  int lanes_;
  bool panels_;
  int64_t row_;                                              // elements from row to row of packed A, or from panel to panel
};

}  // namespace athanor
