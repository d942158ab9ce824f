#include "jit/attention_writer.h"

#include <algorithm>
#include <numbers>
#include <utility>

#include "jit/attention_dropout.h"
#include "jit/attention_mask.h"
#include "jit/codegen_cpp.h"
#include "jit/integer_math.h"
#include "jit/prelude_units.h"
#include "ops/error.h"

namespace athanor {
namespace {

bool SameShape(const Microkernel& a, const Microkernel& b) {
  return a.mr == b.mr && a.nv == b.nv && a.a_row == b.a_row && a.a_step == b.a_step && a.b_step == b.b_step &&
         a.b_tail == b.b_tail && a.c_row == b.c_row;
}

}  // namespace

AttentionWriter::AttentionWriter(const KernelPlan& plan, const AttentionSchedule& schedule, const CpuTarget& cpu)
    : plan_(plan),
      attention_(std::get<AttentionPlan>(plan.detail)),
      schedule_(schedule),
      cpu_(cpu),
      lanes_(cpu.vector_bytes() / static_cast<int>(SizeOf(attention_.dtype))),
      prelude_(cpu, lanes_),
      type_(ScalarType(attention_.dtype)),
      vector_(VectorType(attention_.dtype)) {
  queries_ = ScoreRow(attention_.lq);
}

int64_t AttentionWriter::ScoreRow(int64_t queries) const {
  const int64_t row = RoundUp(queries, lanes_);
  // Rows a power of two apart would share few sets of the cache. Short ones of f32 are better off with less to hold.
  return row * SizeOf(attention_.dtype) % (pairs() ? 512 : 1024) == 0 ? row + lanes_ : row;
}

std::string AttentionWriter::Use(const char* helper) {
  prelude_.Use(helper, attention_.dtype);
  return helper;
}

int64_t AttentionWriter::PlaceScratch(int64_t elements) {
  const int64_t offset = scratch_bytes_;
  scratch_bytes_ += RoundUp((elements + lanes_) * SizeOf(attention_.dtype), 64);
  return offset;
}

std::string AttentionWriter::LoadText(const std::string& pointer, int64_t live) {
  Use(live ? "tail" : "load");
  return live ? fmt::format("load_tail({}, {})", pointer, live) : fmt::format("load({})", pointer);
}

int AttentionWriter::OutputVectors(int64_t d) const {
  const int most = cpu_.isa == Isa::kAvx512 ? 4 : 2;
  return static_cast<int>(std::clamp<int64_t>((d + lanes_ - 1) / lanes_, 1, most));
}

int AttentionWriter::RowsFor(int nv) const { return std::min(12, (cpu_.vector_registers() - 1 - nv) / nv); }

namespace {

// `rows` in as few tiles as `mr` allows: `tall` of height + 1 and `low` of height.
struct Heights {
  Heights(int64_t rows, int mr) {
    const int64_t tiles = std::max<int64_t>(1, (rows + mr - 1) / mr);
    height = static_cast<int>(rows / tiles), tall = rows % tiles, low = tiles - tall;
  }

  int height;
  int64_t tall, low;
};

}  // namespace

std::string AttentionWriter::KernelName(const Product& product, int height, int64_t columns) {
  Microkernel kernel;
  kernel.dtype = pairs() ? DType::kBF16 : attention_.dtype;
  kernel.mr = height;
  kernel.nv = static_cast<int>((columns + lanes_ - 1) / lanes_);
  kernel.a_row = product.a_row, kernel.a_step = product.a_step, kernel.b_step = product.b_step, kernel.c_row = product.c_row;
  kernel.b_tail = product.mask_b ? columns % lanes_ : 0;
  for (const Microkernel& known : kernels_) {
    if (SameShape(known, kernel)) return known.name;
  }
  kernel.name = fmt::format("tile{}", kernels_.size());
  kernels_.push_back(kernel);
  WriteMicrokernel(kernel, /*asmjit=*/true, &prelude_, &out_);
  return kernel.name;
}

void AttentionWriter::Prepare(const Product& product) {
  const int64_t panel = static_cast<int64_t>(product.nv) * lanes_;
  const Heights heights(product.rows, product.mr);
  for (const auto& [height, count] : {std::pair(heights.height + 1, heights.tall), std::pair(heights.height, heights.low)}) {
    if (count == 0 || height == 0) continue;
    if (product.columns >= panel) KernelName(product, height, panel);
    if (!product.column_from.empty()) {
      for (int64_t columns = lanes_; columns < panel && columns <= product.columns; columns += lanes_)
        KernelName(product, height, columns);
    } else if (product.columns % panel != 0) {
      KernelName(product, height, product.columns % panel);
    }
  }
}

void AttentionWriter::WriteTile(const Product& product, int height, int64_t columns) {
  const bool bounded = !product.from.empty();
  auto shift = [&](int64_t step) { return bounded ? fmt::format(" + from * {}", step) : std::string(); };
  out_.Line("{}({} + i * {}{}, {} + j{}, {} + i * {} + j, {}, {});", KernelName(product, height, columns), product.a,
            product.a_row, shift(product.a_step), product.b, shift(product.b_step), product.c, product.c_row,
            bounded ? "to - from" : product.steps, product.first);
}

// A row of tiles: whole panels of columns first, then the rest.
void AttentionWriter::WriteColumns(const Product& product, int height) {
  const int64_t panel = static_cast<int64_t>(product.nv) * lanes_, whole = product.columns / panel * panel;
  if (!product.column_from.empty()) {
    out_.Line("const long end = ({0} + {1}) / {2} * {2};", product.column_to, lanes_ - 1, lanes_);
    out_.Line("long j = {0} / {1} * {1};", product.column_from, lanes_);
    if (whole > 0) {
      out_.Open("for (; j + {0} <= end; j += {0})", panel);
      WriteTile(product, height, panel);
      out_.Close();
    }
    for (int64_t columns = std::min(panel - lanes_, product.columns); columns > 0; columns -= lanes_) {
      out_.Open("if (end - j == {})", columns);
      WriteTile(product, height, columns);
      out_.Close();
    }
    return;
  }
  if (whole > 0) {
    out_.Open("for (long j = 0; j < {}; j += {})", whole, panel);
    WriteTile(product, height, panel);
    out_.Close();
  }
  if (whole == product.columns) return;
  out_.OpenBlock();
  out_.Line("const long j = {};", whole);
  WriteTile(product, height, product.columns - whole);
  out_.Close();
}

void AttentionWriter::WriteAhead(const Product& product, int height) {
  for (const Ahead& ahead : product.ahead) {
    prelude_.Use("fetch_rows");
    out_.Line("fetch_rows({} + i * {}, {}, {}, {});", ahead.pointer, ahead.stride, ahead.stride * ahead.element_bytes, height, ahead.extent * ahead.element_bytes);
  }
}

void AttentionWriter::Write(const Product& product) {
  const Heights heights(product.rows, product.mr);
  auto rows = [&](int64_t begin, int64_t count, int height) {
    if (count == 0 || height == 0) return;
    out_.Open("for (long i = {}; i < {}; i += {})", begin, begin + count * height, height);
    WriteAhead(product, height);
    if (!product.from.empty() || !product.column_from.empty()) out_.Line("const long last = i + {};", height - 1);
    if (!product.condition.empty()) out_.Line("if (!({})) continue;", product.condition);
    if (!product.from.empty()) {
      out_.Line("const long from = {}, to = {};", product.from, product.to);
      if (product.first != "1") out_.Line("if (from >= to && !({})) continue;", product.first);
    }
    WriteColumns(product, height);
    out_.Close();
  };
  rows(0, heights.tall, heights.height + 1);
  rows(heights.tall * (heights.height + 1), heights.low, heights.height);
}

// --- the band of scores ----------------------------------------------------------------------------------------------

std::string AttentionWriter::FirstKey(const std::string& query) const {
  return attention_.left < 0 ? "0" : fmt::format("larger(0, {} - {})", query, Size("left", attention_.left));
}

std::string AttentionWriter::EndKey(const std::string& query) const {
  const std::string keys = Keys();
  if (attention_.right < 0) return keys;
  if (sizes_ == nullptr) return fmt::format("smaller({}, {} + {})", keys, query, attention_.right + 1);
  return fmt::format("smaller({}, {} + {} + 1)", keys, query, Size("right", attention_.right));
}

std::string AttentionWriter::FirstQuery(const std::string& key) const {
  return attention_.right < 0 ? "0" : fmt::format("larger(0, {} - {})", key, attention_.right);
}

std::string AttentionWriter::EndQuery(const std::string& key) const {
  return attention_.left < 0 ? std::to_string(attention_.lq)
                             : fmt::format("smaller({}, {} + {})", attention_.lq, key, attention_.left + 1);
}

void AttentionWriter::WriteKeyRanges(const std::string& query, const std::string& origin, const std::string& keys) {
  if (!banded()) {
    out_.Line("const long low = 0, high = {};", keys);
    return;
  }
  const std::string last = fmt::format("{} + {}", query, lanes_ - 1), first_key = FirstKey(query), end_key = EndKey(last);
  out_.Comment("Keys that any of these queries sees, and inside those that all of them see.");
  out_.Line("const long low = bounded({} - {}, 0, {});", first_key, origin, keys);
  out_.Line("const long high = bounded({} - {}, low, {});", end_key, origin, keys);
  if (attention_.left < 0 && attention_.right < 0) return;
  const std::string least = attention_.left < 0 ? "low" : "all_low";
  if (attention_.left >= 0) out_.Line("const long all_low = bounded({} - {}, low, high);", FirstKey(last), origin);
  out_.Line("const long all_high = bounded({} - {}, {}, high);", EndKey(query), origin, least);
}

double AttentionWriter::ExponentFactor() const {
  return (masked() || attention_.scale <= 0 ? 1 : attention_.scale) * std::numbers::log2e;
}

void AttentionWriter::ForKeys(const std::function<void(bool)>& body) {
  auto loop = [&](const char* begin, const char* end, bool masked) {
    if (!masked) out_.Line("#pragma clang loop unroll_count(2)");
    out_.Open("for (long key = {}; key < {}; ++key)", begin, end);
    body(masked);
    out_.Close();
  };
  const bool banded = attention_.left >= 0 || attention_.right >= 0;
  if (attention_.left >= 0) loop("low", "all_low", true);
  loop(attention_.left >= 0 ? "all_low" : "low", banded ? "all_high" : "high", false);
  if (banded) loop("all_high", "high", true);
}

std::string AttentionWriter::Unseen(const std::string& query, const std::string& origin) const {
  std::string text;
  const std::string distance = fmt::format("{} + key - ({})", origin, query);
  if (attention_.right >= 0) text = fmt::format("(iota_i32() < (int)({} - {}))", distance, Size("right", attention_.right));
  if (attention_.left >= 0)
    text += fmt::format("{}(iota_i32() > (int)({} + {}))", text.empty() ? "" : " | ", distance, Size("left", attention_.left));
  return text;
}

void AttentionWriter::UseBandHelpers() {
  if (banded()) {
    prelude_.Use("iota", DType::kI32);
    Use("select");
    for (const char* helper : {"bounds", "bounded"}) prelude_.Use(helper);
  }
}

void AttentionWriter::WriteHelpers() {
  UseBandHelpers();
  if (masked()) WriteAddMask(attention_, queries_, &prelude_, &out_);
  if (drops()) WriteDropout(attention_, queries_, &prelude_, &out_);
  if (attention_.dmask.arg >= 0) WriteStoreMaskGradient(attention_, queries_, &prelude_, &out_);
}

void AttentionWriter::DefineLive() {
  if (!ragged()) return;
  const Operand& lengths = attention_.lengths;
  out_.Line("const long live = bounded(a{}[{} + {}], 0, {});", lengths.arg, lengths.map.offset(),
            DigitsText(lengths.map.dim(0), "b"), attention_.lk);
}

void AttentionWriter::WriteTransposedPacking(const std::string& from, int64_t row, int64_t rows, int64_t depth, double factor, const std::string& to) {
  prelude_.Use("pack_squares", packed());
  out_.Line("pack_squares_{}({}, {}, {}, {}, {}, {}, 0);", Name(packed()), from, row, rows, depth, to, queries_);
  if (factor != 1) out_.Line("for (long i = 0; i < {}; ++i) ({})[i] *= {};", depth * queries_, to, Literal(factor, attention_.dtype));
}

int64_t AttentionWriter::ZippedRow(int64_t extent) const { return RoundUp(extent, lanes_); }

void AttentionWriter::WriteZipping(const std::string& name, int64_t row, int64_t depth) {
  for (const char* helper : {"load", "store"}) prelude_.Use(helper, DType::kI32);
  if (depth % lanes_ != 0) prelude_.Use("tail", DType::kI32);
  prelude_.Use("halves");
  out_.Comment("to[i / 2] = x[i] and x[i + 1] in turns");
  out_.Open("static __attribute__((noinline)) void zip_{}(const int* x, int* to, long rows)", name);
  const auto zip = [&](bool last) {
    ForVectors(depth, [&](int64_t c, int64_t live) {
      const auto load = [&](int64_t at) {
        return live ? fmt::format("load_tail(x + {}, {})", at, live) : fmt::format("load(x + {})", at);
      };
      out_.OpenBlock();
      out_.Line("const vi32 low = {}, high = {};", load(c), last ? "vi32{}" : load(row + c));
      out_.Line("store(to + {}, zip_pairs_low(low, high));", 2 * c);
      if (2 * c + lanes_ < 2 * depth) out_.Line("store(to + {}, zip_pairs_high(low, high));", 2 * c + lanes_);
      out_.Close();
    });
  };
  out_.Open("for (; rows >= 2; rows -= 2, x += {}, to += {})", 2 * row, ZippedRow(2 * depth));
  zip(false);
  out_.Close();
  out_.Open("if (rows > 0)");
  zip(true);
  out_.Close();
  out_.Close();
  out_.Blank();
}

AttentionWriter::Function AttentionWriter::WriteFunction(std::string_view name, std::string_view comment, std::string_view parameters, bool shared,
                                                        const std::function<void()>& body) {
  Sizes sizes;
  SourceWriter around = std::exchange(out_, SourceWriter());
  sizes_ = &sizes;
  out_.Comment(comment);
  out_.Open("$MARK void $NAME({}$SIZES)", parameters);
  body();
  out_.Close();
  sizes_ = nullptr;
  const std::string text = std::exchange(out_, std::move(around)).text();
  const auto definition = [&](const char* mark, const std::string& called) {
    return Substitute(text, {{"$MARK", mark}, {"$NAME", called}, {"$SIZES", sizes.Parameters()}});
  };
  if (shared) return {prelude_.AddRoutine(name, definition("ROUTINE", "$NAME")), sizes.Arguments()};
  std::string own(name);
  for (; functions_.contains(own); own += "_") {
    if (functions_[own] == text) return {own, sizes.Arguments()};
  }
  functions_[own] = text;
  out_.Raw(definition("static __attribute__((noinline))", own));
  out_.Blank();
  return {own, sizes.Arguments()};
}

AttentionWriter::Function AttentionWriter::WriteStoreRows(const Stored& stored) {
  if (!stored.rows.linear()) return {};
  const std::string parameters = fmt::format("const {0}* from, {1}{2}* to", type_, stored.scaled ? fmt::format("const {}* factors, ", type_) : "",
                                             MemoryType(stored.rows.memory()));
  const char* const comment = stored.scaled ? "Rows to where they are wanted, each times its factor." : "Rows to where they are wanted.";
  return WriteFunction("store_rows", comment, parameters, true, [&] {
    const std::string rows = Size("rows", stored.count), from_row = Size("from_row", stored.from_row), to_row = Size("to_row", stored.rows.memory_stride());
    out_.Open("for (long i = 0; i < {}; ++i, from += {}, to += {})", rows, from_row, to_row);
    ForVectors(stored.extent, [&](int64_t j, int64_t live) {
      const std::string value = LoadText(fmt::format("from + {}", j), 0) + (stored.scaled ? " * factors[i]" : "");
      out_.Line("{}", stored.rows.Store(fmt::format("to + {}", j), value, live, &prelude_));
    });
    out_.Close();
  });
}

void AttentionWriter::StoreRows(const Function& function, const Stored& stored, const std::string& from, const std::string& factors, const std::string& row_offset,
                                const std::string& head) {
  if (stored.rows.linear()) {
    const std::string to = stored.rows.name() + (stored.rows.in_place() ? "" : "_memory");
    out_.Line("{}({}, {}{}{} + {} * {}{});", function.name, from, factors, stored.scaled ? ", " : "", to, row_offset, stored.rows.memory_stride(), function.numbers);
    return;
  }
  out_.Open("for (long i = 0; i < {}; ++i)", stored.count);
  out_.Line("for (long j = 0; j < {}; ++j) {}", stored.extent,
            stored.rows.Assign("b", head, fmt::format("({} + i)", row_offset), "j",
                               fmt::format("({})[i * {} + j]{}", from, stored.from_row, stored.scaled ? fmt::format(" * {}[i]", factors) : ""), &prelude_));
  out_.Close();
}

KernelSource AttentionWriter::Finish(std::vector<KernelSource::Phase> phases) {
  KernelSource source;
  source.phases = std::move(phases);
  source.scratch_bytes = scratch_bytes_;
  source.text = SourceHeader(plan_, schedule_) + prelude_.Text() + "\n" + out_.text();
  return source;
}

}  // namespace athanor
