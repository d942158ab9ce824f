#include <algorithm>
#include <map>

#include "jit/body_emitter.h"
#include "jit/codegen_cpp.h"
#include "jit/loop_space.h"
#include "jit/loop_writer.h"
#include "jit/reduce_passes.h"
#include "ops/error.h"

namespace athanor {
namespace {

class ReduceGenerator {
 public:
  ReduceGenerator(const KernelPlan& plan, const LoopSchedule& schedule, const CpuTarget& cpu)
      : plan_(plan),
        schedule_(schedule),
        body_(std::get<LoopPlan>(plan.detail).body),
        rows_(body_.extents[0]),
        cols_(body_.extents[1]),
        lanes_(LanesFor(body_, cpu)),
        lanes_on_rows_(LanesOnRows(body_)),
        prelude_(cpu, lanes_),
        emitter_(body_, plan.args, &prelude_, &out_),
        loops_(&emitter_, &prelude_, &out_, 1, schedule.streaming),
        pass_plan_(body_, emitter_.varies(), !lanes_on_rows_),
        column_sums_(pass_plan_.column_sums()) {
    for (const Pass& pass : pass_plan_.passes()) {
      for (int e : pass.saves) {
        scratch_offset_[e] = scratch_bytes_;
        scratch_bytes_ += (cols_ * SizeOf(ValueType(body_.exprs[e].dtype)) * (lanes_on_rows_ ? lanes_ : 1) + 127) / 64 * 64;
      }
    }
    chunks_ = std::max<int64_t>(1, std::min<int64_t>(schedule.row_chunks, rows_));
  }

  KernelSource Generate() {
    KernelSource source;
    const int64_t tasks = WriteRows();
    if (tasks > 0) source.phases.push_back({"rows", tasks});
    if (!column_sums_.empty()) source.phases.push_back({"combine", WriteCombine()});
    for (int e : column_sums_) {
      const int64_t width = emitter_.varies()[body_.exprs[e].args[0]] & kCols ? cols_ : 1;
      source.temporary_bytes.push_back(chunks_ * width * SizeOf(ValueType(body_.exprs[e].dtype)));
    }
    source.scratch_bytes = scratch_bytes_;
    source.text = SourceHeader(plan_, schedule_) + prelude_.Text() + "\n" + out_.text();
    return source;
  }

 private:
  bool Along(int expr) const { return emitter_.varies()[expr] & (lanes_on_rows_ ? kRows : kCols); }
  bool IsColumn(int sum) const { return emitter_.varies()[body_.exprs[sum].args[0]] & kCols; }
  const Operand* RowOf(int sum) const;
  std::string Temporary(int sum, bool declare);
  int64_t WriteRows();
  void WriteRow();
  void WritePick(int expr);
  void WritePass(const Pass& pass);
  void WritePassLoop(const Pass& pass, int accumulators);
  void WritePoint(const Pass& pass, const std::string& index, const std::string& live, int accumulator, bool lanes);
  void WritePrefetch(const std::string& index);
  void FinishReductions(const Pass& pass, int accumulators);
  std::string Accumulate(const Expr& expr, const std::string& sum, const std::string& value, bool vector);
  int64_t WriteCombine();

  const KernelPlan& plan_;
  const LoopSchedule& schedule_;
  const Body& body_;
  const int64_t rows_, cols_;
  const int lanes_;
  const bool lanes_on_rows_;
  Prelude prelude_;
  SourceWriter out_;
  BodyEmitter emitter_;
  LoopWriter loops_;
  PassPlan pass_plan_;
  const std::vector<int> column_sums_;
  std::map<int, int64_t> scratch_offset_;
  int64_t scratch_bytes_ = 0, chunks_ = 1;
};

std::string ReduceGenerator::Temporary(int sum, bool declare) {
  const size_t k = std::find(column_sums_.begin(), column_sums_.end(), sum) - column_sums_.begin();
  if (declare) {
    const std::string_view type = ScalarType(body_.exprs[sum].dtype);
    out_.Line("{0}* const sums{1} = ({0}*)args[{2}];", type, sum, plan_.args.size() + k);
  }
  return fmt::format("sums{}", sum);
}

int64_t ReduceGenerator::WriteRows() {
  int64_t rows_per_task = std::max<int64_t>(1, schedule_.task_elements / std::max<int64_t>(1, cols_));
  if (lanes_on_rows_) rows_per_task = (rows_per_task + lanes_ - 1) / lanes_ * lanes_;
  const int64_t tasks = column_sums_.empty() ? (rows_ + rows_per_task - 1) / rows_per_task : chunks_;
  if (tasks == 0) return 0;
  out_.Open("extern \"C\" void rows(char* const* args, long begin, long end, char* scratch)");
  DeclareArgs(plan_.args, &out_);
  for (int e : column_sums_) Temporary(e, true);
  for (const auto& [e, offset] : scratch_offset_) {
    out_.Line("{0}* const s{1} = ({0}*)(scratch + {2});", ScalarType(body_.exprs[e].dtype), e, offset);
  }
  emitter_.Push();
  std::vector<int> all;
  for (const Pass& pass : pass_plan_.passes()) {
    const std::vector<int> roots = pass_plan_.Roots(pass);
    all.insert(all.end(), roots.begin(), roots.end());
  }
  emitter_.Hoist(all);
  out_.Open("for (long task = begin; task < end; ++task)");
  if (column_sums_.empty()) {
    out_.Line("const long row_begin = task * {0}, row_end = row_begin + {0} < {1} ? row_begin + {0} : {1};", rows_per_task,
              rows_);
  } else {
    out_.Line("const long row_begin = task * {0} / {1}, row_end = (task + 1) * {0} / {1};", rows_, chunks_);
  }
  for (int e : column_sums_) {
    const std::string_view type = ScalarType(body_.exprs[e].dtype);
    if (IsColumn(e)) {
      out_.Line("{} *const column{} = sums{} + task * {};", type, e, e, cols_);
      out_.Line("for (long j = 0; j < {}; ++j) column{}[j] = 0;", cols_, e);
    } else {
      out_.Line("{} total{} = 0;", type, e);
    }
  }
  if (lanes_on_rows_) {
    for (const bool tail : {false, true}) {
      if (tail && rows_ % lanes_ == 0) continue;
      emitter_.Push();
      if (tail) {
        out_.Open("if (row_end - row_begin & {})", lanes_ - 1);
        out_.Line("const long i0 = row_begin + (row_end - row_begin) / {0} * {0}, live = row_end - i0;", lanes_);
      } else {
        out_.Open("for (long i0 = row_begin; i0 + {0} <= row_end; i0 += {0})", lanes_);
      }
      emitter_.SetVector(0, "i0", lanes_, tail ? "live" : "");
      WriteRow();
      out_.Close();
      emitter_.Pop();
    }
  } else {
    loops_.OpenLoop(0, "row_begin", "row_end");
    WriteRow();
    loops_.CloseLoop();
  }
  for (int e : column_sums_) {
    if (!IsColumn(e)) out_.Line("sums{0}[task] = total{0};", e);
  }
  out_.Close();
  emitter_.Pop();
  loops_.Fence();
  out_.Close();
  return tasks;
}

void ReduceGenerator::WriteRow() {
  for (const Pass& pass : pass_plan_.passes()) {
    for (int e : pass.picks) WritePick(e);
    emitter_.Hoist(pass_plan_.Roots(pass));
    for (int s : pass.row_stores) emitter_.EmitStore(body_.stores[s], false);
    for (int e : pass.column_sums) {  // of row statistics: one number a chunk
      if (!IsColumn(e))
        out_.Line("total{0} = {1};", e,
                  Accumulate(body_.exprs[e], fmt::format("total{}", e), emitter_.Scalar(body_.exprs[e].args[0]), false));
    }
    WritePass(pass);
  }
}

void ReduceGenerator::WritePick(int id) {
  const Pick& pick = *pass_plan_.pick(id);
  const std::vector<int> roots = {pick.column, pick.value};
  emitter_.Hoist(roots);
  const std::string column = emitter_.Scalar(pick.column), name = fmt::format("r{}", id);
  out_.Line("{} {} = 0;", ScalarType(body_.exprs[id].dtype), name);
  out_.Open("if ({0} >= 0 && {0} < {1})", column, cols_);
  emitter_.Push();
  emitter_.SetIndex(1, column);
  out_.Line("{} = {};", name, emitter_.Scalar(pick.value));
  emitter_.Pop();
  out_.Close();
  emitter_.Bind(id, name, false);
}

std::string ReduceGenerator::Accumulate(const Expr& expr, const std::string& sum, const std::string& value, bool vector) {
  if (expr.fn == Fn::kAdd) return fmt::format("{} + {}", sum, value);
  ATHANOR_CHECK(expr.fn == Fn::kMax);
  (void)vector;
  prelude_.Use("arith", expr.dtype);
  return fmt::format("vmax({}, {})", sum, value);
}

void ReduceGenerator::WritePass(const Pass& pass) {
  const bool columns = std::any_of(pass.column_sums.begin(), pass.column_sums.end(), [&](int e) { return IsColumn(e); });
  if (pass.reductions.empty() && pass.stores.empty() && !columns) return;
  const bool lanes = !lanes_on_rows_;
  const int accumulators = pass.reductions.empty() || !lanes || cols_ < 8 * lanes_ ? 1 : pass.reductions.size() <= 2 ? 4 : 2;
  for (int e : pass.reductions) {
    const Expr& expr = body_.exprs[e];
    const bool vector = lanes || Along(e);
    std::string value = expr.fn == Fn::kMax ? LowestLiteral(expr.dtype) : Literal(0, expr.dtype);
    if (vector) {
      prelude_.Use("splat", expr.dtype);
      value = fmt::format("splat({})", value);
    }
    for (int k = 0; k < accumulators; ++k) {
      out_.Line("{} r{}_{} = {};", vector ? VectorType(expr.dtype) : ScalarType(expr.dtype), e, k, value);
    }
  }
  WritePassLoop(pass, accumulators);
  FinishReductions(pass, accumulators);
}

void ReduceGenerator::WritePassLoop(const Pass& pass, int accumulators) {
  if (lanes_on_rows_) {
    if (cols_ == 0) return;
    out_.Open("for (long i1 = 0; i1 < {}; ++i1)", cols_);
    WritePoint(pass, "i1", "", 0, false);
    out_.Close();
    return;
  }
  const int64_t block = static_cast<int64_t>(accumulators) * lanes_, whole = cols_ / block * block,
                vectors = cols_ / lanes_ * lanes_;
  if (whole > 0) {
    out_.Open("for (long i1 = 0; i1 < {}; i1 += {})", whole, block);
    for (int k = 0; k < accumulators; ++k) WritePoint(pass, k == 0 ? "i1" : fmt::format("(i1 + {})", k * lanes_), "", k, true);
    out_.Close();
  }
  for (int64_t j = whole; j < vectors; j += lanes_) {
    out_.OpenBlock();
    WritePoint(pass, std::to_string(j), "", static_cast<int>((j - whole) / lanes_), true);
    out_.Close();
  }
  if (vectors == cols_) return;
  out_.OpenBlock();
  WritePoint(pass, std::to_string(vectors), std::to_string(cols_ - vectors),
             static_cast<int>((vectors - whole) / lanes_) % accumulators, true);
  out_.Close();
}

// One vector (or, with lanes on rows, one column) of a pass.
void ReduceGenerator::WritePoint(const Pass& pass, const std::string& index, const std::string& live, int accumulator,
                                 bool lanes) {
  emitter_.Push();
  if (lanes) {
    emitter_.SetVector(1, index, lanes_, live);
  } else {
    emitter_.SetIndex(1, index);
  }
  auto scratch = [&](int e) {
    return fmt::format("s{} + {}{}", e, index, lanes_on_rows_ && Along(e) ? fmt::format(" * {}", lanes_) : "");
  };
  for (int e : pass.loads) {
    const bool vector = Along(e);
    if (vector) prelude_.Use("load", body_.exprs[e].dtype);
    out_.Line("const {} y{}{} = {};", vector ? VectorType(body_.exprs[e].dtype) : ScalarType(body_.exprs[e].dtype), e,
              fmt::format("_{}", accumulator), fmt::format(fmt::runtime(vector ? "load({})" : "*({})"), scratch(e)));
    emitter_.Bind(e, fmt::format("y{}_{}", e, accumulator), vector);
  }
  if (pass.prefetches && live.empty()) WritePrefetch(index);
  for (int s : pass.stores) emitter_.EmitStore(body_.stores[s], false, schedule_.streaming);
  for (int e : pass.reductions) {
    const Expr& expr = body_.exprs[e];
    const bool vector = lanes || Along(e);
    std::string value = vector ? emitter_.Vector(expr.args[0]) : emitter_.Scalar(expr.args[0]);
    const std::string name = fmt::format("r{}_{}", e, accumulator);
    std::string next = Accumulate(expr, name, value, vector);
    if (lanes && !live.empty()) {
      prelude_.Use("select", expr.dtype);
      prelude_.Use("iota", DType::kI32);
      next = fmt::format("select(iota_i32() < {}, {}, {})", live, next, name);
    }
    out_.Line("{} = {};", name, next);
  }
  for (int e : pass.column_sums) {
    if (!IsColumn(e)) continue;
    const DType dtype = body_.exprs[e].dtype;
    const std::string value = emitter_.Vector(body_.exprs[e].args[0]), at = fmt::format("column{} + {}", e, index);
    prelude_.Use(live.empty() ? "load" : "tail", dtype);
    if (live.empty()) prelude_.Use("store", dtype);
    out_.Line("{};", live.empty() ? fmt::format("store({0}, load({0}) + {1})", at, value)
                                  : fmt::format("store_tail({0}, load_tail({0}, {2}) + {1}, {2})", at, value, live));
  }
  for (int e : pass.saves) {
    const bool vector = Along(e);
    if (vector) prelude_.Use("store", body_.exprs[e].dtype);
    out_.Line(fmt::runtime(vector ? "store({}, {});" : "*({}) = {};"), scratch(e),
              vector ? emitter_.Vector(e) : emitter_.Scalar(e));
  }
  emitter_.Pop();
}

void ReduceGenerator::WritePrefetch(const std::string& index) {
  for (const Operand& operand : body_.operands) {
    const auto row = StrideAlong(operand.map, 0), col = StrideAlong(operand.map, 1);
    if (operand.row >= 0 || !operand.pieces.empty() || !row || *row == 0 || col != 1) continue;
    out_.Line("__builtin_prefetch(a{} + (i0 + 1) * {} + {} + {}, 0, 2);", operand.arg, *row, index, operand.map.offset());
  }
}

void ReduceGenerator::FinishReductions(const Pass& pass, int accumulators) {
  for (int e : pass.reductions) {
    const Expr& expr = body_.exprs[e];
    for (int width = accumulators; width > 1; width /= 2) {
      for (int k = 0; k < width / 2; ++k) {
        out_.Line("r{0}_{1} = {2};", e, k,
                  Accumulate(expr, fmt::format("r{}_{}", e, k), fmt::format("r{}_{}", e, k + width / 2), true));
      }
    }
    if (lanes_on_rows_) {
      emitter_.Bind(e, fmt::format("r{}_0", e), Along(e));
      continue;
    }
    const char* across = expr.fn == Fn::kAdd ? "sum" : "max";
    prelude_.Use(across, expr.dtype);
    out_.Line("const {} r{} = {}(r{}_0);", ScalarType(expr.dtype), e, across, e);
    emitter_.Bind(e, fmt::format("r{}", e), false);
  }
}

// Where the sums of columns go, if only to a row that is stored as they are.
const Operand* ReduceGenerator::RowOf(int sum) const {
  const Operand* row = nullptr;
  for (const Store& store : body_.stores) {
    if (store.expr != sum) continue;
    const Operand& to = store.operand;
    if (row != nullptr || store.end >= 0 || to.row >= 0 || StrideAlong(to.map, 1) != 1) return nullptr;
    if (plan_.args[to.arg].dtype != body_.exprs[sum].dtype) return nullptr;
    row = &to;
  }
  const DType dtype = body_.exprs[sum].dtype;
  return IsColumn(sum) && body_.exprs[sum].fn == Fn::kAdd && (dtype == DType::kF32 || dtype == DType::kF64) ? row : nullptr;
}

// Sums the chunks' partial sums in order.
int64_t ReduceGenerator::WriteCombine() {
  const int64_t block = std::max<int64_t>(lanes_, 16 * lanes_), tasks = std::max<int64_t>(1, (cols_ + block - 1) / block);
  out_.Blank();
  out_.Open("extern \"C\" void combine(char* const* args, long begin, long end, char*)");
  DeclareArgs(plan_.args, &out_);
  for (int e : column_sums_) Temporary(e, true);
  out_.Open("for (long task = begin; task < end; ++task)");
  out_.Line("const long from = task * {0}, to = from + {0} < {1} ? from + {0} : {1};", block, cols_);
  for (int e : column_sums_) {
    const DType dtype = body_.exprs[e].dtype;
    if (const Operand* to = RowOf(e)) {
      prelude_.Use("add_parts", dtype);
      out_.Line("add_parts_{}(sums{} + from, {}, {}, a{} + {} + from, to - from);", Name(dtype), e, chunks_, cols_, to->arg, to->map.offset());
      continue;
    }
    auto write = [&](bool vector, const std::string& at, const std::string& stride, const std::string& live) {
      const std::string name = fmt::format("total{}", e);
      const std::string_view type = vector ? VectorType(dtype) : ScalarType(dtype);
      if (vector) prelude_.Use(live.empty() ? "load" : "tail", dtype);
      auto partial = [&](const std::string& chunk) {
        const std::string pointer = fmt::format("sums{} + {} * {}{}", e, chunk, stride, at.empty() ? "" : " + " + at);
        return vector ? live.empty() ? fmt::format("load({})", pointer) : fmt::format("load_tail({}, {})", pointer, live)
                      : fmt::format("*({})", pointer);
      };
      out_.Line("{} {} = {};", type, name, partial("0"));
      out_.Line("for (long chunk = 1; chunk < {}; ++chunk) {} = {} + {};", chunks_, name, name, partial("chunk"));
      emitter_.Bind(e, name, vector);
      for (const Store& store : body_.stores) {
        if (store.expr != e) continue;
        // A total of what is the same in every column may still be wanted in each of them.
        const Digits& along = store.operand.map.dim(1);
        const bool each = !vector && std::any_of(along.begin(), along.end(), [](const Digit& d) { return d.extent > 1 && d.stride != 0; });
        if (each) {
          out_.Open("for (long i1 = 0; i1 < {}; ++i1)", cols_);
          emitter_.Push();
          emitter_.SetIndex(1, "i1");
        }
        emitter_.EmitStore(store, false);
        if (each) {
          emitter_.Pop();
          out_.Close();
        }
      }
    };
    emitter_.Push();
    emitter_.SetIndex(0, "0");
    if (IsColumn(e)) {
      out_.OpenBlock();
      out_.Line("long i1 = from;");
      for (const bool tail : {false, true}) {
        if (tail && cols_ % lanes_ == 0) continue;
        out_.Open(fmt::runtime(tail ? "if (i1 < to)" : "for (; i1 + {0} <= to; i1 += {0})"), lanes_);
        emitter_.Push();
        emitter_.SetVector(1, "i1", lanes_, tail ? "(to - i1)" : "");
        write(true, "i1", std::to_string(cols_), tail ? "(to - i1)" : "");
        emitter_.Pop();
        out_.Close();
      }
      out_.Close();
    } else {
      out_.Open("if (task == 0)");
      emitter_.SetIndex(1, "0");
      write(false, "", "1", "");
      out_.Close();
    }
    emitter_.Pop();
  }
  out_.Close();
  out_.Close();
  return tasks;
}

}  // namespace

KernelSource GenerateCppReduce(const KernelPlan& plan, const LoopSchedule& schedule, const CpuTarget& cpu) {
  return ReduceGenerator(plan, schedule, cpu).Generate();
}

}  // namespace athanor
