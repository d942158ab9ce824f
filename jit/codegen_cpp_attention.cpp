#include <algorithm>
#include <numbers>

#include "jit/attention_dropout.h"
#include "jit/attention_mask.h"
#include "jit/attention_writer.h"
#include "jit/codegen_cpp.h"
#include "jit/integer_math.h"
#include "ops/error.h"

namespace athanor {
namespace {

// Flash attention in the sense that scores never leave the cache (Dao et al. 2022); a task owns a block of queries of one head
// and sees all keys at once, so the softmax needs no rescaling.
class ForwardGenerator : AttentionWriter {
 public:
  ForwardGenerator(const KernelPlan& plan, const AttentionSchedule& schedule, const CpuTarget& cpu)
      : AttentionWriter(plan, schedule, cpu),
        q_("q", plan, attention_.q, attention_.lq, attention_.d, attention_.dtype, pairs()),
        k_("k", plan, attention_.k, attention_.lk, attention_.d, attention_.dtype, pairs()),
        v_("v", plan, attention_.v, attention_.lk, attention_.dv, attention_.dtype, pairs()),
        y_("y", plan, attention_.y, attention_.lq, attention_.dv, attention_.dtype),
        block_(std::min(schedule.block_q, attention_.lq)),
        output_row_(RoundUp(attention_.dv, lanes_)) {
    queries_ = ScoreRow(block_);
  }

  KernelSource Generate() {
    const AttentionPlan& p = attention_;
    if (p.batch * p.heads * p.lq * p.dv == 0) return Finish({});
    copies_ = {PlaceScratch(q_.scratch_elements()), PlaceScratch(k_.scratch_elements()), PlaceScratch(v_.scratch_elements())};
    packed_q_ = PlaceScratch(Steps(p.d) * queries_);
    if (pairs()) zipped_v_ = PlaceScratch(Steps(p.lk) * ZippedRow(p.dv));
    scores_ = PlaceScratch((p.lk + kTallestTile) * queries_);
    output_ = PlaceScratch(RoundUp(block_, kTallestTile) * output_row_);
    inverse_ = PlaceScratch(queries_);
    const int64_t blocks = (p.lq + block_ - 1) / block_, rest = p.lq % block_;
    WriteHelpers();
    if (pairs()) WriteZipping("v", v_.stride(), Steps(p.dv));
    WriteBlock(block_, "block");
    if (rest != 0) WriteBlock(rest, "last_block");
    out_.Open("extern \"C\" void attention(char* const* args, long begin, long end, char* scratch)");
    out_.Open("for (long task = begin; task < end; ++task)");
    out_.Line("const long q0 = task % {0} * {1}, head = task / {0}, h = head % {2}, b = head / {2};", blocks, block_, p.heads);
    out_.Line(fmt::runtime(rest == 0 ? "block(args, b, h, q0, scratch);"
                                     : "q0 + {} <= {} ? block(args, b, h, q0, scratch) : last_block(args, b, h, q0, scratch);"),
              block_, p.lq);
    out_.Close();
    out_.Close();
    return Finish({{"attention", p.batch * p.heads * blocks}});
  }

 private:
  void WriteBlock(int64_t rows, const std::string& name) {
    const AttentionPlan& p = attention_;
    Product scores = ScoresProduct(rows), values = ValuesProduct(rows);
    const bool ahead = FetchesAhead();
    if (ahead) scores.ahead = {Next(k_), Next(v_)}, values.ahead = {Next(q_)};
    Prepare(scores);
    Prepare(values);
    const Function softmax = WriteSoftmax(rows);
    const Stored stored{y_, rows, p.dv, output_row_, true};
    const Function store = WriteStoreRows(stored);
    out_.Comment(fmt::format("{} queries of one head, from q0 on.", rows));
    out_.Open("static __attribute__((noinline)) void {}(char* const* args, long b, long h, long q0, char* scratch)", name);
    DeclareArgs(plan_.args, &out_);
    DefineLive();
    const std::string kv = p.group() == 1 ? "h" : fmt::format("(h / {})", p.group());
    q_.DefineInput("b", "h", Scratch(copies_[0]), &prelude_, &out_);
    k_.DefineInput("b", kv, Scratch(copies_[1]), &prelude_, &out_);
    v_.DefineInput("b", kv, Scratch(copies_[2]), &prelude_, &out_);
    if (y_.linear()) y_.DefineMemory("b", "h", &out_);
    if (ahead) DefineNext(kv);
    out_.Line("{0}* const s = {1};", type_, Scratch(scores_));
    if (pairs()) out_.Line("const int* const weights = (const int*)s;");
    out_.Line("{0}* const inverse = {1};", type_, Scratch(inverse_));
    WriteTransposedPacking(fmt::format("q + q0 * {}", q_.stride()), q_.stride(), rows, Steps(p.d), QueryFactor(), Packed(packed_q_));
    if (pairs()) out_.Line("zip_v(v, {}, {});", Packed(zipped_v_), Keys());
    out_.Comment("S^T = K Q^T");
    Write(scores);
    CallSoftmax(softmax);
    out_.Comment("O = P V");
    WriteValues(values);
    StoreRows(store, stored, Scratch(output_), "inverse", "q0");
    out_.Close();
    out_.Blank();
  }

  Ahead Next(const AttentionRows& rows) const {
    return {"next_" + rows.name(), rows.memory_stride(), rows.extent(), SizeOf(rows.memory())};
  }

  // Whether a task fetches the rows of the next: where it sees a whole head, all lies in place and fits in the cache twice.
  bool FetchesAhead() const {
    const AttentionPlan& p = attention_;
    const bool fits = block_ == p.lq && 2 * 2 * (p.lq + p.lk) * std::max(p.d, p.dv) * SizeOf(p.dtype) < cpu_.l2_bytes * 3 / 4;
    return fits && q_.linear() && k_.linear() && v_.linear();
  }

  void DefineNext(const std::string& kv) {
    const AttentionPlan& p = attention_;
    out_.Comment("The rows of the next head are fetched on the way.");
    out_.Line("const long after = b * {0} + h + 1 < {1} ? b * {0} + h + 1 : {2}, next_b = after / {0}, next_h = after % {0};",
              p.heads, p.batch * p.heads, p.batch * p.heads - 1);
    const std::string next_kv = kv == "h" ? "next_h" : fmt::format("(next_h / {})", p.group());
    for (const AttentionRows* rows : {&q_, &k_, &v_}) {
      const bool of_keys = rows == &k_ || rows == &v_;
      out_.Line("auto* const next_{} = {};", rows->name(), rows->Base("next_b", of_keys ? next_kv : "next_h"));
    }
  }

  Product ScoresProduct(int64_t rows) const {
    Product product{.rows = attention_.lk,
                    .columns = RoundUp(rows, lanes_),
                    .mr = schedule_.mr,
                    .nv = schedule_.nv,
                    .a_row = k_.stride(),
                    .a_step = 1,
                    .b_step = queries_,
                    .c_row = queries_};
    product.a = "k", product.b = Packed(packed_q_), product.c = "s";
    product.steps = std::to_string(Steps(attention_.d)), product.first = "1";
    if (ragged()) product.condition = "i < live";
    if (attention_.left >= 0 || attention_.right >= 0) {
      product.column_from = fmt::format("larger(0, {} - q0)", FirstQuery("i"));
      product.column_to = fmt::format("smaller({}, {} - q0)", rows, EndQuery("last"));
    }
    return product;
  }

  Product ValuesProduct(int64_t rows) const {
    const int nv = OutputVectors(attention_.dv);
    Product product{.rows = rows,
                    .columns = attention_.dv,
                    .mr = RowsFor(nv),
                    .nv = nv,
                    .a_row = 1,
                    .a_step = queries_,
                    .b_step = pairs() ? ZippedRow(attention_.dv) : v_.stride(),
                    .c_row = output_row_,
                    .mask_b = true};
    product.a = pairs() ? "weights" : "s", product.b = pairs() ? Packed(zipped_v_) : "v", product.c = Scratch(output_);
    product.steps = std::to_string(Steps(attention_.lk)), product.first = "1";
    if (banded()) product.from = FirstStep(FirstKey("q0 + i")), product.to = EndStep(EndKey("q0 + last"));
    if (!InBlocksOfKeys()) return product;
    product.from = banded() ? fmt::format("larger({}, first_step)", product.from) : "first_step";
    product.to = banded() ? fmt::format("smaller({}, end_step)", product.to) : "end_step";
    product.first = "first_step == 0";
    return product;
  }

  // Whether the values of some keys at a time are added up: they and their weights are then read from the nearest cache.
  bool InBlocksOfKeys() const { return schedule_.block_k < attention_.lk; }

  void WriteValues(const Product& values) {
    if (!InBlocksOfKeys()) return Write(values);
    const int64_t steps = Steps(attention_.lk), block = Steps(schedule_.block_k);
    out_.Open("for (long first_step = 0; first_step < {0}; first_step += {1})", steps, block);
    out_.Line("const long end_step = first_step + {0} < {1} ? first_step + {0} : {1};", block, steps);
    Write(values);
    out_.Close();
  }

  // Over lanes of queries: the largest score, the exponentials and their sum. The sum divides the output, not P.
  Function WriteSoftmax(int64_t rows) {
    const AttentionPlan& p = attention_;
    std::string parameters = fmt::format("{0}* s, {0}* inverse, long q0, {0} factor", type_);
    if (ragged()) parameters += ", long live";
    if (masked()) parameters += fmt::format(", const {}* mask", MemoryType(p.mask_dtype));
    if (drops()) parameters += ", long seed, long offset, long row0";
    if (p.lse.arg >= 0) parameters += fmt::format(", {}* log_sum_exps", type_);
    const auto body = [&] { WriteSoftmaxBody(rows); };
    return WriteFunction("softmax", "Weights of the scores of some queries, from q0 on, and what they are to be multiplied by.", parameters, !masked() && !drops(), body);
  }

  void CallSoftmax(const Function& softmax) {
    const AttentionPlan& p = attention_;
    std::string more;
    if (ragged()) more += ", live";
    if (masked()) more += ", " + HeadAddress(p.mask, "b", "h");
    if (drops()) more += fmt::format(", {}, {}", DropoutKey(p), DropoutRow(p, "b", "h", "q0"));
    if (p.lse.arg >= 0) more += ", " + HeadAddress(p.lse, "b", "h");
    out_.Line("{}(s, inverse, q0, {}{}{});", softmax.name, Literal(ExponentFactor(), p.dtype), more, softmax.numbers);
  }

  void WriteSoftmaxBody(int64_t rows) {
    const AttentionPlan& p = attention_;
    for (const char* helper : {"load", "store", "splat", "exp2", "log", "arith"}) Use(helper);
    const std::string lowest = fmt::format("splat({})", LowestLiteral(p.dtype)), row = Size("row", queries_), queries = Size("queries", rows),
                      at = fmt::format("column + key * {}", row), count = rows % lanes_ == 0 ? std::to_string(lanes_) : fmt::format("smaller({} - c, {})", queries, lanes_);
    prelude_.Use("bounds");
    if (pairs()) out_.Line("int* const weights = (int*)s;");
    out_.Open("for (long c = 0; c < {}; c += {})", queries, lanes_);
    out_.Line("{}* const column = s + c;", type_);
    WriteKeyRanges("q0 + c", "0", Size("keys", p.lk));
    if (masked()) out_.Line("add_mask(column + low * {}, mask, q0 + c, low, high - low, {});", row, count);
    out_.Line("{} top = {};", vector_, lowest);
    ForKeys([&](bool masked) {
      if (masked) {
        out_.Line("const {} x = select({}, {}, load({}));", vector_, Unseen("q0 + c", "0"), lowest, at);
        out_.Line("store({}, x);", at);
      } else {
        out_.Line("const {} x = load({});", vector_, at);
      }
      out_.Line("top = x > top ? x : top;");
    });
    if (pairs()) WriteEdges(at, lowest);
    out_.Line("const {} base = {};", vector_, may_see_nothing() ? fmt::format("top == {} ? {}{{}} : top * factor", lowest, vector_) : "top * factor");
    out_.Line("{} sum = {{}};", vector_);
    WriteExponentials(at, row);
    if (banded()) out_.Comment("Tiles of P V reach past the band.");
    if (p.left >= 0) WriteZeros(fmt::format("larger(0, low - {})", kTallestTile), "low", row);
    if (p.right >= 0 || ragged()) WriteZeros("high", fmt::format("high + {}", kTallestTile), row);
    const std::string inverse = may_see_nothing() ? fmt::format("sum == {0}{{}} ? {0}{{}} : 1 / sum", vector_) : "1 / sum";
    out_.Line("store(inverse + c, {});", inverse);
    if (p.lse.arg >= 0) {
      out_.Line("const {} lse = madd(base, splat({}), v_log(sum));", vector_, Literal(std::numbers::ln2, p.dtype));
      out_.Line("for (long l = 0; l < {}; ++l) log_sum_exps[{}] = lse[l];", count, DigitsText(p.lse.map.dim(2), "(q0 + c + l)"));
    }
    out_.Close();
  }

  // Keys outside the band that are in a pair with one inside: nothing is seen there.
  void WriteEdges(const std::string& at, const std::string& lowest) {
    if (attention_.left >= 0) out_.Line("for (long key = low / 2 * 2; key < low; ++key) store({}, {});", at, lowest);
    if (banded() || attention_.lk % 2 != 0) {
      out_.Line("for (long key = high; key % 2 != 0; ++key) store({}, {});", at, lowest);
    }
  }

  // P and its sum, dropped out behind that.
  void WriteExponentials(const std::string& at, const std::string& row) {
    auto exponential = [&](const std::string& score) {
      return fmt::format("v_exp2(madd(load({}), splat(factor), -base))", score);
    };
    const std::string next = fmt::format("{} + {}", at, row);
    out_.Line("#pragma clang loop unroll_count(2)");
    if (pairs() && !drops()) return WritePairs(exponential(at), exponential(next), "sum += e + next;", row);
    const bool whole = pairs();
    out_.Open("for (long key = low{}; key < {}; ++key)", whole ? " / 2 * 2" : "", whole ? "(high + 1) / 2 * 2" : "high");
    out_.Line("const {} e = {};", vector_, exponential(at));
    out_.Line("store({}, e);", at);
    out_.Line("sum += e;");
    out_.Close();
    if (!drops()) return;
    out_.Line("drop(column, seed, offset, row0 + c, low, high);");
    if (pairs()) WritePairs(fmt::format("load({})", at), fmt::format("load({})", next), "", row);
  }

  // P of two keys in one row, in the place of scores further up, which are used up.
  void WritePairs(const std::string& of_key, const std::string& of_next, const std::string& more, const std::string& row) {
    prelude_.Use("halves");
    prelude_.Use("store", DType::kI32);
    out_.Open("for (long key = low / 2 * 2; key < high; key += 2)");
    out_.Line("const {} e = {}, next = {};", vector_, of_key, of_next);
    out_.Line("store(weights + c + key / 2 * {}, zip_halves(round_halves(e, next)));", row);
    if (!more.empty()) out_.Line("{}", more);
    out_.Close();
  }

  // P of keys [begin, end), of pairs those that are in no pair with a key of the band.
  void WriteZeros(const std::string& begin, const std::string& end, const std::string& row) {
    if (pairs()) {
      const bool above = begin == "high";
      out_.Line("for (long key = {}; key < {}; key += 2) store(weights + c + key / 2 * {}, vi32{{}});",
                above ? "(high + 1) / 2 * 2" : begin + " / 2 * 2", above ? end : "low / 2 * 2", row);
    } else {
      out_.Line("for (long key = {}; key < {}; ++key) store(column + key * {}, {}{{}});", begin, end, row, vector_);
    }
  }

  AttentionRows q_, k_, v_, y_;
  int64_t block_, output_row_;
  std::vector<int64_t> copies_;
  int64_t packed_q_ = 0, zipped_v_ = 0, scores_ = 0, output_ = 0, inverse_ = 0;
};

}  // namespace

KernelSource GenerateCppAttentionForward(const KernelPlan& plan, const AttentionSchedule& schedule, const CpuTarget& cpu) {
  return ForwardGenerator(plan, schedule, cpu).Generate();
}

KernelSource GenerateCppAttention(const KernelPlan& plan, const AttentionSchedule& schedule, const CpuTarget& cpu) {
  const AttentionPlan& attention = std::get<AttentionPlan>(plan.detail);
  if (attention.dtype != DType::kF32 && attention.dtype != DType::kF64) {
    Fail("scaled_dot_product_attention: dtype {} is not compiled yet, f32 and f64 are", Name(attention.dtype));
  }
  const bool backward = attention.backward;
  if (IsDecode(attention)) return GenerateCppAttentionDecode(plan, schedule, cpu);
  return backward ? GenerateCppAttentionBackward(plan, schedule, cpu) : GenerateCppAttentionForward(plan, schedule, cpu);
}

namespace {

// Whether all that is multiplied lies in memory as bf16, the queries with no factor to be rounded with.
bool Halves(const KernelPlan& plan) {
  const AttentionPlan& p = std::get<AttentionPlan>(plan.detail);
  auto half = [&](const Operand& operand) { return plan.args[operand.arg].dtype == DType::kBF16; };
  return p.dtype == DType::kF32 && half(p.q) && half(p.k) && half(p.v) && (!p.backward || half(p.dy)) &&
         (p.mask.arg >= 0 || p.scale > 0);
}

}  // namespace

std::string ValidateAttention(const AttentionSchedule& schedule, const KernelPlan& plan, const CpuTarget& cpu) {
  const AttentionPlan& attention = std::get<AttentionPlan>(plan.detail);
  if (schedule.block_q < 1 || schedule.block_k < 1) return "a block is empty";
  if (schedule.mr < 1 || schedule.mr > kTallestTile || schedule.nv < 1) return "the register tile is empty or too tall";
  if (TileRegisters(schedule.mr, schedule.nv) > cpu.vector_registers()) return "the register tile needs too many registers";
  if (!schedule.pairs) return "";
  if (!Halves(plan)) return "only bf16 operands are taken in pairs";
  if (IsDecode(attention)) return "a few queries, which are bound by memory, are not taken in pairs";
  if (attention.backward && schedule.block_k % 2 != 0 && schedule.block_k < attention.lk) return "a pair of keys is in two blocks";
  return "";
}

namespace {

// Keys whose values are added up at a time. Wide registers take so many values for each weight that the second cache is near enough for all of them;
// narrow ones want both in the first.
int64_t ValueBlock(const AttentionPlan& attention, const CpuTarget& cpu) {
  const int64_t keys = std::max<int64_t>(attention.lk, 1);
  return cpu.isa == Isa::kAvx512 ? keys : std::min<int64_t>(keys, 64);
}

}  // namespace

AttentionSchedule DefaultAttention(const KernelPlan& plan, const CpuTarget& cpu) {
  const AttentionPlan& attention = std::get<AttentionPlan>(plan.detail);
  const int64_t lanes = cpu.vector_bytes() / SizeOf(attention.dtype), vectors = (attention.lq + lanes - 1) / lanes;
  const bool wide = cpu.isa == Isa::kAvx512;
  AttentionSchedule schedule;
  // Low and wide: along a diagonal a tile wastes rows, not columns, of which only the vectors that are needed are computed.
  schedule.nv = static_cast<int>(std::clamp<int64_t>(vectors, 1, wide ? 4 : 2));
  schedule.mr = std::min(kTallestTile, (cpu.vector_registers() - 1 - schedule.nv) / schedule.nv);
  // Blocks of scores that fit in half of the L2 cache.
  const int64_t room = cpu.l2_bytes / 2 / SizeOf(attention.dtype);
  auto block = [&](int64_t extent, int64_t other, int64_t least) {
    const int64_t fits = std::max(least, room / std::max<int64_t>(other, 1) / least * least);
    return std::max<int64_t>(1, std::min<int64_t>(extent, std::min<int64_t>(fits, 128)));
  };
  schedule.block_q = block(attention.lq, attention.lk, lanes);
  if (IsDecode(attention)) {
    schedule.block_k = std::max<int64_t>(1, std::min<int64_t>(attention.lk, 256));
    return schedule;
  }
  schedule.block_k = attention.backward ? block(attention.lk, 2 * attention.lq, 8) : ValueBlock(attention, cpu);
  schedule.pairs = wide && cpu.Has("avx512bf16") && Halves(plan);
  return schedule;
}

}  // namespace athanor
