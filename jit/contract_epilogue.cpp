#include "jit/contract_epilogue.h"

#include <numeric>

#include "jit/body_emitter.h"
#include "jit/contract_operand.h"
#include "jit/loop_writer.h"
#include "jit/prelude_units.h"
#include "jit/sizes.h"
#include "ops/error.h"

namespace athanor {
namespace {

class EpilogueWriter {
 public:
  EpilogueWriter(const KernelPlan& plan, const EpilogueBlocks& blocks, ContractMoments* moments, Prelude* prelude)
      : plan_(plan), contract_(std::get<ContractPlan>(plan.detail)), blocks_(blocks), moments_(moments), lanes_(prelude->lanes()), type_(ScalarType(contract_.accumulator)),
        prelude_(prelude) {}

  // Both give the numbers that end a call. As a routine, of which layers of many sizes and their schedules share one.
  std::string WriteRows() {
    OpenRoutine("Columns [n0, n1) of `rows` rows of C, finished and stored.");
    BodyEmitter emitter(contract_.epilogue, plan_.args, prelude_, &out_);
    emitter.NameSizes(&sizes_);
    LoopWriter loops(&emitter, prelude_, &out_, 1, false);
    prelude_->Use("load", contract_.accumulator);
    emitter.SetIndex(0, "b");
    loops.HoistStores();
    if (moments_->by_parts()) moments_->BeginParts(&sizes_, &out_);
    out_.Open("for (long m = m0; m < m0 + rows; ++m, c += {})", c_row_);
    emitter.Push();
    emitter.SetIndex(1, "m");
    loops.HoistStores();
    loops.SetBefore([&](const std::string& index, const std::string&) {
      for (size_t e = 0; e < contract_.epilogue.exprs.size(); ++e) {
        if (contract_.epilogue.exprs[e].kind != Expr::Kind::kAccumulator) continue;
        if (contract_.n == 1) {
          out_.Line("const {} product = *c;", type_);
        } else {
          out_.Line("const {} product = load(c + ({} - n0));", VectorType(contract_.accumulator), index);
        }
        emitter.Bind(static_cast<int>(e), "product", contract_.n > 1);
      }
    });
    loops.SetWhole(blocks_.whole_columns);
    if (moments_->by_parts()) moments_->BeginPart(&loops, &emitter, &out_);
    loops.VectorLoop(2, "n0", "n1");
    if (moments_->by_parts()) moments_->EndPart(&sizes_, &out_);
    emitter.Pop();
    out_.Close();
    return CloseRoutine();
  }

  std::string WriteTransposed() {
    const DType dtype = contract_.accumulator;
    for (const char* helper : {"load", "transpose"}) prelude_->Use(helper, dtype);
    OpenRoutine("Columns [n0, n1) of `rows` rows of C, finished and stored along m.");
    BodyEmitter emitter(contract_.epilogue, plan_.args, prelude_, &out_);
    emitter.NameSizes(&sizes_);
    LoopWriter loops(&emitter, prelude_, &out_, 1, false);
    emitter.SetIndex(0, "b");
    loops.HoistStores();
    out_.Open("for (long n = n0; n < n1; n += {})", lanes_);
    if (!blocks_.whole_columns) out_.Line("const long columns = n1 - n < {0} ? n1 - n : {0};", lanes_);
    out_.Line("long m = m0;");
    for (bool tail : {false, true}) {
      if (tail ? blocks_.row_multiple % lanes_ == 0 : blocks_.most_rows < lanes_) continue;
      out_.Open(fmt::runtime(tail ? "if (m < m0 + rows)" : "for (; m + {0} <= m0 + rows; m += {0})"), lanes_);
      out_.Line("{} r[{}]{};", VectorType(dtype), lanes_, tail ? " = {}" : "");
      if (!tail) out_.Unroll();
      out_.Line("for (long i = 0; i < {}; ++i) r[i] = load(c + (m - m0 + i) * {} + (n - n0));", tail ? "m0 + rows - m" : std::to_string(lanes_),
                c_row_);
      out_.Line("transpose(r);");
      out_.Open("for (long i = 0; i < {}; ++i)", blocks_.whole_columns ? std::to_string(lanes_) : "columns");
      emitter.Push();
      emitter.SetIndex(2, "(n + i)");
      emitter.SetVector(1, "m", std::gcd(blocks_.begin_multiple, static_cast<int64_t>(lanes_)), tail ? "(m0 + rows - m)" : "");
      for (size_t e = 0; e < contract_.epilogue.exprs.size(); ++e) {
        if (contract_.epilogue.exprs[e].kind == Expr::Kind::kAccumulator) emitter.Bind(static_cast<int>(e), "r[i]", true);
      }
      emitter.EmitStores();
      emitter.Pop();
      out_.Close();
      out_.Close();
    }
    out_.Close();
    return CloseRoutine();
  }

 private:
  void OpenRoutine(std::string_view comment) {
    out_.Comment(comment);
    out_.Open("ROUTINE void $NAME(char* const* args, long b, long m0, long rows, long n0, long n1, const {}* c$SIZES)", type_);
    DeclareArgs(plan_.args, &out_);
  }

  std::string CloseRoutine() {
    out_.Close();
    ATHANOR_CHECK(prelude_->AddRoutine("epilogue", Substitute(out_.text(), {{"$SIZES", sizes_.Parameters()}})) == "epilogue");
    return sizes_.Arguments();
  }

  const KernelPlan& plan_;
  const ContractPlan& contract_;
  const EpilogueBlocks& blocks_;
  ContractMoments* moments_;
  int lanes_;
  std::string_view type_;
  Prelude* prelude_;
  Sizes sizes_;
  const std::string c_row_ = sizes_.Named("c_row", blocks_.c_row);
  SourceWriter out_;
};

// Results that are stored as they are, by the prelude's routine, along n or along m.
void WriteCopy(const KernelPlan& plan, const Operand& output, int64_t c_row, Prelude* prelude, SourceWriter* out) {
  const auto& contract = std::get<ContractPlan>(plan.detail);
  const bool rows = FirstStride(output.map.dim(2)) == 1;
  const char* const routine = rows ? "copy_rows" : "copy_squares";
  prelude->Use(routine, contract.accumulator);
  out->Comment(fmt::format("Columns [n0, n1) of `rows` rows of C, stored as they are{}.", rows ? "" : ", along m"));
  out->Open("INLINE void epilogue(char* const* args, long b, long m0, long rows, long n0, long n1, const {}* c)", ScalarType(contract.accumulator));
  DeclareArgs(plan.args, out);
  BodyEmitter emitter(contract.epilogue, plan.args, prelude, out);
  emitter.SetIndex(0, "b");
  emitter.SetIndex(1, "m0");
  emitter.SetIndex(2, "n0");
  out->Line("{}_{}(c, {}, {}, {}, rows, n1 - n0);", routine, Name(contract.accumulator), c_row, emitter.Pointer(output),
            FirstStride(output.map.dim(rows ? 1 : 2)));
  out->Close();
  out->Blank();
}

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

std::string WriteContractEpilogue(const KernelPlan& plan, const EpilogueBlocks& blocks, ContractMoments* moments, Prelude* prelude, SourceWriter* out) {
  const bool along_rows = StoresAlongRows(std::get<ContractPlan>(plan.detail));
  const Operand* const output = PlainOutput(plan);
  if (output != nullptr && (along_rows || FirstStride(output->map.dim(2)) == 1)) {
    WriteCopy(plan, *output, blocks.c_row, prelude, out);
    return "";
  }
  EpilogueWriter writer(plan, blocks, moments, prelude);
  return along_rows ? writer.WriteTransposed() : writer.WriteRows();
}

}  // namespace athanor
