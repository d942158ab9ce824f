#include "jit/contract_packer.h"

#include <algorithm>

#include "jit/integer_math.h"
#include "ops/error.h"

namespace athanor {
namespace {

constexpr const char* kOwnFunction = "static __attribute__((noinline))";

}  // namespace

ContractPacker::ContractPacker(const KernelPlan& plan, const ContractPlan& contract, const ContractOperand& a, const ContractOperand& b,
                               int nv, int64_t a_depth, int64_t b_depth, bool pairs, Prelude* prelude, SourceWriter* out)
    : plan_(plan), contract_(contract), a_(a), b_(b), prelude_(prelude), out_(out), lanes_(prelude->lanes()), pairs_(pairs),
      panels_(a.panels()),
      row_(panels_ ? Steps(a_depth) * lanes_ : RoundUp(Steps(a_.by_parts() ? a_depth : contract.k), lanes_)),
      panel_(static_cast<int64_t>(nv) * lanes_), panel_stride_(Steps(b_depth) * panel_) {
  // Rows or panels a power of two apart would fall into the same few sets of the cache.
  for (int64_t* stride : {&row_, &panel_stride_}) {
    if (*stride * SizeOf(dtype()) % 512 == 0) *stride += lanes_;
  }
}

int64_t ContractPacker::PackedRows(int64_t rows) const { return panels_ ? RoundUp(rows, lanes_) / lanes_ * row_ : rows * row_; }

int64_t ContractPacker::PackedColumns(int64_t columns) const { return RoundUp(columns, panel_) / panel_ * panel_stride_; }

std::string ContractPacker::PanelOffset(const std::string& n) const { return fmt::format("{} / {} * {}", n, panel_, panel_stride_); }

std::string ContractPacker::RowOffset(const std::string& row) const {
  if (!panels_) return fmt::format("{} * {}", row, row_);
  return fmt::format("({0} / {1} * {2} + {0} % {1})", row, lanes_, row_);
}

int64_t ContractPacker::SumElements(int64_t rows) const {
  int64_t sums = 0;
  for (const Expr& expr : a_.body().exprs) sums += expr.kind == Expr::Kind::kReduce;
  return panels_ ? sums * RoundUp(rows, lanes_) : 0;
}

void ContractPacker::WritePackA() {
  out_->Comment(panels_        ? fmt::format("Steps [k0, k1) of rows [m0, m1) of A in panels of {} rows.", lanes_)
                : a_.by_parts() ? "Steps [k0, k1) of rows [m0, m1) of A, one behind the other."
                               : "Rows [m0, m1) of A, one behind the other.");
  if (!pairs_ && panels_ && a_.in_place() && !a_.has_stores()) {
    prelude_->Use("pack_rows", dtype());
    out_->Open("INLINE void pack_a(char* const* args, long b, long m0, long m1, long k0, long k1, {0}* to, {0}* sums)", ScalarType(dtype()));
    DeclareArgs(plan_.args, out_);
    out_->Line("pack_rows_{}({} + k0 * {} + m0, {}, k1 - k0, m1 - m0, to, {}, {});", Name(dtype()), a_.Base("b"), a_.stride(2), a_.stride(2), lanes_, row_);
    out_->Close();
    out_->Blank();
    return;
  }
  out_->Open("{} void pack_a(char* const* args, long b, long m0, long m1, long k0, long k1, {}* to, {}* sums)", a_.by_parts() ? "INLINE" : kOwnFunction,
             ScalarType(packed()), ScalarType(dtype()));
  DeclareArgs(plan_.args, out_);
  for (DType stored : {dtype(), packed()}) prelude_->Use("store", stored);
  if (pairs_) prelude_->Use("pairs");
  if (panels_) {
    WritePanels();
  } else if (a_.by_parts()) {
    a_.windows()->Write({.along_begin = "k0", .along_end = "k1", .across_begin = "m0", .across_end = "m1", .at = pairs_ ? "(unsigned short*)to + (i - k0)" : "to + (i - k0)",
                         .step = std::to_string(pairs_ ? 2 * row_ : row_), .room = fmt::format("{} - (i - k0)", pairs_ ? 2 * row_ : row_),
                         .elements = pairs_ ? WindowCopier::Target::Elements::kHalves : WindowCopier::Target::Elements::kValues},
                        prelude_, out_);
  } else {
    WriteRows();
  }
  out_->Close();
  out_->Blank();
}

// Asks for the vector at hand some steps of k ahead: the hardware doesn't see where pieces of rows, or many rows at once, lead.
void ContractPacker::Prefetch(const ContractOperand& operand, int k_dim, int64_t steps, BodyEmitter* emitter) {
  if (operand.main() == nullptr) return;
  emitter->Push();
  emitter->SetIndex(k_dim, fmt::format("(k + {})", steps));
  out_->Line("__builtin_prefetch({});", emitter->Pointer(*operand.main()));
  emitter->Pop();
}

// Two vectors of an operand, of steps 2p and 2p + 1 of k.
std::string ContractPacker::PairText(const ContractOperand& operand, const std::string& low, const std::string& high) {
  return fmt::format("{}({}, {})", operand.exact_halves() ? "pair" : "round_pair", low, high);
}

// k outside, so that memory is read in order; running sums over k wait in scratch.
void ContractPacker::WritePanels() {
  const Body& body = a_.body();
  BodyEmitter emitter(body, plan_.args, prelude_, out_);
  LoopWriter loops(&emitter, prelude_, out_, 1, false);
  emitter.SetIndex(0, "b");
  std::vector<int> sums;
  for (size_t e = 0; e < body.exprs.size(); ++e) {
    if (body.exprs[e].kind != Expr::Kind::kReduce) continue;
    ATHANOR_CHECK(body.exprs[e].fn == Fn::kAdd);
    sums.push_back(static_cast<int>(e));
  }
  prelude_->Use("splat", dtype());
  prelude_->Use("load", dtype());
  if (!sums.empty()) {
    out_->Line("const long width = (m1 - m0 + {0}) / {1} * {1};", lanes_ - 1, lanes_);
    out_->Line("for (long i = 0; k0 == 0 && i < width * {}; ++i) sums[i] = 0;", sums.size());
  }
  out_->Open(fmt::runtime(pairs_ ? "for (long k = k0; k < k1 / 2 * 2; k += 2)" : "for (long k = k0; k < k1; ++k)"));
  WritePanelsOfK(sums, &emitter, false);
  out_->Close();
  if (pairs_ && contract_.k % 2 != 0) {
    out_->Open("if (k1 % 2 != 0)");
    out_->Line("const long k = k1 - 1;");
    WritePanelsOfK(sums, &emitter, true);
    out_->Close();
  }
  if (sums.empty()) return;
  out_->Line("if (k1 < {}) return;", contract_.k);
  for (bool tail : {false, true}) {
    if (tail && contract_.m % lanes_ == 0) break;
    out_->Open(fmt::runtime(tail ? "if (m0 + (m1 - m0) / {0} * {0} < m1)" : "for (long m = m0; m + {0} <= m1; m += {0})"), lanes_);
    if (tail) out_->Line("const long m = m0 + (m1 - m0) / {0} * {0};", lanes_);
    emitter.Push();
    emitter.SetVector(1, "m", lanes_, tail ? "(m1 - m)" : "");
    for (size_t s = 0; s < sums.size(); ++s) {
      out_->Line("const {} sum{} = load(sums + width * {} + (m - m0));", VectorType(dtype()), s, s);
      emitter.Bind(sums[s], fmt::format("sum{}", s), true);
    }
    emitter.SetIndex(2, "0");
    for (const Store& store : body.stores) emitter.EmitStore(store, false);
    emitter.Pop();
    out_->Close();
  }
}

// Step k of all panels, of pairs also the next, unless k is the last and `odd`.
void ContractPacker::WritePanelsOfK(const std::vector<int>& sums, BodyEmitter* emitter, bool odd) {
  const Body& body = a_.body();
  const auto at_step = [&](const std::string& k, const std::string& live, bool fetch) {
    emitter->Push();
    emitter->SetIndex(2, k);
    emitter->SetVector(1, "m", lanes_, live);
    if (fetch) Prefetch(a_, 2, 8, emitter);
    std::string value = emitter->Vector(a_.result());
    for (size_t s = 0; s < sums.size(); ++s) {
      const std::string at = fmt::format("sums + width * {} + (m - m0)", s);
      out_->Line("store({0}, load({0}) + {1});", at, emitter->Vector(body.exprs[sums[s]].args[0]));
    }
    emitter->Pop();
    return value;
  };
  out_->Line("long m = m0;");
  for (bool tail : {false, true}) {
    if (tail && contract_.m % lanes_ == 0) break;
    out_->Open(fmt::runtime(tail ? "if (m < m1)" : "for (; m + {0} <= m1; m += {0})"), lanes_);
    const std::string live = tail ? "(m1 - m)" : "";
    std::string value = at_step("k", live, !tail);
    if (pairs_) value = PairText(a_, value, odd ? "vf32{}" : at_step("(k + 1)", live, !tail));
    out_->Line("store(to + (m - m0) / {0} * {1} + {2} * {0}, {3});", lanes_, row_, StepsText("(k - k0)"), value);
    out_->Close();
  }
}

// Reductions over k grouped by how many others must be complete before.
std::vector<std::vector<int>> ContractPacker::Stages() const {
  const Body& body = a_.body();
  std::vector<int> stage(body.exprs.size(), 0);
  std::vector<std::vector<int>> stages;
  for (size_t e = 0; e < body.exprs.size(); ++e) {
    const Expr& expr = body.exprs[e];
    const int arity = expr.kind == Expr::Kind::kApply ? Arity(expr.fn) : expr.kind == Expr::Kind::kReduce ? 1 : 0;
    for (int i = 0; i < arity; ++i) stage[e] = std::max(stage[e], stage[expr.args[i]]);
    if (expr.kind != Expr::Kind::kReduce) continue;
    if (stages.size() <= static_cast<size_t>(stage[e])) stages.resize(stage[e] + 1);
    stages[stage[e]++].push_back(static_cast<int>(e));
  }
  return stages;
}

void ContractPacker::WriteRows() {
  const Body& body = a_.body();
  BodyEmitter emitter(body, plan_.args, prelude_, out_);
  LoopWriter loops(&emitter, prelude_, out_, 1, false);
  emitter.SetIndex(0, "b");
  out_->Open("for (long m = m0; m < m1; ++m, to += {})", row_);
  emitter.Push();
  emitter.SetIndex(1, "m");
  for (const std::vector<int>& stage : Stages()) {
    for (int e : stage) {
      const Expr& expr = body.exprs[e];
      prelude_->Use("splat", expr.dtype);
      out_->Line("{0} r{1}_0 = splat({2});", VectorType(expr.dtype), e,
                 expr.fn == Fn::kAdd ? Literal(0, expr.dtype) : LowestLiteral(expr.dtype));
    }
    loops.VectorLoop(2, "0", std::to_string(contract_.k), lanes_, [&](const std::string& live) {
      for (int e : stage) {
        const Expr& expr = body.exprs[e];
        const std::string name = fmt::format("r{}_0", e), value = emitter.Vector(expr.args[0]);
        if (expr.fn != Fn::kAdd) prelude_->Use("arith", expr.dtype);
        std::string next = expr.fn == Fn::kAdd ? fmt::format("{} + {}", name, value) : fmt::format("vmax({}, {})", name, value);
        if (!live.empty()) {
          prelude_->Use("select", expr.dtype);
          prelude_->Use("iota", DType::kI32);
          next = fmt::format("select(iota_i32() < {}, {}, {})", live, next, name);
        }
        out_->Line("{} = {};", name, next);
      }
    });
    for (int e : stage) {
      const Expr& expr = body.exprs[e];
      const char* across = expr.fn == Fn::kAdd ? "sum" : "max";
      prelude_->Use(across, expr.dtype);
      out_->Line("const {0} r{1} = {2}(r{1}_0);", ScalarType(expr.dtype), e, across);
      emitter.Bind(e, fmt::format("r{}", e), false);
    }
  }
  emitter.Push();
  emitter.SetIndex(2, "0");
  for (const Store& store : body.stores) emitter.EmitStore(store, false);
  emitter.Pop();
  emitter.Hoist(std::vector<int>{a_.result()});
  std::string at;
  loops.SetBefore([&](const std::string& index, const std::string&) { at = index; });
  loops.VectorLoop(2, "0", std::to_string(contract_.k), lanes_, [&](const std::string&) {
    if (pairs_) {
      out_->Line("store_bf16((unsigned short*)to + {}, {});", at, emitter.Vector(a_.result()));
    } else {
      out_->Line("store(to + {}, {});", at, emitter.Vector(a_.result()));
    }
  });
  if (pairs_ && contract_.k % 2 != 0) out_->Line("((unsigned short*)to)[{}] = 0;", contract_.k);
  emitter.Pop();
  out_->Close();
}

bool ContractPacker::b_by_rows() const { return b_.across_contiguous() && !b_.windows(); }

void ContractPacker::WritePackB(int64_t k_multiple) {
  out_->Comment(fmt::format("Steps [k0, k1) of columns [n0, n1) of B in panels of {} columns.", panel_));
  const bool along_n = b_.in_place() && b_.stride(2) == 1;
  if (!pairs_ && b_.in_place() && (along_n || b_.stride(1) == 1)) {
    const char* const routine = along_n ? "pack_rows" : "pack_squares";
    prelude_->Use(routine, dtype());
    out_->Open("INLINE void pack_b(char* const* args, long b, long k0, long k1, long n0, long n1, {}* to)", ScalarType(dtype()));
    DeclareArgs(plan_.args, out_);
    out_->Line("{}_{}({} + k0 * {} + n0 * {}, {}, {}, to, {}, {});", routine, Name(dtype()), b_.Base("b"), b_.stride(1), b_.stride(2), b_.stride(along_n ? 1 : 2),
               along_n ? "k1 - k0, n1 - n0" : "n1 - n0, k1 - k0", panel_, panel_stride_);
    out_->Close();
    out_->Blank();
    return;
  }
  if (!pairs_ && b_.in_pieces(lanes_) && b_.stride(1) == 1) {
    prelude_->Use("pack_squares", dtype());
    out_->Open("{} void pack_b(char* const* args, long b, long k0, long k1, long n0, long n1, {}* to)", kOwnFunction, ScalarType(dtype()));
    DeclareArgs(plan_.args, out_);
    BodyEmitter emitter(b_.body(), plan_.args, prelude_, out_);
    emitter.SetIndex(0, "b");
    emitter.SetIndex(1, "k0");
    emitter.SetIndex(2, "n");
    out_->Open("for (long n = n0; n < n1; n += {})", lanes_);
    out_->Line("pack_squares_{}({}, {}, smaller(n1 - n, {}), k1 - k0, to + (n - n0) / {} * {} + (n - n0) % {}, {}, 0);", Name(dtype()), emitter.Pointer(*b_.main()),
               b_.stride(2), lanes_, panel_, panel_stride_, panel_, panel_);
    out_->Close();
    out_->Close();
    out_->Blank();
    return;
  }
  out_->Open("{} void pack_b(char* const* args, long b, long k0, long k1, long n0, long n1, {}* to)", b_.windows() ? "INLINE" : kOwnFunction,
             ScalarType(packed()));
  DeclareArgs(plan_.args, out_);
  for (DType stored : {dtype(), packed()}) prelude_->Use("store", stored);
  prelude_->Use("splat", dtype());
  if (pairs_) prelude_->Use("pairs");
  if (b_.windows()) {
    b_.windows()->Write({.along_begin = "n0", .along_end = "n1", .across_begin = "k0", .across_end = "k1",
                         .at = fmt::format("to + (i - n0) / {0} * {1} + (i - n0) % {0}", panel_, panel_stride_),
                         .step = std::to_string(panel_), .room = fmt::format("{0} - (i - n0) % {0}", panel_),
                         .elements = pairs_ ? WindowCopier::Target::Elements::kPairs : WindowCopier::Target::Elements::kValues},
                        prelude_, out_);
  } else {
    b_.across_contiguous() ? PackAlongN() : PackAlongK(k_multiple);
  }
  out_->Close();
  out_->Blank();
}

// A row of all panels after the other, so that memory is read in order.
void ContractPacker::PackAlongN() {
  BodyEmitter emitter(b_.body(), plan_.args, prelude_, out_);
  emitter.SetIndex(0, "b");
  out_->Open(fmt::runtime(pairs_ ? "for (long k = k0; k < k1 / 2 * 2; k += 2)" : "for (long k = k0; k < k1; ++k)"));
  WriteRowOfB(&emitter, false);
  out_->Close();
  if (pairs_ && contract_.k % 2 != 0) {
    out_->Open("if (k1 % 2 != 0)");
    out_->Line("const long k = k1 - 1;");
    WriteRowOfB(&emitter, true);
    out_->Close();
  }
}

// Step k of all panels, of pairs also the next, unless k is the last and `odd`.
void ContractPacker::WriteRowOfB(BodyEmitter* emitter, bool odd) {
  const auto at_step = [&](const std::string& k, const std::string& n, const std::string& live) {
    emitter->Push();
    emitter->SetIndex(1, k);
    emitter->SetVector(2, n, lanes_, live);
    if (live.empty()) Prefetch(b_, 1, 8, emitter);
    const std::string value = emitter->Vector(b_.result());
    emitter->Pop();
    return value;
  };
  emitter->Push();
  if (!pairs_) {
    emitter->SetIndex(1, "k");
    emitter->Hoist(std::vector<int>{b_.result()});
  }
  auto vector = [&](const std::string& n, const std::string& live, const std::string& at) {
    std::string value = at_step("k", n, live);
    if (pairs_) value = PairText(b_, value, odd ? "vf32{}" : at_step("(k + 1)", n, live));
    out_->Line("store({}, {});", at, value);
  };
  out_->Line("{}* at = to + {} * {};", ScalarType(packed()), StepsText("(k - k0)"), panel_);
  out_->Line("long n = n0;");
  out_->Open("for (; n + {0} <= n1; n += {0}, at += {1})", panel_, panel_stride_);
  for (int64_t j = 0; j < panel_; j += lanes_) vector(j == 0 ? "n" : fmt::format("(n + {})", j), "", fmt::format("at + {}", j));
  out_->Close();
  if (panel_ > lanes_ && contract_.n % panel_ >= lanes_) {
    out_->Open("for (; n + {0} <= n1; n += {0}, at += {0})", lanes_);
    vector("n", "", "at");
    out_->Close();
  }
  if (contract_.n % lanes_ != 0) {
    out_->Open("if (n < n1)");
    vector("n", "(n1 - n)", "at");
    out_->Close();
  }
  emitter->Pop();
}

// Squares of lanes x lanes: vectors along k, transposed in registers.
void ContractPacker::PackAlongK(int64_t k_multiple) {
  prelude_->Use("transpose", dtype());
  BodyEmitter emitter(b_.body(), plan_.args, prelude_, out_);
  emitter.SetIndex(0, "b");
  const int64_t steps = pairs_ ? 2 * lanes_ : lanes_;        // of k in a square
  out_->Open("for (long n = n0; n < n1; n += {})", lanes_);
  out_->Line("long k = k0;");
  for (bool tail : {false, true}) {
    if (tail && k_multiple % steps == 0) break;
    out_->Open(fmt::runtime(tail ? "if (k < k1)" : "for (; k + {0} <= k1; k += {0})"), steps);
    out_->Line("{} r[{}];", VectorType(dtype()), lanes_);
    auto rows = [&](const char* index, const char* guard) {
      out_->Unroll();
      out_->Open("for (int i = 0; i < {}; ++i)", lanes_);
      emitter.Push();
      emitter.SetIndex(2, index);
      if (*guard) out_->Line("r[i] = {}{{}};", VectorType(dtype()));
      if (*guard) out_->Line("if ({}) break;", guard);
      out_->Line("r[i] = {};", StepsOfB(&emitter, tail));
      emitter.Pop();
      out_->Close();
    };
    if (contract_.n % lanes_ == 0) {
      rows("(n + i)", "");
    } else {
      out_->Unroll();
      out_->Line("for (int i = 0; i < {}; ++i) r[i] = {}{{}};", lanes_, VectorType(dtype()));
      rows("(n + i)", "n + i >= n1");
    }
    out_->Line("transpose(r);");
    out_->Line("{0}* at = to + (n - n0) / {1} * {2} + (n - n0) % {1} + {3} * {1};", ScalarType(packed()), panel_, panel_stride_,
               StepsText("(k - k0)"));
    if (!tail) out_->Unroll();
    out_->Line("for (int i = 0; i < {}; ++i) store(at + i * {}, {}r[i]);",
               !tail    ? std::to_string(lanes_)
               : pairs_ ? "(k1 - k + 1) / 2"
                        : "k1 - k",
               panel_, pairs_ ? "(vi32)" : "");
    out_->Close();
  }
  out_->Close();
}

// A vector of B along k from k on, of pairs twice as many steps.
std::string ContractPacker::StepsOfB(BodyEmitter* emitter, bool tail) {
  if (!pairs_) {
    emitter->SetVector(1, "k", lanes_, tail ? "(k1 - k)" : "");
    if (!tail) Prefetch(b_, 1, 8 * lanes_, emitter);
    return emitter->Vector(b_.result());
  }
  const Operand* main = b_.exact_halves() ? b_.main() : nullptr;
  if (main != nullptr && main->pieces.empty() && FirstStride(main->map.dim(1)) == 1 && Coalesce(main->map.dim(1)).size() == 1) {
    emitter->SetIndex(1, "k");
    if (!tail) Prefetch(b_, 1, 8 * lanes_, emitter);
    if (tail) return fmt::format("(vf32)load_pairs_tail({}, k1 - k)", emitter->Pointer(*main));
    return fmt::format("(vf32)load_pairs({})", emitter->Pointer(*main));
  }
  std::string parts[2];
  for (int part = 0; part < 2; ++part) {
    emitter->Push();
    const std::string k = part == 0 ? "k" : fmt::format("(k + {})", lanes_);
    const std::string live = part == 0 ? fmt::format("smaller(k1 - k, {})", lanes_) : fmt::format("larger(k1 - k - {}, 0)", lanes_);
    emitter->SetVector(1, k, lanes_, tail ? live : "");
    parts[part] = emitter->Vector(b_.result());
    if (tail) parts[part] = fmt::format("keep({}, {})", parts[part], live);
    emitter->Pop();
  }
  if (tail) prelude_->Use("bounds");
  return fmt::format("(vf32){}({}, {})", b_.exact_halves() ? "along_pairs" : "round_along_pairs", parts[0], parts[1]);
}

}  // namespace athanor
