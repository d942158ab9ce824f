#include "jit/contract_moments.h"

#include "jit/body_emitter.h"
#include "jit/integer_math.h"

namespace athanor {
namespace {

constexpr int64_t kTaskElements = 1 << 15;
constexpr int kChains = 4;
constexpr int64_t kPart = 3;                                 // mean, squares, columns

}  // namespace

ContractMoments::ContractMoments(const KernelPlan& plan, const Parts& parts, Prelude* prelude, SourceWriter* out)
    : plan_(plan), contract_(std::get<ContractPlan>(plan.detail)), parts_(parts),
      type_(ScalarType(contract_.accumulator)), vector_(VectorType(contract_.accumulator)), prelude_(prelude), out_(out) {
  if (contract_.moments) prelude_->Use("sum", contract_.accumulator);
  if (by_parts()) block_parts_ = Ceil(parts.block, parts.strip), row_parts_ = Ceil(contract_.n, parts.block) * block_parts_;
}

void ContractMoments::PlaceParts(KernelSource* source) {
  if (!by_parts()) return;
  parts_arg_ = static_cast<int>(plan_.args.size() + source->temporary_bytes.size());
  source->temporary_bytes.push_back(RoundUp(contract_.batch * contract_.m * row_parts_ * kPart * SizeOf(contract_.accumulator), 64));
}

std::string ContractMoments::AsStored(const std::string& value) const {
  const DType memory = plan_.args[contract_.moments->result.arg].dtype;
  if (!IsHalf(memory)) return value;
  prelude_->Use(Name(memory));
  return fmt::format("{0}_value({0}_bits({1}))", Name(memory), value);
}

void ContractMoments::DeclareSums(SourceWriter* out) { out->Line("{0} sums[{1}] = {{}}, squares[{1}] = {{}};", vector_, kChains); }

void ContractMoments::Add(const std::string& sums, int chain, const std::string& term, const std::string& live, SourceWriter* out) {
  if (live.empty()) return out->Line("{}[{}] += {};", sums, chain, term);
  prelude_->Use("select", contract_.accumulator);
  prelude_->Use("iota", DType::kI32);
  out->Line("{0}[{1}] = select(iota_i32() < (int){2}, {0}[{1}] + {3}, {0}[{1}]);", sums, chain, live, term);
}

std::string ContractMoments::Total(const std::string& sums) { return fmt::format("sum(({0}[0] + {0}[1]) + ({0}[2] + {0}[3]))", sums); }

void ContractMoments::BeginParts(Sizes* sizes, SourceWriter* out) {
  const std::string arg = sizes->Named("parts_arg", parts_arg_), batch = sizes->Named("batch_parts", contract_.m * row_parts_ * kPart),
                    block = sizes->Named("block", parts_.block);
  std::string part = fmt::format("n0 / {}", block);
  if (block_parts_ > 1) {
    const std::string block_parts = sizes->Named("block_parts", block_parts_), strip = sizes->Named("strip", parts_.strip);
    part = fmt::format("({} * {} + n0 % {} / {})", part, block_parts, block, strip);
  }
  out->Line("{0}* const parts = ({0}*)args[{1}] + b * {2} + {3} * {4};", type_, arg, batch, part, kPart);
}

void ContractMoments::BeginPart(LoopWriter* loops, BodyEmitter* emitter, SourceWriter* out) {
  const int expr = contract_.moments->expr;
  emitter->Push();
  emitter->SetIndex(2, "n0");
  for (size_t e = 0; e < contract_.epilogue.exprs.size(); ++e) {
    if (contract_.epilogue.exprs[e].kind == Expr::Kind::kAccumulator) emitter->Bind(static_cast<int>(e), "*c", false);
  }
  out->Line("const {} column = {};", type_, AsStored(emitter->Scalar(expr)));
  out->Line("const {} first = column - column == 0 ? column : 0;", type_);  // of infinities nothing is subtracted
  emitter->Pop();
  DeclareSums(out);
  loops->SetAfter(kChains, [this, emitter, expr, out](int chain, const std::string& live) {
    out->Line("const {} off = {} - first;", vector_, AsStored(emitter->Vector(expr)));
    Add("sums", chain, "off", live, out);
    Add("squares", chain, "off * off", live, out);
  });
}

void ContractMoments::EndPart(Sizes* sizes, SourceWriter* out) {
  out->Line("{}* const part = parts + m * {};", type_, sizes->Named("row_parts", row_parts_ * kPart));
  out->Line("const {} sum_of_row = {}, columns = n1 - n0;", type_, Total("sums"));
  out->Line("part[0] = first + sum_of_row / columns;");
  out->Line("const {} squares_of_row = {} - sum_of_row * (sum_of_row / columns);", type_, Total("squares"));
  out->Line("part[1] = squares_of_row < 0 ? 0 : squares_of_row;");  // but for rounding it is not
  out->Line("part[2] = columns;");
}

void ContractMoments::WritePhase(KernelSource* source) {
  if (!contract_.moments) return;
  const int64_t rows = contract_.batch * contract_.m, work = by_parts() ? kPart * row_parts_ : 2 * contract_.n;
  const int64_t chunk = std::min(std::max<int64_t>(kTaskElements / work, 1), rows);
  Body body;
  body.extents = contract_.epilogue.extents;
  BodyEmitter emitter(body, plan_.args, prelude_, out_);
  emitter.SetIndex(0, "b");
  emitter.SetIndex(1, "m");
  emitter.SetIndex(2, "0");
  out_->Open("extern \"C\" void moments(char* const* args, long begin, long end, char*)");
  DeclareArgs(plan_.args, out_);
  out_->Open("for (long row = begin * {0}; row < end * {0} && row < {1}; ++row)", chunk, rows);
  out_->Line("const long b = row / {0}, m = row % {0};", contract_.m);
  by_parts() ? WriteMerge() : WriteRow();
  out_->Line("*({}) = sum_of_row;", emitter.Pointer(contract_.moments->sums));
  out_->Line("*({}) = squares_of_row;", emitter.Pointer(contract_.moments->squares));
  out_->Close();
  out_->Close();
  out_->Blank();
  source->phases.push_back({"moments", Ceil(rows, chunk)});
}

void ContractMoments::WriteMerge() {
  // The last block may have fewer strips than the others.
  const int64_t used = row_parts_ - block_parts_ + Ceil((contract_.n - 1) % parts_.block + 1, parts_.strip);
  out_->Line("const {0}* const first = (const {0}*)args[{1}] + row * {2}, * const last = first + {3};", type_, parts_arg_, kPart * row_parts_, kPart * used);
  out_->Line("{} sum_of_row = 0, squares_of_row = 0;", type_);
  out_->Line("for (const {}* part = first; part < last; part += {}) sum_of_row += part[0] * part[2];", type_, kPart);
  out_->Open("for (const {}* part = first; part < last; part += {})", type_, kPart);
  out_->Line("const {} off = part[0] - sum_of_row / {};", type_, contract_.n);
  out_->Line("squares_of_row += part[1] + off * off * part[2];");
  out_->Close();
}

void ContractMoments::WriteRow() {
  Body body;
  body.extents = contract_.epilogue.extents;
  body.operands = {contract_.moments->result};
  Expr load;
  load.kind = Expr::Kind::kLoad;
  load.dtype = contract_.accumulator;
  load.operand = 0;
  body.exprs = {load};
  BodyEmitter emitter(body, plan_.args, prelude_, out_);
  LoopWriter loops(&emitter, prelude_, out_, 1, false);
  emitter.SetIndex(0, "b");
  emitter.SetIndex(1, "m");
  const std::string to = std::to_string(contract_.n);
  DeclareSums(out_);
  loops.VectorLoop(2, "0", to, 1, kChains, [&](int chain, const std::string& live) { Add("sums", chain, emitter.Vector(0), live, out_); });
  out_->Line("const {} sum_of_row = {}, mean = sum_of_row / {};", type_, Total("sums"), contract_.n);
  loops.VectorLoop(2, "0", to, 1, kChains, [&](int chain, const std::string& live) {
    out_->Line("const {} off = {} - mean;", vector_, emitter.Vector(0));
    Add("squares", chain, "off * off", live, out_);
  });
  out_->Line("const {} squares_of_row = {};", type_, Total("squares"));
}

}  // namespace athanor
