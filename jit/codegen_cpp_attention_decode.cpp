#include <algorithm>

#include "jit/attention_mask.h"
#include "jit/attention_writer.h"
#include "jit/body_emitter.h"
#include "jit/integer_math.h"

namespace athanor {
namespace {

// A few queries against many keys: the time is that of reading K and V once. Keys are split into chunks of a fixed size. In the
// first phase a task owns a chunk of one head of K and V and does, for all the queries that read it, a softmax of its own, which
// leaves the largest score, the sum and the weighted sum of V; the second phase merges the chunks of a query in order
// (Flash-Decoding, Dao et al. 2023), so results do not depend on the number of threads.
class DecodeGenerator : AttentionWriter {
 public:
  DecodeGenerator(const KernelPlan& plan, const AttentionSchedule& schedule, const CpuTarget& cpu)
      : AttentionWriter(plan, schedule, cpu),
        q_("q", plan, attention_.q, attention_.lq, attention_.d, attention_.dtype),
        k_("k", plan, attention_.k, attention_.lk, attention_.d, attention_.dtype),
        v_("v", plan, attention_.v, attention_.lk, attention_.dv, attention_.dtype),
        y_("y", plan, attention_.y, attention_.lq, attention_.dv, attention_.dtype),
        chunk_(std::min(schedule.block_k, std::max<int64_t>(attention_.lk, 1))),
        chunks_(std::max<int64_t>(1, (attention_.lk + chunk_ - 1) / chunk_)),
        rows_(attention_.group() * attention_.lq),
        query_row_(RoundUp(attention_.d, lanes_)),
        score_row_(RoundUp(chunk_, lanes_)),
        partial_row_(RoundUp(attention_.dv, lanes_) + lanes_) {}

  KernelSource Generate() {
    const AttentionPlan& p = attention_;
    if (p.batch * p.heads * p.lq * p.dv == 0) return Finish({});
    copies_ = {PlaceScratch(q_.scratch_elements()), PlaceScratch(k_.linear() ? 0 : k_.scratch_elements()),
               PlaceScratch(v_.linear() ? 0 : v_.scratch_elements())};
    queries_at_ = PlaceScratch(rows_ * query_row_);
    scores_at_ = PlaceScratch(rows_ * score_row_);
    UseBandHelpers();
    if (masked()) WriteAddMaskRow(p, &prelude_, &out_);
    WriteDots();
    WriteSoftmax();
    WriteValues();
    WriteChunks();
    WriteMerge();
    KernelSource source =
        Finish({{"attention_chunks", p.batch * p.kv_heads * chunks_}, {"attention_merge", p.batch * p.heads * p.lq}});
    source.temporary_bytes = {p.batch * p.kv_heads * rows_ * chunks_ * partial_row_ * SizeOf(p.dtype)};
    return source;
  }

 private:
  // K and V are used where they lie, whatever their dtype, if their rows are linear; else as a copy.
  std::string Type(const AttentionRows& rows) const { return std::string(rows.linear() ? MemoryType(rows.memory()) : type_); }
  int64_t Stride(const AttentionRows& rows) const { return rows.linear() ? rows.memory_stride() : rows.stride(); }
  std::string Pointer(const AttentionRows& rows) const {
    return rows.name() + (rows.linear() && !rows.in_place() ? "_memory" : "");
  }
  std::string Load(const AttentionRows& rows, const std::string& pointer, int64_t live) {
    return rows.linear() ? rows.Load(pointer, live, &prelude_) : LoadText(pointer, live);
  }
  void Define(const AttentionRows& rows, int64_t copy) {
    if (rows.linear()) {
      rows.DefineMemory("b", "kv", &out_);
    } else {
      rows.DefineInput("b", "kv", Scratch(copy), &prelude_, &out_);
    }
  }

  // s[j] = the product of key j and the query: a vector of keys at a time, the lanes of each summed by a transpose.
  void WriteDots() {
    for (const char* helper : {"load", "store", "splat", "transpose"}) Use(helper);
    out_.Open("INLINE {} dot(const {}* k, const {}* q)", vector_, Type(k_), type_);
    std::string sum;
    ForVectors(attention_.d, [&](int64_t c, int64_t live) {
      sum += fmt::format("{}{} * load(q + {})", sum.empty() ? "" : " + ", Load(k_, fmt::format("k + {}", c), live), c);
    });
    out_.Line("return {};", sum.empty() ? vector_ + "{}" : sum);
    out_.Close();
    out_.Blank();
    out_.Comment("s[j] = k[j] q for `keys` keys; whole vectors are written");
    out_.Open("static __attribute__((noinline)) void dots(const {1}* k, const {0}* q, {0}* s, long keys)", type_, Type(k_));
    out_.Open("for (long j = 0; j < keys; j += {0}, k += {0} * {1})", lanes_, Stride(k_));
    out_.Line("{} r[{}];", vector_, lanes_);
    out_.Open("if (j + {} <= keys)", lanes_);
    out_.Unroll();
    out_.Line("for (int l = 0; l < {}; ++l) r[l] = dot(k + l * {}, q);", lanes_, Stride(k_));
    out_.Close();
    out_.Open("else");
    out_.Unroll();
    out_.Line("for (int l = 0; l < {}; ++l) r[l] = j + l < keys ? dot(k + l * {}, q) : {}{{}};", lanes_, Stride(k_), vector_);
    out_.Close();
    out_.Line("transpose(r);");
    for (int step = 1; step < lanes_; step *= 2) {
      out_.Unroll();
      out_.Line("for (int l = 0; l < {}; l += {}) r[l] += r[l + {}];", lanes_, 2 * step, step);
    }
    out_.Line("store(s + j, r[0]);");
    out_.Close();
    out_.Close();
    out_.Blank();
  }

  // Of one query and one chunk.
  void WriteSoftmax() {
    for (const char* helper : {"exp", "max", "sum", "tail"}) Use(helper);
    const std::string lowest = LowestLiteral(attention_.dtype);
    out_.Comment(
        "s becomes exp(s - top); top and the sum of s are written behind one another. Lanes past the last key count as minus "
        "infinity.");
    out_.Open("static __attribute__((noinline)) void softmax({0}* s, long keys, {0}* statistics)", type_);
    out_.Line("{} most = splat({});", vector_, lowest);
    out_.Line("for (long j = keys; j % {} != 0; ++j) s[j] = {};", lanes_, lowest);
    out_.Line("for (long j = 0; j < keys; j += {}) {{ const {} x = load(s + j); most = x > most ? x : most; }}", lanes_, vector_);
    out_.Line("const {0} top = max(most), base = top == {1} ? 0 : top;", type_, lowest);
    out_.Line("{} total = {{}};", vector_);
    out_.Open("for (long j = 0; j < keys; j += {})", lanes_);
    out_.Line("const {} e = v_exp(load(s + j) - base);", vector_);
    out_.Line("store(s + j, e);");
    out_.Line("total += e;");
    out_.Close();
    out_.Line("statistics[0] = top;");
    out_.Line("statistics[1] = sum(total);");
    out_.Close();
    out_.Blank();
  }

  // to = s V, in registers: up to eight vectors of columns at a time, of two keys each.
  void WriteValues() {
    const int64_t vectors = (attention_.dv + lanes_ - 1) / lanes_, most = cpu_.isa == Isa::kAvx512 ? 8 : 4;
    out_.Comment("to = sum over the keys of s[j] v[j]; whole vectors are written");
    out_.Open("static __attribute__((noinline)) void values(const {0}* s, const {1}* v, long keys, {0}* to)", type_, Type(v_));
    for (int64_t first = 0; first < vectors; first += most) {
      const int64_t end = std::min(vectors, first + most);
      auto each = [&](const std::function<void(int64_t, const std::string&)>& body) {
        for (int64_t i = first; i < end; ++i) {
          const int64_t c = i * lanes_, live = c + lanes_ <= attention_.dv ? 0 : attention_.dv - c;
          body(i - first, Load(v_, fmt::format("row + {}", c), live));
        }
      };
      out_.OpenBlock();
      std::string even, odd;
      each([&](int64_t i, const std::string&) {
        even += fmt::format("{}x{} = {{}}", i ? ", " : "", i), odd += fmt::format("{}y{} = {{}}", i ? ", " : "", i);
      });
      out_.Line("{} {};", vector_, even);
      out_.Line("{} {};", vector_, odd);
      out_.Line("long j = 0;");
      out_.Open("for (; j + 2 <= keys; j += 2)");
      for (const char* name : {"x", "y"}) {
        out_.OpenBlock();
        const int at = *name == 'y';
        out_.Line("const {} e = splat(s[j{}]);", vector_, at ? " + 1" : "");
        out_.Line("const {}* const row = v + {} * {};", Type(v_), at ? "(j + 1)" : "j", Stride(v_));
        each([&](int64_t i, const std::string& load) { out_.Line("{}{} += e * {};", name, i, load); });
        out_.Close();
      }
      out_.Close();
      out_.Open("if (j < keys)");
      out_.Line("const {} e = splat(s[j]);", vector_);
      out_.Line("const {}* const row = v + j * {};", Type(v_), Stride(v_));
      each([&](int64_t i, const std::string& load) { out_.Line("x{} += e * {};", i, load); });
      out_.Close();
      each([&](int64_t i, const std::string&) { out_.Line("store(to + {}, x{} + y{});", (first + i) * lanes_, i, i); });
      out_.Close();
    }
    out_.Close();
    out_.Blank();
  }

  std::string Partials() const { return fmt::format("({}*)args[{}]", type_, plan_.args.size()); }

  void WriteChunks() {
    const AttentionPlan& p = attention_;
    out_.Open("extern \"C\" void attention_chunks(char* const* args, long begin, long end, char* scratch)");
    DeclareArgs(plan_.args, &out_);
    out_.Line("{0}* const queries = {1};", type_, Scratch(queries_at_));
    out_.Line("{0}* const scores = {1};", type_, Scratch(scores_at_));
    out_.Open("for (long task = begin; task < end; ++task)");
    out_.Line("const long chunk = task % {0}, kv = task / {0} % {1}, b = task / {0} / {1};", chunks_, p.kv_heads);
    DefineLive();
    const std::string keys = ragged() ? "live" : std::to_string(p.lk);
    out_.Line("const long k0 = chunk * {0}, k1 = k0 + {0} < {1} ? k0 + {0} : {1};", chunk_, keys);
    Define(k_, copies_[1]);
    Define(v_, copies_[2]);
    out_.Comment(
        "The keys [low, high) that each query sees: first all the scores, then all the sums, so that K and V are read one after "
        "the other.");
    auto rows = [&](const std::function<void()>& body) {
      out_.Open("for (long row = 0; row < {}; ++row)", rows_);
      out_.Line("const long h = kv * {} + row / {}, i = row % {};", p.group(), p.lq, p.lq);
      if (banded()) {
        out_.Line("const long low = bounded({}, k0, larger(k0, k1)), high = bounded({}, low, larger(low, k1));", FirstKey("i"),
                  EndKey("i"));
      } else {
        out_.Line("const long low = k0, high = k1;");
      }
      out_.Line("{}* const s = scores + row * {};", type_, score_row_);
      out_.Line("{}* const partial = {} + (task * {} + row) * {};", type_, Partials(), rows_, partial_row_);
      body();
      out_.Close();
    };
    rows([&] {
      q_.DefineInput("b", "h", Scratch(copies_[0]), &prelude_, &out_);
      out_.Line("{}* const query = queries + row * {};", type_, query_row_);
      ForVectors(p.d, [&](int64_t c, int64_t live) {
        out_.Line("store(query + {}, {}{});", c, LoadText(fmt::format("q + i * {} + {}", q_.stride(), c), live),
                  p.scale == 1 ? "" : " * " + Literal(p.scale, p.dtype));
      });
      out_.Line("dots({} + low * {}, query, s, high - low);", Pointer(k_), Stride(k_));
      if (masked()) out_.Line("add_mask(s, {}, i, low, high - low);", HeadAddress(p.mask, "b", "h"));
      out_.Line("softmax(s, high - low, partial + {});", partial_row_ - lanes_);
    });
    rows([&] { out_.Line("values(s, {} + low * {}, high - low, partial);", Pointer(v_), Stride(v_)); });
    out_.Close();
    out_.Close();
    out_.Blank();
  }

  void WriteMerge() {
    const AttentionPlan& p = attention_;
    const std::string lowest = LowestLiteral(p.dtype);
    out_.Comment("The chunks of one query, in order.");
    out_.Open("extern \"C\" void attention_merge(char* const* args, long begin, long end, char* scratch)");
    DeclareArgs(plan_.args, &out_);
    out_.Open("for (long task = begin; task < end; ++task)");
    out_.Line("const long i = task % {0}, h = task / {0} % {1}, b = task / {0} / {1};", p.lq, p.heads);
    const std::string first = fmt::format("((b * {} + h / {}) * {} * {} + h % {} * {} + i) * {}", p.kv_heads, p.group(), chunks_,
                                          rows_, p.group(), p.lq, partial_row_);
    out_.Line("const {0}* const partial = {1} + {2};", type_, Partials(), first);
    const int64_t step = rows_ * partial_row_, at = partial_row_ - lanes_;
    out_.Line("{} top = {};", type_, lowest);
    out_.Open("for (long c = 0; c < {}; ++c)", chunks_);
    out_.Line("const {} x = partial[c * {} + {}];", type_, step, at);
    out_.Line("top = x > top ? x : top;");
    out_.Close();
    out_.Line("const {} base = top == {} ? 0 : top;", type_, lowest);
    out_.Line("{} total = 0;", type_);
    out_.Line("for (long c = 0; c < {0}; ++c) total += v_exp(splat(partial[c * {1} + {2}] - base))[0] * partial[c * {1} + {3}];",
              chunks_, step, at, at + 1);
    out_.Comment("No key was seen: zeros.");
    out_.Line("const {} inverse = total == 0 ? 0 : 1 / total;", type_);
    if (y_.linear()) y_.DefineMemory("b", "h", &out_);
    const std::string sum =
        fmt::format("for (long c = 0; c < {0}; ++c) o += v_exp(splat(partial[c * {1} + {2}] - base)) * load(partial + c * {1} + ",
                    chunks_, step, at);
    out_.Open("for (long j = 0; j < {}; j += {})", p.dv, lanes_);
    out_.Line("{} o = {{}};", vector_);
    out_.Line("{}j);", sum);
    out_.Line("o *= inverse;");
    if (y_.linear()) {
      out_.Line("auto* const to = {} + i * {} + j;", Pointer(y_), y_.memory_stride());
      if (p.dv % lanes_ == 0) {
        out_.Line("{}", y_.Store("to", "o", 0, &prelude_));
      } else {
        out_.Line("if (j + {} <= {}) {{ {} }} else {{ {} }}", lanes_, p.dv, y_.Store("to", "o", 0, &prelude_),
                  y_.Store("to", "o", p.dv % lanes_, &prelude_));
      }
    } else {
      out_.Line("for (long l = 0; l < {} && j + l < {}; ++l) {}", lanes_, p.dv,
                y_.Assign("b", "h", "i", "(j + l)", "o[l]", &prelude_));
    }
    out_.Close();
    if (p.lse.arg >= 0) {
      Use("log");
      out_.Line("({})[{}] = base + v_log(splat(total))[0];", HeadAddress(p.lse, "b", "h"), DigitsText(p.lse.map.dim(2), "i"));
    }
    out_.Close();
    out_.Close();
  }

  AttentionRows q_, k_, v_, y_;
  int64_t chunk_, chunks_, rows_;
  int64_t query_row_, score_row_, partial_row_;  // a partial: the sum of V, then the largest score and the sum
  std::vector<int64_t> copies_;
  int64_t queries_at_ = 0, scores_at_ = 0;
};

}  // namespace

KernelSource GenerateCppAttentionDecode(const KernelPlan& plan, const AttentionSchedule& schedule, const CpuTarget& cpu) {
  return DecodeGenerator(plan, schedule, cpu).Generate();
}

}  // namespace athanor
