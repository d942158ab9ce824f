#include <algorithm>
#include <bit>

#include "jit/codegen_cuda.h"
#include "jit/cuda_emitter.h"
#include "jit/cuda_point.h"
#include "jit/cuda_team.h"
#include "jit/loop_space.h"
#include "jit/prelude.h"
#include "jit/reduce_passes.h"
#include "ops/error.h"

namespace athanor {
namespace {

constexpr int kWarp = CudaTeam::kWarp;
constexpr int64_t kMaxPoints = 64, kMaxDoubles = 4;          // that an unrolled pass computes at once; functions of doubles take many registers
constexpr int64_t kWarpRegisters = 64, kBlockRegisters = 96;  // that hold values from pass to pass, or column sums from row to row
constexpr int64_t kColumnSumBlocks = 264;                    // each leaves a row of partial sums behind

// What `threads` threads that share a row hold in registers while they go over it, and column sums over all their rows.
struct HeldRow {
  HeldRow(const Body& body, const std::vector<KernelArg>& args, const CudaEmitter& emitter, int row_threads, int vec_lanes)
      : threads(row_threads), lanes(vec_lanes), passes(body, emitter.varies(), true, Keep::kExpensiveAndLoads) {
    const int64_t across = int64_t{threads} * lanes;
    steps = (body.extents[1] + across - 1) / across;
    doubles = std::any_of(body.exprs.begin(), body.exprs.end(), [](const Expr& e) { return e.dtype == DType::kF64; });
    unrolls = steps > 0 && steps * lanes <= (doubles ? kMaxDoubles : kMaxPoints);
    auto hold = [&](int e) {
      const bool raw = IsRawSave(body, emitter, e, 1, lanes);
      const DType dtype = body.exprs[e].dtype;
      registers += steps * lanes * SizeOf(raw ? args[body.operands[body.exprs[e].operand].arg].dtype : ValueType(dtype)) / 4;
    };
    for (const Pass& pass : passes.passes()) std::for_each(pass.saves.begin(), pass.saves.end(), hold);
    for (int e : passes.column_sums()) {
      if (emitter.varies()[body.exprs[e].args[0]] & kCols) hold(e);
    }
  }
  bool fits() const { return unrolls && registers <= (threads <= kWarp ? kWarpRegisters : kBlockRegisters); }

  int threads, lanes;
  int64_t steps = 0, registers = 0;
  bool doubles = false, unrolls = false;
  PassPlan passes;
};

// Lanes of a Vec along a row. Rows are cut into whole ones.
int RowLanes(const Body& body, const CudaEmitter& emitter) {
  if (LanesOnRows(body)) return 1;
  int lanes = emitter.LanesAlong(1);
  while (body.extents[1] % lanes != 0) lanes /= 2;
  return lanes;
}

// A team of threads takes one row after another, all columns of it; it is a part of a warp, a warp or the whole block. Each thread
// has the same columns in every pass and every row, so it holds what later passes need in registers where there is room.
// Row sums are taken over the team in a fixed order. Column sums are taken over the rows of a block, or of a team without the room,
// then over the blocks' in order by a second kernel.
class CudaReduce {
 public:
  CudaReduce(const KernelPlan& plan, const CudaSchedule& schedule)
      : plan_(plan),
        body_(std::get<LoopPlan>(plan.detail).body),
        rows_(body_.extents[0]),
        cols_(body_.extents[1]),
        threads_(schedule.threads),
        schedule_(schedule),
        emitter_(body_, plan.args, &out_),
        team_(threads_, schedule.row_threads, &emitter_, &out_),
        held_(body_, plan.args, emitter_, team_.size(), RowLanes(body_, emitter_)),
        holds_(held_.fits()),
        lanes_(holds_ || !held_.doubles ? held_.lanes : 1),
        passes_(holds_ ? held_.passes : PassPlan(body_, emitter_.varies(), true, Keep::kNothing)),
        sums_(passes_.column_sums()) {
    ATHANOR_CHECK(!HasPartialRange(body_));
    for (int e : sums_) ATHANOR_CHECK(body_.exprs[e].fn == Fn::kAdd);
    const int64_t needed = (rows_ + team_.in_block() - 1) / team_.in_block();
    blocks_ = std::min(needed, schedule.max_blocks);
    if (!sums_.empty()) blocks_ = std::max<int64_t>(blocks_, 1);
    chunks_ = holds_ ? blocks_ : blocks_ * team_.in_block();
    for (const Pass& pass : passes_.passes()) reducing_passes_ += !pass.reductions.empty();
  }

  CudaSource Generate() {
    CudaSource source;
    if (blocks_ > 0) {
      WriteRows();
      source.launches.push_back({"rows", blocks_, threads_});
    }
    if (!sums_.empty()) source.launches.push_back({"combine", WriteCombine(), threads_});
    for (int e : sums_) source.temporary_bytes.push_back(chunks_ * Width(e) * SizeOf(ValueType(body_.exprs[e].dtype)));
    source.text = CudaText(plan_, schedule_, plan_.args.size() + sums_.size(), CudaHelpers(emitter_.helpers()), out_.text());
    return source;
  }

 private:
  bool IsColumn(int sum) const { return emitter_.varies()[body_.exprs[sum].args[0]] & kCols; }
  int64_t Width(int sum) const { return IsColumn(sum) ? cols_ : 1; }  // partial sums of a chunk
  CudaTeam::Partial PartialOf(int e) const { return {fmt::format("r{}", e), body_.exprs[e].fn, body_.exprs[e].dtype}; }
  std::string_view TypeOf(int e) const { return ScalarType(body_.exprs[e].dtype); }

  void OpenKernel(const char* symbol);
  void DeclareSums();
  void WriteRows();
  void WriteRow();
  void WritePick(int expr);
  void WriteTotals(const Pass& pass);
  void WriteRowStores(const Pass& pass);
  void WritePass(const Pass& pass);
  void OpenColumns();
  void CloseColumns();
  void FinishReductions(const Pass& pass);
  void FinishSums();
  void AddUpWarps();
  int64_t WriteCombine();
  bool StoredInEachColumn(int sum) const;

  const KernelPlan& plan_;
  const Body& body_;
  const int64_t rows_, cols_;
  const int threads_;                                        // of a block
  const CudaSchedule& schedule_;
  SourceWriter out_;
  CudaEmitter emitter_;
  const CudaTeam team_;
  const HeldRow held_;
  const bool holds_;                                         // in registers; otherwise rows are read again, column sums are in memory
  const int lanes_;
  const PassPlan passes_;
  const std::vector<int> sums_;
  int64_t blocks_ = 0, chunks_ = 0;
  int reducing_passes_ = 0;
};

void CudaReduce::OpenKernel(const char* symbol) {
  out_.Open("extern \"C\" __global__ void __launch_bounds__({}) {}(const __grid_constant__ Arguments arguments)", threads_, symbol);
  DeclareCudaArgs(plan_.args, &out_);
  for (size_t k = 0; k < sums_.size(); ++k) {
    out_.Line("{0}* const sums{1} = ({0}*)arguments.pointers[{2}];", TypeOf(sums_[k]), sums_[k], plan_.args.size() + k);
  }
}

void CudaReduce::DeclareSums() {
  for (int e : sums_) {
    if (!IsColumn(e)) {
      out_.Line("{} total{} = 0;", TypeOf(e), e);
    } else if (holds_) {
      emitter_.Use("vec");
      out_.Line("{} column{}[{}] = {{}};", VecType(body_.exprs[e].dtype, lanes_, false), e, held_.steps);
    } else {
      out_.Line("{0}* const column{1} = sums{1} + ({2}) * {3}L;", TypeOf(e), e, team_.Number(), cols_);
      OpenColumns();
      out_.Line("for (int l = 0; l < {}; ++l) column{}[i1 + l] = 0;", lanes_, e);
      CloseColumns();
    }
  }
}

void CudaReduce::WriteRows() {
  OpenKernel("rows");
  team_.Declare(reducing_passes_ > 0);
  DeclareSums();
  emitter_.Push();
  std::vector<int> all;
  for (const Pass& pass : passes_.passes()) {
    const std::vector<int> roots = passes_.Roots(pass);
    all.insert(all.end(), roots.begin(), roots.end());
  }
  emitter_.Hoist(all);
  out_.Open("for ({} i0 = {}; i0 < {}; i0 += {})", emitter_.index_type(), team_.Number(), rows_, blocks_ * team_.in_block());
  emitter_.Push();
  emitter_.SetIndex(0, "i0");
  WriteRow();
  emitter_.Pop();
  out_.Close();
  emitter_.Pop();
  if (!sums_.empty()) FinishSums();
  out_.Close();
}

void CudaReduce::WriteRow() {
  for (const Pass& pass : passes_.passes()) {
    for (int e : pass.saves) {
      const bool raw = IsRawSave(body_, emitter_, e, 1, lanes_);
      const DType dtype = raw ? plan_.args[body_.operands[body_.exprs[e].operand].arg].dtype : body_.exprs[e].dtype;
      emitter_.Use("vec");
      out_.Line("{} s{}[{}];", VecType(dtype, lanes_, raw), e, held_.steps);
    }
  }
  for (const Pass& pass : passes_.passes()) {
    for (int e : pass.picks) WritePick(e);
    emitter_.Hoist(passes_.Roots(pass));
    WriteRowStores(pass);
    WriteTotals(pass);
    WritePass(pass);
  }
}

// Every thread of the team reads the same element.
void CudaReduce::WritePick(int id) {
  const Pick& pick = *passes_.pick(id);
  const std::vector<int> roots = {pick.column, pick.value};
  emitter_.Hoist(roots);
  const std::string column = emitter_.Get(pick.column), name = fmt::format("r{}", id);
  out_.Line("{} {} = 0;", TypeOf(id), name);
  out_.Open("if ({0} >= 0 && {0} < {1})", column, cols_);
  emitter_.Push();
  emitter_.SetIndex(1, column);
  const std::string value = emitter_.Get(pick.value);
  out_.Line("{} = {};", name, value);
  emitter_.Pop();
  out_.Close();
  emitter_.Bind(id, name);
}

void CudaReduce::WriteRowStores(const Pass& pass) {
  if (pass.row_stores.empty()) return;
  if (team_.size() > 1) out_.Open("if (t == 0)");
  emitter_.Push();
  for (int s : pass.row_stores) emitter_.EmitStore(body_.stores[s]);
  emitter_.Pop();
  if (team_.size() > 1) out_.Close();
}

void CudaReduce::WriteTotals(const Pass& pass) {             // sums of row statistics
  for (int e : pass.column_sums) {
    if (IsColumn(e)) continue;
    const std::string value = emitter_.Get(body_.exprs[e].args[0]);
    out_.Line("total{} += {};", e, value);
  }
}

// A loop over the Vecs of the row that are this thread's; the first element of one has the index i1.
void CudaReduce::OpenColumns() {
  if (!holds_) {
    if (held_.doubles) out_.Line("#pragma unroll 1");        // the compiler's own unrolling would spill registers, as would Vecs
    const std::string first = lanes_ == 1 ? "t" : fmt::format("t * {}", lanes_);
    out_.Open("for ({} i1 = {}; i1 < {}; i1 += {})", emitter_.index_type(), first, cols_, team_.size() * lanes_);
    return;
  }
  out_.Line("#pragma unroll");
  out_.Open("for (int k = 0; k < {}; ++k)", held_.steps);
  const std::string vec = fmt::format("k * {} + t", team_.size());
  out_.Line("const {} i1 = {};", emitter_.index_type(), lanes_ == 1 ? vec : fmt::format("({}) * {}", vec, lanes_));
  if (held_.steps * team_.size() * lanes_ != cols_) out_.Open("if (i1 < {})", cols_);
}

void CudaReduce::CloseColumns() {
  if (holds_ && held_.steps * team_.size() * lanes_ != cols_) out_.Close();
  out_.Close();
}

void CudaReduce::WritePass(const Pass& pass) {
  CudaPoint point;
  point.dim = 1, point.lanes = lanes_, point.index = "i1";
  std::vector<int> columns;
  for (int s : pass.stores) point.stores.push_back(&body_.stores[s]);
  for (int e : pass.reductions) point.roots.push_back(body_.exprs[e].args[0]);
  for (int e : pass.column_sums) {
    if (IsColumn(e)) columns.push_back(e), point.roots.push_back(body_.exprs[e].args[0]);
  }
  for (int e : pass.saves) point.roots.push_back(e), point.saves[e] = fmt::format("s{}[k]", e);
  for (int e : pass.loads) point.loads[e] = fmt::format("s{}[k]", e);
  for (int e : pass.reductions) out_.Line("{} r{} = {};", TypeOf(e), e, team_.Start(PartialOf(e)));
  if ((!point.roots.empty() || !point.stores.empty()) && cols_ > 0) {
    OpenColumns();
    WriteCudaPoint(point, body_, plan_.args, &emitter_, &out_, [&] {
      for (int e : pass.reductions) {
        const std::string value = emitter_.Get(body_.exprs[e].args[0]), name = fmt::format("r{}", e);
        out_.Line("{} = {};", name, team_.Combine(PartialOf(e), name, value));
      }
      for (int e : columns) {
        const std::string value = emitter_.Get(body_.exprs[e].args[0]), lane = lanes_ > 1 ? "l" : "0";
        const std::string at = holds_ ? fmt::format("[k].v[{}]", lane) : fmt::format("[i1 + {}]", lane);
        out_.Line("column{}{} += {};", e, at, value);
      }
    });
    CloseColumns();
  }
  FinishReductions(pass);
}

void CudaReduce::FinishReductions(const Pass& pass) {
  std::vector<CudaTeam::Partial> partials;
  for (int e : pass.reductions) partials.push_back(PartialOf(e)), emitter_.Bind(e, fmt::format("r{}", e));
  team_.Reduce(partials, reducing_passes_ == 1);             // with several passes that reduce, another one comes between
}

// Each chunk leaves its column sums in the temporaries.
void CudaReduce::FinishSums() {
  if (!team_.in_warp() || !holds_) {
    const std::string chunk = holds_ ? "blockIdx.x" : team_.Number();
    for (int e : sums_) {
      if (!IsColumn(e)) out_.Line("if (t == 0) sums{0}[{1}] = total{0};", e, chunk);
      if (!IsColumn(e) || !holds_) continue;
      OpenColumns();
      out_.Line("for (int l = 0; l < {}; ++l) sums{}[blockIdx.x * {}L + i1 + l] = column{}[k].v[l];", lanes_, e, cols_, e);
      CloseColumns();
    }
    return;
  }
  AddUpWarps();
}

// The teams of a warp add up by shuffles, the warps one after the other in shared memory.
void CudaReduce::AddUpWarps() {
  for (int e : sums_) {
    if (team_.size() == kWarp) break;
    emitter_.Use("sum_across");
    const std::string across = fmt::format("sum_across<{}, {}>", team_.size(), kWarp);
    if (!IsColumn(e)) {
      out_.Line("total{0} = {1}(0xffffffffu, total{0});", e, across);
    } else {
      out_.Line("#pragma unroll");
      out_.Open("for (int k = 0; k < {}; ++k)", held_.steps);
      out_.Line("for (int l = 0; l < {0}; ++l) column{1}[k].v[l] = {2}(0xffffffffu, column{1}[k].v[l]);", lanes_, e, across);
      out_.Close();
    }
  }
  for (int e : sums_) out_.Line("__shared__ {0} block{1}[{2}];", TypeOf(e), e, Width(e));
  for (int e : sums_) out_.Line("for (int j = threadIdx.x; j < {}; j += {}) block{}[j] = 0;", Width(e), threads_, e);
  out_.Line("__syncthreads();");
  out_.Open("for (int w = 0; w < {}; ++w)", threads_ / kWarp);
  const std::string first_team = team_.size() == kWarp ? "" : fmt::format(" && threadIdx.x % {} < {}", kWarp, team_.size());
  out_.Open("if (threadIdx.x / {} == w{})", kWarp, first_team);
  for (int e : sums_) {
    if (!IsColumn(e)) {
      out_.Line("if (t == 0) block{0}[0] += total{0};", e);
      continue;
    }
    OpenColumns();
    out_.Line("for (int l = 0; l < {}; ++l) block{}[i1 + l] += column{}[k].v[l];", lanes_, e, e);
    CloseColumns();
  }
  out_.Close();
  out_.Line("__syncthreads();");
  out_.Close();
  for (int e : sums_) {
    out_.Line("for (int j = threadIdx.x; j < {0}; j += {1}) sums{2}[blockIdx.x * {0}L + j] = block{2}[j];", Width(e), threads_, e);
  }
}

// A total of what is the same in every column may still be wanted in each of them.
bool CudaReduce::StoredInEachColumn(int sum) const {
  return std::any_of(body_.stores.begin(), body_.stores.end(), [&](const Store& store) {
    const Digits& along = store.operand.map.dim(1);
    return store.expr == sum && std::any_of(along.begin(), along.end(), [](const Digit& d) { return d.extent > 1 && d.stride != 0; });
  });
}

// A warp adds every so many chunks of 32 columns, then the first warp adds the warps'.
int64_t CudaReduce::WriteCombine() {
  const int warps = threads_ / kWarp;
  int64_t widest = 1;
  out_.Blank();
  OpenKernel("combine");
  out_.Line("const int lane = threadIdx.x % {0}, warp = threadIdx.x / {0};", kWarp);
  out_.Line("const {} i1 = blockIdx.x * {} + lane;", emitter_.index_type(), kWarp);
  for (int e : sums_) {
    const int64_t reach = IsColumn(e) || StoredInEachColumn(e) ? cols_ : 1;
    widest = std::max(widest, reach);
    out_.Line("__shared__ {} warps{}[{}];", TypeOf(e), e, threads_);
    out_.Line("{} total{} = 0;", TypeOf(e), e);
    out_.Open("if (i1 < {})", reach);
    const std::string at = IsColumn(e) ? fmt::format("chunk * {}L + i1", cols_) : "chunk";
    out_.Line("for ({} chunk = warp; chunk < {}; chunk += {}) total{} += sums{}[{}];", emitter_.index_type(), chunks_, warps, e, e, at);
    out_.Close();
    out_.Line("warps{0}[threadIdx.x] = total{0};", e);
  }
  out_.Line("__syncthreads();");
  out_.Line("if (warp > 0) return;");
  for (int e : sums_) {
    const int64_t reach = IsColumn(e) || StoredInEachColumn(e) ? cols_ : 1;
    out_.Open("if (i1 < {})", reach);
    out_.Line("for (int w = 1; w < {0}; ++w) total{1} += warps{1}[w * {2} + lane];", warps, e, kWarp);
    emitter_.Push();
    emitter_.SetIndex(0, "0");
    emitter_.SetIndex(1, "i1");
    emitter_.Bind(e, fmt::format("total{}", e));
    for (const Store& store : body_.stores) {
      if (store.expr == e) emitter_.EmitStore(store);
    }
    emitter_.Pop();
    out_.Close();
  }
  out_.Close();
  return (widest + kWarp - 1) / kWarp;
}

}  // namespace

CudaSchedule DefaultCudaReduceSchedule(const KernelPlan& plan) {
  const Body& body = std::get<LoopPlan>(plan.detail).body;
  SourceWriter unused;
  const CudaEmitter emitter(body, plan.args, &unused);
  CudaSchedule schedule;
  const int lanes = RowLanes(body, emitter);
  const int64_t vecs = (body.extents[1] + lanes - 1) / lanes;
  schedule.row_threads = LanesOnRows(body) ? 1 : static_cast<int>(std::bit_ceil<uint64_t>(std::clamp<int64_t>(vecs, 1, kWarp)));
  if (vecs > kWarp && !HeldRow(body, plan.args, emitter, kWarp, lanes).fits()) schedule.row_threads = schedule.threads;
  for (const Expr& expr : body.exprs) {
    if (expr.kind == Expr::Kind::kReduce && expr.axes == kRows) schedule.max_blocks = kColumnSumBlocks;
  }
  return schedule;
}

CudaSource GenerateCudaReduce(const KernelPlan& plan, const CudaSchedule& schedule) { return CudaReduce(plan, schedule).Generate(); }

}  // namespace athanor
