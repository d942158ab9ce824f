#include "jit/attention_writer.h"

#include <algorithm>

#include "jit/codegen_cpp.h"
#include "ops/error.h"

namespace athanor {
namespace {

int64_t RoundUp(int64_t a, int64_t b) { return (a + b - 1) / b * b; }

bool SameShape(const Microkernel& a, const Microkernel& b) {
  return a.mr == b.mr && a.nv == b.nv && a.a_row == b.a_row && a.a_step == b.a_step && a.b_step == b.b_step && a.b_tail == b.b_tail &&
         a.c_row == b.c_row;
}

}  // namespace

AttentionWriter::AttentionWriter(const KernelPlan& plan, const AttentionSchedule& schedule, const CpuTarget& cpu)
    : plan_(plan),
      attention_(std::get<AttentionPlan>(plan.detail)),
      schedule_(schedule),
      cpu_(cpu),
      lanes_(cpu.vector_bytes() / static_cast<int>(SizeOf(attention_.dtype))),
      prelude_(cpu.isa, lanes_),
      type_(ScalarType(attention_.dtype)),
      vector_(VectorType(attention_.dtype)) {
  queries_ = RoundUp(attention_.lq, lanes_);
  // Rows of S^T a power of two apart would share few sets of the cache.
  if (queries_ * SizeOf(attention_.dtype) % 1024 == 0) queries_ += lanes_;
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

std::string AttentionWriter::StoreText(const std::string& pointer, const std::string& value, int64_t live) {
  Use(live ? "tail" : "store");
  return live ? fmt::format("store_tail({}, {}, {});", pointer, value, live) : fmt::format("store({}, {});", pointer, value);
}

int AttentionWriter::OutputVectors(int64_t d) const {
  const int most = cpu_.isa == Isa::kAvx512 ? 4 : 2;
  return static_cast<int>(std::clamp<int64_t>((d + lanes_ - 1) / lanes_, 1, most));
}

int AttentionWriter::RowsFor(int nv) const { return std::min(12, (cpu_.vector_registers() - 1 - nv) / nv); }

std::string AttentionWriter::KernelName(const Product& product, bool row_tail, bool column_tail) {
  Microkernel kernel;
  const int64_t panel = static_cast<int64_t>(product.nv) * lanes_, rest = product.columns % panel;
  kernel.dtype = attention_.dtype;
  kernel.mr = row_tail ? static_cast<int>(product.rows % product.mr) : product.mr;
  kernel.nv = column_tail ? static_cast<int>((rest + lanes_ - 1) / lanes_) : product.nv;
  kernel.a_row = product.a_row, kernel.a_step = product.a_step, kernel.b_step = product.b_step, kernel.c_row = product.c_row;
  kernel.b_tail = product.mask_b && column_tail ? rest % lanes_ : 0;
  kernel.unroll = 2;
  for (const Microkernel& known : kernels_) {
    if (SameShape(known, kernel)) return known.name;
  }
  kernel.name = fmt::format("tile{}", kernels_.size());
  kernels_.push_back(kernel);
  WriteMicrokernelCpp(kernel, &prelude_, &out_);
  return kernel.name;
}

void AttentionWriter::Prepare(const Product& product) {
  const int64_t panel = static_cast<int64_t>(product.nv) * lanes_;
  for (bool row_tail : {false, true}) {
    for (bool column_tail : {false, true}) {
      const bool rows = row_tail ? product.rows % product.mr != 0 : product.rows >= product.mr;
      const bool columns = column_tail ? product.columns % panel != 0 : product.columns >= panel;
      if (rows && columns) KernelName(product, row_tail, column_tail);
    }
  }
}

// Rows of tiles; each row first with whole panels of columns, then the rest.
void AttentionWriter::Write(const Product& product) {
  const int64_t panel = static_cast<int64_t>(product.nv) * lanes_;
  const int64_t whole_rows = product.rows / product.mr * product.mr, whole_columns = product.columns / panel * panel;
  const bool bounded = !product.from.empty();
  auto tile = [&](bool row_tail, bool column_tail) {
    if (!product.condition.empty()) out_.Open("if ({})", product.condition);
    if (bounded) out_.Line("const long from = {}, to = {};", product.from, product.to);
    out_.Line("{}({} + i * {}{}, {} + j{}, {} + i * {} + j, {}, {});", KernelName(product, row_tail, column_tail), product.a, product.a_row,
              bounded ? fmt::format(" + from * {}", product.a_step) : "", product.b, bounded ? fmt::format(" + from * {}", product.b_step) : "",
              product.c, product.c_row, bounded ? "to - from" : product.steps, product.first);
    if (!product.condition.empty()) out_.Close();
  };
  auto columns = [&](bool row_tail) {
    if (whole_columns > 0) {
      out_.Open("for (long j = 0; j < {}; j += {})", whole_columns, panel);
      tile(row_tail, false);
      out_.Close();
    }
    if (whole_columns == product.columns) return;
    out_.OpenBlock();
    out_.Line("const long j = {};", whole_columns);
    tile(row_tail, true);
    out_.Close();
  };
  if (whole_rows > 0) {
    out_.Open("for (long i = 0; i < {}; i += {})", whole_rows, product.mr);
    columns(false);
    out_.Close();
  }
  if (whole_rows == product.rows) return;
  out_.OpenBlock();
  out_.Line("const long i = {};", whole_rows);
  columns(true);
  out_.Close();
}

void AttentionWriter::WriteTransposedPacking(const std::string& name, int64_t row, int64_t rows, int64_t depth, double factor) {
  for (const char* helper : {"transpose", "load", "store", "splat"}) Use(helper);
  out_.Comment(fmt::format("to[d][i] = {}x[i][d]", factor == 1 ? "" : "factor * "));
  out_.Open("static __attribute__((noinline)) void pack_{}(const {}* x, {}* to)", name, type_, type_);
  out_.Open("for (long i = 0; i < {}; i += {})", rows, lanes_);
  ForVectors(depth, [&](int64_t d, int64_t live) {
    out_.OpenBlock();
    out_.Line("{} r[{}];", vector_, lanes_);
    if (rows % lanes_ == 0) {
      out_.Line("#pragma clang loop unroll(full)");
      out_.Line("for (int l = 0; l < {}; ++l) r[l] = {};", lanes_, LoadText(fmt::format("x + (i + l) * {} + {}", row, d), live));
    } else {
      out_.Line("for (int l = 0; l < {}; ++l) r[l] = i + l < {} ? {} : {}{{}};", lanes_, rows,
                LoadText(fmt::format("x + (i + l) * {} + {}", row, d), live), vector_);
    }
    out_.Line("transpose(r);");
    out_.Line("#pragma clang loop unroll(full)");
    out_.Line("for (int l = 0; l < {}; ++l) store(to + ({} + l) * {} + i, r[l]{});", live ? live : lanes_, d, queries_,
              factor == 1 ? "" : " * " + Literal(factor, attention_.dtype));
    out_.Close();
  });
  out_.Close();
  out_.Close();
  out_.Blank();
}

void AttentionWriter::WriteRows(const AttentionRows& to, int64_t rows, int64_t extent, const std::string& from, int64_t from_row,
                                const std::string& factor, const std::string& row_offset) {
  const std::string times = factor.empty() ? "" : " * " + factor;
  out_.Open("for (long i = 0; i < {}; ++i)", rows);
  if (to.in_place()) {
    ForVectors(extent, [&](int64_t j, int64_t live) {
      const std::string value = LoadText(fmt::format("{} + i * {} + {}", from, from_row, j), 0) + times;
      out_.Line("{}", StoreText(fmt::format("{} + ({} + i) * {} + {}", to.name(), row_offset, to.stride(), j), value, live));
    });
  } else {
    out_.Line("for (long j = 0; j < {}; ++j) {} = ({})[i * {} + j]{};", extent, to.Element("b", "h", fmt::format("({} + i)", row_offset), "j"),
              from, from_row, times);
  }
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
