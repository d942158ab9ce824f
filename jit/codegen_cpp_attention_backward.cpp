#include <algorithm>
#include <numbers>

#include "jit/attention_dropout.h"
#include "jit/attention_mask.h"
#include "jit/attention_writer.h"
#include "jit/body_emitter.h"
#include "jit/integer_math.h"

namespace athanor {
namespace {

// A task owns one head of K and V: for each head of queries that reads it and each block of keys, P is recomputed from the
// log-sum-exp, then
//   dV = P^T dO,  dS = P * (dO V^T - rowsum(dO * O)),  dK = dS^T Q,  dQ += dS K.
// dQ is summed over the blocks of keys in order, dK and dV over the heads of queries, so results do not depend on the number of
// threads.
class BackwardGenerator : AttentionWriter {
 public:
  BackwardGenerator(const KernelPlan& plan, const AttentionSchedule& schedule, const CpuTarget& cpu)
      : AttentionWriter(plan, schedule, cpu),
        q_("q", plan, attention_.q, attention_.lq, attention_.d, attention_.dtype, pairs()),
        k_("k", plan, attention_.k, attention_.lk, attention_.d, attention_.dtype, pairs()),
        v_("v", plan, attention_.v, attention_.lk, attention_.dv, attention_.dtype, pairs()),
        y_("y", plan, attention_.y, attention_.lq, attention_.dv, attention_.dtype),
        dy_("dy", plan, attention_.dy, attention_.lq, attention_.dv, attention_.dtype, pairs()),
        dq_{AttentionRows("dq", plan, attention_.dq, attention_.lq, attention_.d, attention_.dtype), attention_.lq, attention_.d},
        dk_{AttentionRows("dk", plan, attention_.dk, attention_.lk, attention_.d, attention_.dtype), attention_.lk, attention_.d},
        dv_{AttentionRows("dv", plan, attention_.dv_out, attention_.lk, attention_.dv, attention_.dtype), attention_.lk,
            attention_.dv},
        block_(std::min(schedule.block_k, std::max<int64_t>(attention_.lk, 1))) {}

  KernelSource Generate() {
    const AttentionPlan& p = attention_;
    if (p.batch * p.heads * p.lk * p.lq == 0) return Finish({});
    for (const AttentionRows* rows : {&q_, &k_, &v_, &y_, &dy_}) {
      copies_.push_back(PlaceScratch(rows == &y_ && y_.linear() ? 0 : rows->scratch_elements()));
    }
    packed_q_ = PlaceScratch(Steps(p.d) * queries_);
    packed_dy_ = PlaceScratch(Steps(p.dv) * queries_);
    const int64_t rows = block_ + kTallestTile + (pairs() ? 1 : 0);
    p_ = PlaceScratch(rows * queries_);
    ds_ = PlaceScratch(rows * queries_);
    if (pairs()) {
      paired_ = PlaceScratch(Steps(rows) * queries_);
      zipped_q_ = PlaceScratch(Steps(p.lq) * ZippedRow(p.d));
      zipped_k_ = PlaceScratch(Steps(p.lk) * ZippedRow(p.d));
      zipped_dy_ = PlaceScratch(Steps(p.lq) * ZippedRow(p.dv));
    }
    lse_ = PlaceScratch(queries_);
    delta_ = PlaceScratch(queries_);
    for (Gradient* gradient : {&dq_, &dk_, &dv_}) PlaceGradient(gradient);
    const int64_t rest = p.lk % block_;
    WriteHelpers();
    PlanAhead();
    if (!ahead_.empty()) WriteNext();
    if (pairs()) {
      WriteZipping("q", q_.stride(), Steps(p.d));
      WriteZipping("k", k_.stride(), Steps(p.d));
      WriteZipping("dy", dy_.stride(), Steps(p.dv));
    }
    WriteBlock(block_, "block");
    if (rest != 0) WriteBlock(rest, "last_block");
    WriteHead(rest);
    return Finish({{"attention_backward", p.batch * p.kv_heads}});
  }

 private:
  // Written straight to memory when whole vectors fit, else to scratch first.
  struct Gradient {
    AttentionRows rows;
    int64_t count, extent;
    bool direct = false;
    int64_t scratch = 0, stride = 0;
    Function store = {};                                     // from scratch to memory
  };

  void PlaceGradient(Gradient* gradient) {
    gradient->direct = gradient->rows.in_place() && gradient->extent % lanes_ == 0;
    gradient->stride = gradient->direct ? gradient->rows.stride() : RoundUp(gradient->extent, lanes_);
    if (!gradient->direct) gradient->scratch = PlaceScratch(gradient->count * gradient->stride);
  }

  void DefineGradient(const Gradient& gradient, const char* target, const char* head) {
    if (gradient.rows.linear()) gradient.rows.DefineMemory("b", head, &out_);
    out_.Line("{}* const {} = {};", type_, target, gradient.direct ? gradient.rows.name() : Scratch(gradient.scratch));
  }

  static Stored Rows(const Gradient& gradient) { return {gradient.rows, gradient.count, gradient.extent, gradient.stride, false}; }

  void StoreGradient(const Gradient& gradient, const char* target, const char* head) {
    if (!gradient.direct) StoreRows(gradient.store, Rows(gradient), target, "", "0", head);
  }

  void WriteHead(int64_t rest) {
    const AttentionPlan& p = attention_;
    const bool grouped = p.group() > 1;
    const char* kv = grouped ? "kv" : "h";
    for (Gradient* gradient : {&dq_, &dk_, &dv_}) {
      if (!gradient->direct) gradient->store = WriteStoreRows(Rows(*gradient));
    }
    const Function statistics = WriteStatistics();
    out_.Open("extern \"C\" void attention_backward(char* const* args, long begin, long end, char* scratch)");
    DeclareArgs(plan_.args, &out_);
    out_.Open("for (long task = begin; task < end; ++task)");
    out_.Line("const long {1} = task % {0}, b = task / {0};", p.kv_heads, kv);
    DefineLive();
    k_.DefineInput("b", kv, Scratch(copies_[1]), &prelude_, &out_);
    v_.DefineInput("b", kv, Scratch(copies_[2]), &prelude_, &out_);
    if (pairs()) out_.Line("zip_k(k, {}, {});", Packed(zipped_k_), Keys());
    DefineGradient(dk_, "to_dk", kv);
    DefineGradient(dv_, "to_dv", kv);
    if (grouped) out_.Open("for (long h = kv * {0}; h < kv * {0} + {0}; ++h)", p.group());
    WriteQueries(rest, statistics);
    if (grouped) out_.Close();
    StoreGradient(dk_, "to_dk", kv);
    StoreGradient(dv_, "to_dv", kv);
    out_.Close();
    out_.Close();
  }

  // All that one head of queries does.
  void WriteQueries(int64_t rest, const Function& statistics) {
    const AttentionPlan& p = attention_;
    q_.DefineInput("b", "h", Scratch(copies_[0]), &prelude_, &out_);
    if (y_.linear()) {
      y_.DefineMemory("b", "h", &out_);
    } else {
      y_.DefineInput("b", "h", Scratch(copies_[3]), &prelude_, &out_);
    }
    dy_.DefineInput("b", "h", Scratch(copies_[4]), &prelude_, &out_);
    DefineGradient(dq_, "to_dq", "h");
    WriteTransposedPacking("q", q_.stride(), p.lq, Steps(p.d), QueryFactor(), Packed(packed_q_));
    WriteTransposedPacking("dy", dy_.stride(), p.lq, Steps(p.dv), 1, Packed(packed_dy_));
    if (pairs()) {
      out_.Line("int* const zipped_q = {0}, *const zipped_dy = {1};", Packed(zipped_q_), Packed(zipped_dy_));
      out_.Line("zip_q(q, zipped_q, {});", p.lq);
      out_.Line("zip_dy(dy, zipped_dy, {});", p.lq);
    }
    out_.Line("{}({}, {}, {}, {}, dy{});", statistics.name, Scratch(lse_), Scratch(delta_), HeadAddress(p.lse, "b", "h"), NameOfY(), statistics.numbers);
    if (!ahead_.empty()) DefineNext();
    const char* zipped = pairs() ? "zipped_" : "";
    std::string call = fmt::format("(scratch, k0, {4}q, k + k0 * {0}, v + k0 * {1}, {4}dy, to_dq, to_dk + k0 * {2}, to_dv + k0 * {3}",
                                   k_.stride(), v_.stride(), dk_.stride, dv_.stride, zipped);
    if (ragged()) call += ", live";
    if (p.group() > 1) call += fmt::format(", h == kv * {}", p.group());
    if (masked()) call += ", " + HeadAddress(p.mask, "b", "h");
    if (p.dmask.arg >= 0) call += ", " + HeadAddress(p.dmask, "b", "h");
    if (drops()) call += fmt::format(", {}, {}", DropoutKey(p), DropoutRow(p, "b", "h", "0"));
    if (!ahead_.empty()) call += ", next";
    out_.Line("for (long k0 = 0; k0 + {0} <= {1}; k0 += {0}) block{2});", block_, p.lk, call);
    if (rest != 0) {
      out_.OpenBlock();
      out_.Line("const long k0 = {};", p.lk - rest);
      out_.Line("last_block{});", call);
      out_.Close();
    }
    StoreGradient(dq_, "to_dq", "h");
  }

  Ahead Next(const AttentionRows& rows) const {
    return {"next." + rows.name(), rows.memory_stride(), rows.extent(), SizeOf(rows.memory())};
  }

  // The rows of the next head of queries, if all lie in place and fit in the cache besides this one.
  void PlanAhead() {
    const AttentionPlan& p = attention_;
    const std::vector<const AttentionRows*> all = {&q_, &k_, &v_, &y_, &dy_};
    const bool fits =
        p.lq == p.lk && block_ == p.lk && 2 * 4 * (p.lq + p.lk) * std::max(p.d, p.dv) * SizeOf(p.dtype) < cpu_.l2_bytes * 3 / 4;
    if (fits && std::all_of(all.begin(), all.end(), [](const AttentionRows* rows) { return rows->linear(); })) ahead_ = all;
  }

  void WriteNext() {
    out_.Comment("The rows of the next head, fetched on the way");
    out_.Open("struct Next");
    for (const AttentionRows* rows : ahead_) out_.Line("const {}* {};", MemoryType(rows->memory()), rows->name());
    out_.Close(";");
    out_.Blank();
  }

  void DefineNext() {
    const AttentionPlan& p = attention_;
    const std::string kv = p.group() == 1 ? "next_h" : fmt::format("(next_h / {})", p.group());
    out_.Line("const long after = b * {0} + h + 1 < {1} ? b * {0} + h + 1 : {2}, next_b = after / {0}, next_h = after % {0};",
              p.heads, p.batch * p.heads, p.batch * p.heads - 1);
    std::string list;
    for (const AttentionRows* rows : ahead_) {
      const bool of_keys = rows == &k_ || rows == &v_;
      list += (list.empty() ? "" : ", ") + rows->Base("next_b", of_keys ? kv : "next_h");
    }
    out_.Line("const Next next = {{{}}};", list);
  }

  // y is read once, wherever it lies.
  std::string NameOfY() const { return y_.linear() && !y_.in_place() ? "y_memory" : "y"; }

  Function WriteStatistics() {
    const AttentionPlan& p = attention_;
    const std::string parameters = fmt::format("{0}* lse, {0}* delta, const {0}* log_sum_exps, const {1}* y, const {2}* dy", type_,
                                               y_.linear() ? MemoryType(y_.memory()) : type_, ScalarType(packed()));
    return WriteFunction("statistics", "The logarithms of the sums to base 2; delta = rowsum(dO * O). Behind the last query, zeros.", parameters, true, [&] {
      for (const char* helper : {"load", "store", "splat", "sum"}) Use(helper);
      const std::string queries = Size("queries", p.lq), row = Size("row", queries_), y_row = Size("y_row", y_.linear() ? y_.memory_stride() : y_.stride()),
                        dy_row = Size("dy_row", dy_.stride());
      out_.Line("for (long i = {0}; i < {1}; ++i) lse[i] = delta[i] = 0;", queries, row);
      out_.Open("for (long i = 0; i < {}; ++i, y += {}, dy += {})", queries, y_row, dy_row);
      out_.Line("lse[i] = log_sum_exps[{}] * {};", DigitsText(p.lse.map.dim(2), "i"), Literal(std::numbers::log2e, p.dtype));
      // P is zero for a query that sees nothing, whatever the finite number here.
      if (may_see_nothing()) out_.Line("if (lse[i] == {}) lse[i] = 0;", LowestLiteral(p.dtype));
      out_.Line("{} total = {{}};", vector_);
      ForVectors(p.dv, [&](int64_t j, int64_t live) {
        const std::string at = fmt::format("y + {}", j), of_y = y_.linear() ? y_.Load(at, live, &prelude_) : LoadText(at, live);
        out_.Line("total += {} * {};", dy_.Values("dy", j, live, &prelude_), of_y);
      });
      out_.Line("delta[i] = sum(total);");
      out_.Close();
    });
  }

  void WriteBlock(int64_t keys, const std::string& name) {
    Product scores = Transposed(keys, k_.stride(), attention_.d, "k", packed_q_, "p");
    Product products = Transposed(keys, v_.stride(), attention_.dv, "v", packed_dy_, "ds");
    Product dv = KeyGradient(keys, pairs() ? "halves_p" : "p", "dy", dy_.stride(), attention_.dv, "dv", dv_.stride);
    Product dk = KeyGradient(keys, pairs() ? "halves_ds" : "ds", "q", q_.stride(), attention_.d, "dk", dk_.stride);
    Product dq = QueryGradient(keys);
    if (!ahead_.empty()) {
      scores.ahead = {Next(k_), Next(q_)}, products.ahead = {Next(v_), Next(dy_)};
      dv.ahead = {Next(y_)};
    }
    for (const Product* product : {&scores, &products, &dv, &dk, &dq}) Prepare(*product);
    const Function gradients = WriteScoreGradients(keys);
    std::string parameters = fmt::format(
        "char* scratch, long k0, const {1}* q, const {1}* k, const {1}* v, const {1}* dy, {0}* dq, {0}* dk, {0}* dv", type_,
        ScalarType(packed()));
    if (ragged()) parameters += ", long live";
    if (attention_.group() > 1) parameters += ", long fresh";
    if (masked()) parameters += fmt::format(", const {}* mask", MemoryType(attention_.mask_dtype));
    if (attention_.dmask.arg >= 0) parameters += fmt::format(", {}* dmask", type_);
    if (drops()) parameters += ", long seed, long offset, long row";
    if (!ahead_.empty()) parameters += ", const Next& next";
    out_.Comment(fmt::format("{} keys of one head, from k0 on; k, v, dk and dv point to the first of them.", keys));
    if (attention_.group() > 1) out_.Comment("fresh: dk and dv are overwritten, not added to");
    out_.Open("static __attribute__((noinline)) void {}({})", name, parameters);
    out_.Line("{0}* const p = {1};", type_, Scratch(p_));
    out_.Line("{0}* const ds = {1};", type_, Scratch(ds_));
    if (pairs()) {
      out_.Comment("Rounded: row by row in the place of the values, and dS in pairs of keys too");
      out_.Line("const int* const halves_p = (const int*)p, *const halves_ds = (const int*)ds;");
      out_.Line("int* const paired_ds = {};", Packed(paired_));
      out_.Line("const int* const zipped_k = {} + k0 / 2 * {};", Packed(zipped_k_), ZippedRow(attention_.d));
    }
    out_.Comment("S^T = K Q^T and dP^T = V dO^T");
    Write(scores);
    Write(products);
    CallScoreGradients(gradients);
    out_.Comment("dV = P^T dO, dK = dS^T Q, dQ += dS K");
    Write(dv);
    Write(dk);
    Write(dq);
    out_.Close();
    out_.Blank();
  }

  Product Transposed(int64_t keys, int64_t row, int64_t depth, const char* a, int64_t packed, const char* c) const {
    Product product{.rows = keys,
                    .columns = RoundUp(attention_.lq, lanes_),
                    .mr = schedule_.mr,
                    .nv = schedule_.nv,
                    .a_row = row,
                    .a_step = 1,
                    .b_step = queries_,
                    .c_row = queries_};
    product.a = a, product.b = Packed(packed), product.c = c;
    product.steps = std::to_string(Steps(depth)), product.first = "1";
    if (ragged()) product.condition = "k0 + i < live";
    if (attention_.left >= 0 || attention_.right >= 0) {
      product.column_from = FirstQuery("k0 + i");
      product.column_to = EndQuery("k0 + last");
    }
    return product;
  }

  Product KeyGradient(int64_t keys, const char* a, const char* b, int64_t b_step, int64_t depth, const char* c,
                      int64_t c_row) const {
    const int nv = OutputVectors(depth);
    Product product{.rows = keys,
                    .columns = depth,
                    .mr = RowsFor(nv),
                    .nv = nv,
                    .a_row = queries_,
                    .a_step = 1,
                    .b_step = pairs() ? ZippedRow(depth) : b_step,
                    .c_row = c_row,
                    .mask_b = true};
    product.a = a, product.b = b, product.c = c;
    product.steps = std::to_string(Steps(attention_.lq)), product.first = attention_.group() > 1 ? "fresh" : "1";
    if (attention_.left >= 0 || attention_.right >= 0) {
      product.from = FirstStep(FirstQuery("k0 + i")), product.to = EndStep(EndQuery("k0 + last"));
    }
    return product;
  }

  Product QueryGradient(int64_t keys) const {
    const int nv = OutputVectors(attention_.d);
    Product product{.rows = attention_.lq,
                    .columns = attention_.d,
                    .mr = RowsFor(nv),
                    .nv = nv,
                    .a_row = 1,
                    .a_step = queries_,
                    .b_step = pairs() ? ZippedRow(attention_.d) : k_.stride(),
                    .c_row = dq_.stride,
                    .mask_b = true};
    product.a = pairs() ? "paired_ds" : "ds", product.b = pairs() ? "zipped_k" : "k", product.c = "dq";
    product.steps = std::to_string(Steps(keys)), product.first = "k0 == 0";
    if (banded()) {
      product.from = attention_.left < 0 ? "0" : FirstStep(fmt::format("bounded({} - k0, 0, {})", FirstKey("i"), keys));
      product.to = EndStep(fmt::format("bounded({} - k0, 0, {})", EndKey("last"), keys));
    }
    return product;
  }

  // Where weights are dropped, that scales; the gradient of a mask is the one of the scores before they are scaled.
  bool Scales() const { return attention_.scale != 1 && attention_.dmask.arg < 0 && !drops(); }

  // P = 2^(S - lse) and dS = scale * P * (dP - delta), over lanes of queries.
  Function WriteScoreGradients(int64_t keys) {
    const AttentionPlan& p = attention_;
    std::string parameters = fmt::format("{0}* p, {0}* ds, const {0}* lse, const {0}* delta, long k0, {0} factor", type_);
    if (Scales()) parameters += fmt::format(", {} scale", type_);
    if (pairs()) parameters += ", int* paired_ds";
    if (ragged()) parameters += ", long live";
    if (masked()) parameters += fmt::format(", const {}* mask", MemoryType(p.mask_dtype));
    if (p.dmask.arg >= 0) parameters += fmt::format(", {}* dmask", type_);
    if (drops()) parameters += ", long seed, long offset, long row0";
    const auto body = [&] { WriteScoreGradientsBody(keys); };
    return WriteFunction("score_gradients", "Weights and gradients of the scores of some keys, from k0 on, in the place of scores and gradients of weights.", parameters,
                         !masked() && !drops(), body);
  }

  void CallScoreGradients(const Function& gradients) {
    const AttentionPlan& p = attention_;
    std::string more;
    if (Scales()) more += ", " + Literal(p.scale, p.dtype);
    if (pairs()) more += ", paired_ds";
    if (ragged()) more += ", live";
    if (masked()) more += ", mask";
    if (p.dmask.arg >= 0) more += ", dmask";
    if (drops()) more += ", seed, offset, row";
    out_.Line("{}(p, ds, {}, {}, k0, {}{}{});", gradients.name, Scratch(lse_), Scratch(delta_), Literal(ExponentFactor(), p.dtype), more, gradients.numbers);
  }

  void WriteScoreGradientsBody(int64_t keys) {
    const AttentionPlan& p = attention_;
    for (const char* helper : {"load", "store", "exp2", "splat", "arith"}) Use(helper);
    prelude_.Use("bounds");
    const std::string row = Size("row", queries_), queries = Size("queries", p.lq), block = Size("block", keys), at = fmt::format("key * {} + c", row),
                      count = p.lq % lanes_ == 0 ? std::to_string(lanes_) : fmt::format("smaller({} - c, {})", queries, lanes_);
    if (pairs()) out_.Line("int* const halves_p = (int*)p, *const halves_ds = (int*)ds;");
    out_.Open("for (long c = 0; c < {}; c += {})", queries, lanes_);
    out_.Line("const {0} l = load(lse + c), d = load(delta + c);", vector_);
    WriteKeyRanges("c", "k0", block);
    if (masked()) out_.Line("add_mask(p + low * {} + c, mask, c, k0 + low, high - low, {});", row, count);
    ForKeys([&](bool masked) {
      if (masked) out_.Line("const vi32 unseen = {};", Unseen("c", "k0"));
      auto seen = [&](const std::string& value) {
        return masked ? fmt::format("select(unseen, {}{{}}, {})", vector_, value) : value;
      };
      out_.Line("const {} e = {};", vector_, seen(fmt::format("v_exp2(madd(load(p + {}), splat(factor), -l))", at)));
      out_.Line("store(p + {}, e);", at);
      if (!drops()) out_.Line("store(ds + {0}, {1});", at, seen(fmt::format("e * (load(ds + {}) - d){}", at, Scales() ? " * scale" : "")));
    });
    if (drops()) out_.Line("drop(p + c, ds + c, d, seed, offset, row0 + c, k0, low, high);");
    WriteMargins(keys, block, at);
    if (p.dmask.arg >= 0) out_.Line("store_mask_gradient(ds + c, dmask, c, k0, {}, {});", block, count);
    if (pairs()) WriteRounding(block, row, at);
    out_.Close();
  }

  // The keys of a vector of queries that products reach: past the band the tiles of a diagonal, all where a sequence does not have
  // all keys or the gradient of the mask is wanted; of pairs whole ones.
  std::pair<std::string, std::string> KeysReached(const std::string& block) const {
    const AttentionPlan& p = attention_;
    const bool all = !banded() || ragged() || p.dmask.arg >= 0;
    const std::string begin = fmt::format("larger(0, low - {})", kTallestTile), end = fmt::format("high + {}", kTallestTile);
    if (!pairs()) return {all ? "0" : begin, all ? block : end};
    return {all || p.left < 0 ? "0" : begin + " / 2 * 2", fmt::format("({} + 1) / 2 * 2", all ? block : end)};
  }

  // Zeros in those that are outside the band.
  void WriteMargins(int64_t keys, const std::string& block, const std::string& at) {
    if (!banded() && (!pairs() || keys % 2 == 0)) return;
    out_.Comment("Products reach past the band.");
    auto zero = [&](const std::string& begin, const std::string& end) {
      out_.Open("for (long key = {}; key < {}; ++key)", begin, end);
      out_.Line("store(p + {}, {}{{}});", at, vector_);
      out_.Line("store(ds + {}, {}{{}});", at, vector_);
      out_.Close();
    };
    const auto [begin, end] = KeysReached(block);
    if (attention_.left >= 0) zero(begin, "low");
    zero("high", end);
  }

  // P and dS to bf16, which takes the place of values further left, which are used up.
  void WriteRounding(const std::string& block, const std::string& row, const std::string& at) {
    prelude_.Use("halves");
    prelude_.Use("store", DType::kI32);
    const auto [begin, end] = KeysReached(block);
    const auto both = [&](const char* values) {
      return fmt::format("round_halves(load({0} + {1}), load({0} + {1} + {2}))", values, at, row);
    };
    out_.Open("for (long key = {}; key < {}; key += 2)", begin, end);
    out_.Line("const vu16x2 weights = {}, gradients = {};", both("p"), both("ds"));
    for (const char* name : {"p", "ds"}) {
      out_.Line("unsigned short* const to_{0} = (unsigned short*)(halves_{0} + key * {1}) + c;", name, row);
    }
    out_.Line("store_halves(to_p, to_p + 2 * {}, weights);", row);
    out_.Line("store_halves(to_ds, to_ds + 2 * {}, gradients);", row);
    out_.Line("store(paired_ds + key / 2 * {} + c, zip_halves(gradients));", row);
    out_.Close();
  }

  AttentionRows q_, k_, v_, y_, dy_;
  Gradient dq_, dk_, dv_;
  int64_t block_;
  std::vector<int64_t> copies_;
  std::vector<const AttentionRows*> ahead_;  // all that is read, or none
  int64_t packed_q_ = 0, packed_dy_ = 0, p_ = 0, ds_ = 0, lse_ = 0, delta_ = 0;
  int64_t zipped_q_ = 0, zipped_k_ = 0, zipped_dy_ = 0, paired_ = 0;
};

}  // namespace

KernelSource GenerateCppAttentionBackward(const KernelPlan& plan, const AttentionSchedule& schedule, const CpuTarget& cpu) {
  return BackwardGenerator(plan, schedule, cpu).Generate();
}

}  // namespace athanor
