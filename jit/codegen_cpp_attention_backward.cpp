#include <algorithm>

#include "jit/attention_writer.h"
#include "jit/body_emitter.h"

namespace athanor {
namespace {

int64_t RoundUp(int64_t a, int64_t b) { return (a + b - 1) / b * b; }
constexpr int kTallestTile = 12;

// A task owns one head: for each block of keys, P is recomputed from the log-sum-exp, then
//   dV = P^T dO,  dS = P * (dO V^T - rowsum(dO * O)),  dK = dS^T Q,  dQ += dS K.
// dQ is summed over the blocks of keys in order, so results do not depend on the number of threads.
class BackwardGenerator : AttentionWriter {
 public:
  BackwardGenerator(const KernelPlan& plan, const AttentionSchedule& schedule, const CpuTarget& cpu)
      : AttentionWriter(plan, schedule, cpu),
        q_("q", attention_.q, attention_.lq, attention_.d, attention_.dtype),
        k_("k", attention_.k, attention_.lk, attention_.d, attention_.dtype),
        v_("v", attention_.v, attention_.lk, attention_.dv, attention_.dtype),
        y_("y", attention_.y, attention_.lq, attention_.dv, attention_.dtype),
        dy_("dy", attention_.dy, attention_.lq, attention_.dv, attention_.dtype),
        dq_{AttentionRows("dq", attention_.dq, attention_.lq, attention_.d, attention_.dtype), attention_.lq, attention_.d},
        dk_{AttentionRows("dk", attention_.dk, attention_.lk, attention_.d, attention_.dtype), attention_.lk, attention_.d},
        dv_{AttentionRows("dv", attention_.dv_out, attention_.lk, attention_.dv, attention_.dtype), attention_.lk, attention_.dv},
        block_(std::min(schedule.block_k, std::max<int64_t>(attention_.lk, 1))) {}

  KernelSource Generate() {
    const AttentionPlan& p = attention_;
    if (p.batch * p.heads * p.lk * p.lq == 0) return Finish({});
    for (const AttentionRows* rows : {&q_, &k_, &v_, &y_, &dy_}) copies_.push_back(PlaceScratch(rows->scratch_elements()));
    packed_q_ = PlaceScratch(p.d * queries_);
    packed_dy_ = PlaceScratch(p.dv * queries_);
    p_ = PlaceScratch((block_ + kTallestTile) * queries_);
    ds_ = PlaceScratch((block_ + kTallestTile) * queries_);
    lse_ = PlaceScratch(queries_);
    delta_ = PlaceScratch(queries_);
    for (Gradient* gradient : {&dq_, &dk_, &dv_}) PlaceGradient(gradient);
    const int64_t rest = p.lk % block_;
    WriteTransposedPacking("q", q_.stride(), p.lq, p.d, p.scale);
    WriteTransposedPacking("dy", dy_.stride(), p.lq, p.dv, 1);
    WriteBlock(block_, "block");
    if (rest != 0) WriteBlock(rest, "last_block");
    WriteHead(rest);
    return Finish({{"attention_backward", p.batch * p.heads}});
  }

 private:
  // Written straight to memory when whole vectors fit, else to scratch first.
  struct Gradient {
    AttentionRows rows;
    int64_t count, extent;
    bool direct = false;
    int64_t scratch = 0, stride = 0;
  };

  void PlaceGradient(Gradient* gradient) {
    gradient->direct = gradient->rows.in_place() && gradient->extent % lanes_ == 0;
    gradient->stride = gradient->direct ? gradient->rows.stride() : RoundUp(gradient->extent, lanes_);
    if (!gradient->direct) gradient->scratch = PlaceScratch(gradient->count * gradient->stride);
  }

  void DefineGradient(const Gradient& gradient, const char* target) {
    gradient.rows.DefineOutput("b", "h", &out_);
    out_.Line("{}* const {} = {};", type_, target, gradient.direct ? gradient.rows.name() : Scratch(gradient.scratch));
  }

  void WriteHead(int64_t rest) {
    const AttentionPlan& p = attention_;
    for (const char* helper : {"load", "store", "splat", "sum"}) Use(helper);
    out_.Open("extern \"C\" void attention_backward(char* const* args, long begin, long end, char* scratch)");
    DeclareArgs(plan_.args, &out_);
    out_.Open("for (long task = begin; task < end; ++task)");
    out_.Line("const long h = task % {0}, b = task / {0};", p.heads);
    int i = 0;
    for (const AttentionRows* rows : {&q_, &k_, &v_, &y_, &dy_}) rows->DefineInput("b", "h", Scratch(copies_[i++]), &out_);
    DefineGradient(dq_, "to_dq");
    DefineGradient(dk_, "to_dk");
    DefineGradient(dv_, "to_dv");
    out_.Line("pack_q(q, {});", Scratch(packed_q_));
    out_.Line("pack_dy(dy, {});", Scratch(packed_dy_));
    out_.Line("{0}* const lse = {1};", type_, Scratch(lse_));
    out_.Line("{0}* const delta = {1};", type_, Scratch(delta_));
    out_.Line("for (long i = {0}; i < {1}; ++i) lse[i] = delta[i] = 0;", p.lq, queries_);
    out_.Comment("delta = rowsum(dO * O)");
    out_.Open("for (long i = 0; i < {}; ++i)", p.lq);
    out_.Line("lse[i] = (a{} + {} + {} + {})[{}];", p.lse.arg, p.lse.map.offset(), DigitsText(p.lse.map.dim(0), "b"),
              DigitsText(p.lse.map.dim(1), "h"), DigitsText(p.lse.map.dim(2), "i"));
    out_.Line("{} total = {{}};", vector_);
    ForVectors(p.dv, [&](int64_t j, int64_t live) {
      out_.Line("total += {} * {};", LoadText(fmt::format("dy + i * {} + {}", dy_.stride(), j), live),
                LoadText(fmt::format("y + i * {} + {}", y_.stride(), j), live));
    });
    out_.Line("delta[i] = sum(total);");
    out_.Close();
    const std::string call = "(scratch, k0, q, k + k0 * {}, v + k0 * {}, dy, to_dq, to_dk + k0 * {}, to_dv + k0 * {});";
    const std::string arguments = fmt::format(fmt::runtime(call), k_.stride(), v_.stride(), dk_.stride, dv_.stride);
    out_.Line("for (long k0 = 0; k0 + {0} <= {1}; k0 += {0}) block{2}", block_, p.lk, arguments);
    if (rest != 0) {
      out_.OpenBlock();
      out_.Line("const long k0 = {};", p.lk - rest);
      out_.Line("last_block{}", arguments);
      out_.Close();
    }
    for (const auto& [gradient, name] : {std::pair(&dq_, "to_dq"), std::pair(&dk_, "to_dk"), std::pair(&dv_, "to_dv")}) {
      if (!gradient->direct) WriteRows(gradient->rows, gradient->count, gradient->extent, name, gradient->stride, "", "0");
    }
    out_.Close();
    out_.Close();
  }

  void WriteBlock(int64_t keys, const std::string& name) {
    const Product scores = Transposed(keys, k_.stride(), attention_.d, "k", packed_q_, "p");
    const Product products = Transposed(keys, v_.stride(), attention_.dv, "v", packed_dy_, "ds");
    const Product dv = KeyGradient(keys, "p", "dy", dy_.stride(), attention_.dv, "dv", dv_.stride);
    const Product dk = KeyGradient(keys, "ds", "q", q_.stride(), attention_.d, "dk", dk_.stride);
    const Product dq = QueryGradient(keys);
    for (const Product* product : {&scores, &products, &dv, &dk, &dq}) Prepare(*product);
    out_.Comment(fmt::format("{} keys of one head, from k0 on; k, v, dk and dv point to the first of them.", keys));
    out_.Open("static __attribute__((noinline)) void {0}(char* scratch, long k0, const {1}* q, const {1}* k, const {1}* v, const {1}* dy, {1}* dq, "
              "{1}* dk, {1}* dv)", name, type_);
    out_.Line("{0}* const p = {1};", type_, Scratch(p_));
    out_.Line("{0}* const ds = {1};", type_, Scratch(ds_));
    out_.Line("const {0}* const lse = {1};", type_, Scratch(lse_));
    out_.Line("const {0}* const delta = {1};", type_, Scratch(delta_));
    out_.Comment("S^T = K (scale Q)^T and dP^T = V dO^T");
    Write(scores);
    Write(products);
    WritePointwise(keys);
    out_.Comment("dV = P^T dO, dK = dS^T Q, dQ += dS K");
    Write(dv);
    Write(dk);
    Write(dq);
    out_.Close();
    out_.Blank();
  }

  Product Transposed(int64_t keys, int64_t row, int64_t depth, const char* a, int64_t packed, const char* c) const {
    Product product{.rows = keys, .columns = RoundUp(attention_.lq, lanes_), .mr = schedule_.mr, .nv = schedule_.nv, .a_row = row, .a_step = 1,
                    .b_step = queries_, .c_row = queries_};
    product.a = a, product.b = Scratch(packed), product.c = c;
    product.steps = std::to_string(depth), product.first = "1";
    if (attention_.causal) product.condition = fmt::format("k0 + i < j + {}", static_cast<int64_t>(schedule_.nv) * lanes_);
    return product;
  }

  Product KeyGradient(int64_t keys, const char* a, const char* b, int64_t b_step, int64_t depth, const char* c, int64_t c_row) const {
    const int nv = OutputVectors(depth);
    Product product{.rows = keys, .columns = depth, .mr = RowsFor(nv), .nv = nv, .a_row = queries_, .a_step = 1, .b_step = b_step,
                    .c_row = c_row, .mask_b = true};
    product.a = a, product.b = b, product.c = c;
    product.steps = std::to_string(attention_.lq), product.first = "1";
    if (attention_.causal) {
      product.from = fmt::format("(k0 + i) / {0} * {0} < {1} ? (k0 + i) / {0} * {0} : {1}", lanes_, attention_.lq);
      product.to = std::to_string(attention_.lq);
    }
    return product;
  }

  Product QueryGradient(int64_t keys) const {
    const int nv = OutputVectors(attention_.d);
    Product product{.rows = attention_.lq, .columns = attention_.d, .mr = RowsFor(nv), .nv = nv, .a_row = 1, .a_step = queries_,
                    .b_step = k_.stride(), .c_row = dq_.stride, .mask_b = true};
    product.a = "ds", product.b = "k", product.c = "dq";
    product.steps = std::to_string(keys), product.first = "k0 == 0";
    if (attention_.causal) {
      product.condition = fmt::format("k0 < i + {}", product.mr);
      product.from = "0", product.to = fmt::format("i + {0} - k0 < {1} ? i + {0} - k0 : {1}", product.mr, keys);
    }
    return product;
  }

  // P = exp(S - lse) and dS = scale * P * (dP - delta), over lanes of queries.
  void WritePointwise(int64_t keys) {
    const AttentionPlan& p = attention_;
    for (const char* helper : {"load", "store", "exp", "select", "splat"}) Use(helper);
    out_.Open("for (long c = 0; c < {}; c += {})", p.lq, lanes_);
    out_.Line("const {0} l = load(lse + c), d = load(delta + c);", vector_);
    if (p.causal) {
      prelude_.Use("iota", DType::kI32);
      out_.Comment("Keys below `whole` are seen by all of these queries, keys from `seen` on by none.");
      out_.Line("long whole = c + 1 - k0, seen = c + {} - k0;", lanes_);
      out_.Line("whole = whole < 0 ? 0 : whole < {0} ? whole : {0};", keys);
      out_.Line("seen = seen < 0 ? 0 : seen < {0} ? seen : {0};", keys);
    } else {
      out_.Line("const long whole = {0}, seen = {0};", keys);
    }
    auto body = [&](bool masked) {
      out_.Line("{} e = v_exp(load(p + key * {} + c) - l);", vector_, queries_);
      if (masked) out_.Line("e = select(iota_i32() < (int)(k0 + key - c), {}{{}}, e);", vector_);
      out_.Line("store(p + key * {} + c, e);", queries_);
      const std::string scaled = p.scale == 1 ? "" : " * " + Literal(p.scale, p.dtype);
      std::string gradient = fmt::format("e * (load(ds + key * {} + c) - d){}", queries_, scaled);
      if (masked) gradient = fmt::format("select(iota_i32() < (int)(k0 + key - c), {}{{}}, {})", vector_, gradient);
      out_.Line("store(ds + key * {} + c, {});", queries_, gradient);
      out_.Close();
    };
    out_.Line("#pragma clang loop unroll_count(2)");
    out_.Open("for (long key = 0; key < whole; ++key)");
    body(false);
    if (p.causal) {
      out_.Open("for (long key = whole; key < seen; ++key)");
      body(true);
      out_.Comment("Tiles of the products reach past the diagonal.");
      out_.Open("for (long key = seen; key < seen + {}; ++key)", kTallestTile);
      out_.Line("store(p + key * {} + c, {}{{}});", queries_, vector_);
      out_.Line("store(ds + key * {} + c, {}{{}});", queries_, vector_);
      out_.Close();
    }
    out_.Close();
  }

  AttentionRows q_, k_, v_, y_, dy_;
  Gradient dq_, dk_, dv_;
  int64_t block_;
  std::vector<int64_t> copies_;
  int64_t packed_q_ = 0, packed_dy_ = 0, p_ = 0, ds_ = 0, lse_ = 0, delta_ = 0;
};

}  // namespace

KernelSource GenerateCppAttentionBackward(const KernelPlan& plan, const AttentionSchedule& schedule, const CpuTarget& cpu) {
  return BackwardGenerator(plan, schedule, cpu).Generate();
}

}  // namespace athanor
