#include "jit/contract_epilogue.h"

#include <numeric>

#include "jit/body_emitter.h"
#include "jit/contract_operand.h"
#include "jit/loop_writer.h"

namespace athanor {
namespace {

class EpilogueWriter {
 public:
  EpilogueWriter(const KernelPlan& plan, const EpilogueBlocks& blocks, ContractMoments* moments, Prelude* prelude, SourceWriter* out)
      : plan_(plan), contract_(std::get<ContractPlan>(plan.detail)), blocks_(blocks), moments_(moments), lanes_(prelude->lanes()), type_(ScalarType(contract_.accumulator)),
        prelude_(prelude), out_(out) {}

  void WriteRows() {
    out_->Comment("Columns [n0, n1) of `rows` rows of C, finished and stored.");
    out_->Open("static __attribute__((noinline)) void epilogue(char* const* args, long b, long m0, long rows, long n0, long n1, const {}* c)", type_);
    DeclareArgs(plan_.args, out_);
    BodyEmitter emitter(contract_.epilogue, plan_.args, prelude_, out_);
    LoopWriter loops(&emitter, prelude_, out_, 1, false);
    prelude_->Use("load", contract_.accumulator);
    emitter.SetIndex(0, "b");
    loops.HoistStores();
    out_->Open("for (long m = m0; m < m0 + rows; ++m, c += {})", blocks_.c_row);
    emitter.Push();
    emitter.SetIndex(1, "m");
    loops.HoistStores();
    loops.SetBefore([&](const std::string& index, const std::string&) {
      for (size_t e = 0; e < contract_.epilogue.exprs.size(); ++e) {
        if (contract_.epilogue.exprs[e].kind != Expr::Kind::kAccumulator) continue;
        if (contract_.n == 1) {
          out_->Line("const {} product = *c;", type_);
        } else {
          out_->Line("const {} product = load(c + ({} - n0));", VectorType(contract_.accumulator), index);
        }
        emitter.Bind(static_cast<int>(e), "product", contract_.n > 1);
      }
    });
    loops.SetWhole(blocks_.whole_columns);
    if (moments_->by_parts()) moments_->BeginPart(&loops, &emitter);
    loops.VectorLoop(2, "n0", "n1");
    if (moments_->by_parts()) moments_->EndPart();
    emitter.Pop();
    out_->Close();
    out_->Close();
    out_->Blank();
  }

  // By the prelude's routine, along n or along m.
  void WriteCopy(const Operand& output) {
    const bool rows = FirstStride(output.map.dim(2)) == 1;
    const char* const routine = rows ? "copy_rows" : "copy_squares";
    prelude_->Use(routine, contract_.accumulator);
    out_->Comment(fmt::format("Columns [n0, n1) of `rows` rows of C, stored as they are{}.", rows ? "" : ", along m"));
    out_->Open("INLINE void epilogue(char* const* args, long b, long m0, long rows, long n0, long n1, const {}* c)", type_);
    DeclareArgs(plan_.args, out_);
    BodyEmitter emitter(contract_.epilogue, plan_.args, prelude_, out_);
    emitter.SetIndex(0, "b");
    emitter.SetIndex(1, "m0");
    emitter.SetIndex(2, "n0");
    out_->Line("{}_{}(c, {}, {}, {}, rows, n1 - n0);", routine, Name(contract_.accumulator), blocks_.c_row, emitter.Pointer(output),
               FirstStride(output.map.dim(rows ? 1 : 2)));
    out_->Close();
    out_->Blank();
  }

  void WriteTransposed() {
    const DType dtype = contract_.accumulator;
    for (const char* helper : {"load", "transpose"}) prelude_->Use(helper, dtype);
    out_->Comment("Columns [n0, n1) of `rows` rows of C, finished and stored along m.");
    out_->Open("static __attribute__((noinline)) void epilogue(char* const* args, long b, long m0, long rows, long n0, long n1, const {}* c)", type_);
    DeclareArgs(plan_.args, out_);
    BodyEmitter emitter(contract_.epilogue, plan_.args, prelude_, out_);
    LoopWriter loops(&emitter, prelude_, out_, 1, false);
    emitter.SetIndex(0, "b");
    loops.HoistStores();
    out_->Open("for (long n = n0; n < n1; n += {})", lanes_);
    if (!blocks_.whole_columns) out_->Line("const long columns = n1 - n < {0} ? n1 - n : {0};", lanes_);
    out_->Line("long m = m0;");
    for (bool tail : {false, true}) {
      if (tail ? blocks_.row_multiple % lanes_ == 0 : blocks_.most_rows < lanes_) continue;
      out_->Open(fmt::runtime(tail ? "if (m < m0 + rows)" : "for (; m + {0} <= m0 + rows; m += {0})"), lanes_);
      out_->Line("{} r[{}]{};", VectorType(dtype), lanes_, tail ? " = {}" : "");
      if (!tail) out_->Unroll();
      out_->Line("for (long i = 0; i < {}; ++i) r[i] = load(c + (m - m0 + i) * {} + (n - n0));", tail ? "m0 + rows - m" : std::to_string(lanes_), blocks_.c_row);
      out_->Line("transpose(r);");
      out_->Open("for (long i = 0; i < {}; ++i)", blocks_.whole_columns ? std::to_string(lanes_) : "columns");
      emitter.Push();
      emitter.SetIndex(2, "(n + i)");
      emitter.SetVector(1, "m", std::gcd(blocks_.begin_multiple, static_cast<int64_t>(lanes_)), tail ? "(m0 + rows - m)" : "");
      for (size_t e = 0; e < contract_.epilogue.exprs.size(); ++e) {
        if (contract_.epilogue.exprs[e].kind == Expr::Kind::kAccumulator) emitter.Bind(static_cast<int>(e), "r[i]", true);
      }
      emitter.EmitStores();
      emitter.Pop();
      out_->Close();
      out_->Close();
    }
    out_->Close();
    out_->Close();
    out_->Blank();
  }

 private:
  const KernelPlan& plan_;
  const ContractPlan& contract_;
  const EpilogueBlocks& blocks_;
  ContractMoments* moments_;
  int lanes_;
  std::string_view type_;
  Prelude* prelude_;
  SourceWriter* out_;
};

}  // namespace

const Operand* PlainOutput(const KernelPlan& plan) {
  const auto& contract = std::get<ContractPlan>(plan.detail);
  const Body& body = contract.epilogue;
  if (body.stores.size() != 1 || body.stores[0].end >= 0 || contract.moments) return nullptr;
  const Operand& to = body.stores[0].operand;
  const Expr& stored = body.exprs[body.stores[0].expr];
  if (stored.kind != Expr::Kind::kAccumulator || plan.args[to.arg].dtype != contract.accumulator) return nullptr;
  const bool plain = to.row < 0 && to.bounds.empty() && to.pieces.empty() && Coalesce(to.map.dim(1)).size() <= 1 && Coalesce(to.map.dim(2)).size() <= 1;
  return plain ? &to : nullptr;
}

const Operand* OutputOfTiles(const KernelPlan& plan, int lanes) {
  const Operand* output = PlainOutput(plan);
  return output != nullptr && FirstStride(output->map.dim(2)) == 1 && std::get<ContractPlan>(plan.detail).n % lanes == 0 ? output : nullptr;
}

void WriteContractEpilogue(const KernelPlan& plan, const EpilogueBlocks& blocks, ContractMoments* moments, Prelude* prelude, SourceWriter* out) {
  EpilogueWriter writer(plan, blocks, moments, prelude, out);
  const bool along_rows = StoresAlongRows(std::get<ContractPlan>(plan.detail));
  const Operand* const output = PlainOutput(plan);
  if (output != nullptr && (along_rows || FirstStride(output->map.dim(2)) == 1)) return writer.WriteCopy(*output);
  along_rows ? writer.WriteTransposed() : writer.WriteRows();
}

}  // namespace athanor
