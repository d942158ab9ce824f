#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "jit/contract_operand.h"
#include "jit/loop_writer.h"
#include "jit/plan.h"

namespace athanor {

// Writes the functions that copy operands of a contraction, with their prologues.
//   pack_a(args, b, m0, m1, k0, k1, to, sums)  steps [k0, k1) of rows [m0, m1), and the side outputs of those rows
//   pack_b(args, b, k0, k1, n0, n1, to)        steps [k0, k1) of columns [n0, n1), n0 at the start of a panel
// Rows m0 and m1 of panels of A, and columns n0 and n1, are multiples of the lanes and of a panel, but for the last.
// A keeps its own direction: rows one behind the other when k is contiguous, else panels [m / lanes][k][lanes]. B becomes panels
// [n / width][k][width] of nv vectors; of the last one only the vectors that n reaches are written, lanes past n are zero. Panels and windows of A may
// be packed by parts of k, in order: running sums wait in `sums`, and the last part writes the side outputs.
//
// With `pairs`, what is packed is bf16, and two steps of k are one element, an int: all sizes in elements count pairs of k. The
// indices k0 and k1 still count k; k0 is even. Behind an odd k the upper half is zero.
class ContractPacker {
 public:
  // `a_depth`, `b_depth`: the most steps of k in one packed block.
  ContractPacker(const KernelPlan& plan, const ContractPlan& contract, const ContractOperand& a, const ContractOperand& b, int nv,
                 int64_t a_depth, int64_t b_depth, bool pairs, Prelude* prelude, SourceWriter* out);

  void WritePackA();
  void WritePackB(int64_t k_multiple);                       // of which k0 and k1 are multiples

  int64_t a_row() const { return panels_ ? 1 : row_; }       // strides of packed A, in elements
  int64_t a_step() const { return panels_ ? lanes_ : 1; }
  int64_t a_rows() const { return panels_ ? lanes_ : 1; }    // of a panel of packed A; what follows
  int64_t a_panel() const { return row_; }
  int64_t PackedRows(int64_t rows) const;                    // elements
  int64_t PackedColumns(int64_t columns) const;
  std::string RowOffset(const std::string& row) const;       // of packed A, k = 0
  std::string PanelOffset(const std::string& n) const;       // of packed B, k = 0, n at the start of a panel
  int64_t b_step() const { return panel_; }
  int64_t b_panel() const { return panel_stride_; }
  bool b_by_rows() const;                                    // B is read row by row: best packed by parts of k
  int64_t SumElements(int64_t rows) const;                   // room for running sums, in panels

 private:
  void Prefetch(const ContractOperand& operand, int k_dim, int64_t steps, BodyEmitter* emitter);
  void WritePanels();
  void WritePanelsOfK(const std::vector<int>& sums, BodyEmitter* emitter, bool odd);
  void WriteRows();
  std::vector<std::vector<int>> Stages() const;
  void PackAlongN();
  void WriteRowOfB(BodyEmitter* emitter, bool odd);
  void PackAlongK(int64_t k_multiple);
  std::string StepsOfB(BodyEmitter* emitter, bool tail);
  DType dtype() const { return contract_.accumulator; }
  DType packed() const { return pairs_ ? DType::kI32 : contract_.accumulator; }
  // Steps of k as elements, of a number and of C++ text.
  int64_t Steps(int64_t k) const { return pairs_ ? (k + 1) / 2 : k; }
  std::string StepsText(const std::string& k) const { return pairs_ ? fmt::format("{} / 2", k) : k; }
  std::string PairText(const ContractOperand& operand, const std::string& low, const std::string& high);

  const KernelPlan& plan_;
  const ContractPlan& contract_;
  const ContractOperand& a_;
  const ContractOperand& b_;
  Prelude* prelude_;
  SourceWriter* out_;
  int lanes_;
  bool pairs_;
  bool panels_;
  int64_t row_;                                              // elements from row to row of packed A, or from panel to panel
  int64_t panel_;                                            // columns of a panel of B
  int64_t panel_stride_;                                     // elements from panel to panel of packed B
};

}  // namespace athanor
