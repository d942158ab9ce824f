#include <algorithm>
#include <bit>
#include <map>

#include "jit/codegen_cuda.h"
#include "jit/cuda_emitter.h"
#include "jit/cuda_team.h"
#include "jit/loop_space.h"
#include "jit/prelude.h"
#include "ops/error.h"

namespace athanor {
namespace {

constexpr int64_t kLongSum = 1024;                           // more terms than this a thread are added up in double
constexpr int64_t kFewPoints = 4096;                         // too few threads to hide what memory takes, with one a point

// The dimensions that nothing reduces, and the others: each with the one that most loads are contiguous along last.
struct Dimensions {
  explicit Dimensions(const Body& body) {
    uint32_t axes = 0;
    for (const Expr& expr : body.exprs) axes |= expr.kind == Expr::Kind::kReduce ? expr.axes : 0;
    for (int d = 0; d < body.rank(); ++d) (axes >> d & 1 ? reduced : points).push_back(d);
    auto contiguous = [&](int d) {
      return std::count_if(body.operands.begin(), body.operands.end(), [&](const Operand& o) { return StrideAlong(o.map, d) == 1; });
    };
    auto less = [&](int a, int b) { return contiguous(a) < contiguous(b); };
    std::stable_sort(points.begin(), points.end(), less);
    std::stable_sort(reduced.begin(), reduced.end(), less);
    across_points = !points.empty() && (reduced.empty() || less(reduced.back(), points.back()));
  }
  std::vector<int> points, reduced;
  bool across_points = false;                                // neighbouring threads should take neighbouring points
};

int64_t Elements(const Body& body, const std::vector<int>& dims) {
  int64_t elements = 1;
  for (int d : dims) elements *= body.extents[d];
  return elements;
}

// Whatever fits no better skeleton. A team of threads takes one point after another and shares the terms of each reduction, then the
// elements of each store; reductions inside of a reduction are each thread's own.
class CudaLoopNest {
 public:
  CudaLoopNest(const KernelPlan& plan, const CudaSchedule& schedule)
      : plan_(plan),
        schedule_(schedule),
        body_(std::get<LoopPlan>(plan.detail).body),
        dims_(body_),
        emitter_(body_, plan.args, &out_),
        team_(schedule.threads, schedule.row_threads, &emitter_, &out_) {}

  CudaSource Generate() {
    CudaSource source;
    const int64_t points = Elements(body_, dims_.points);
    const int64_t blocks = std::min((points + team_.in_block() - 1) / team_.in_block(), schedule_.max_blocks);
    if (blocks > 0) {
      Write(points, blocks);
      source.launches.push_back({"loop_nest", blocks, schedule_.threads});
    }
    source.text = CudaText(plan_, schedule_, plan_.args.size(), CudaHelpers(emitter_.helpers()), out_.text());
    return source;
  }

 private:
  void Write(int64_t points, int64_t blocks);
  std::vector<int> PointReductions() const;
  void Split(const std::string& flat, const std::vector<int>& dims);
  int OpenLoops(const std::vector<int>& dims, bool shared);
  void Ensure(int expr);
  void WriteReduction(int id, bool shared);
  void WriteStores(const std::vector<int>& dims, const std::vector<const Store*>& stores);
  void WriteStore(const Store& store);

  const KernelPlan& plan_;
  const CudaSchedule& schedule_;
  const Body& body_;
  const Dimensions dims_;
  SourceWriter out_;
  CudaEmitter emitter_;
  const CudaTeam team_;
  int names_ = 0;
};

void CudaLoopNest::Write(int64_t points, int64_t blocks) {
  const std::vector<int> reductions = PointReductions();
  out_.Open("extern \"C\" __global__ void __launch_bounds__({}) loop_nest(const __grid_constant__ Arguments arguments)", schedule_.threads);
  DeclareCudaArgs(plan_.args, &out_);
  team_.Declare(!reductions.empty());
  emitter_.Push();
  out_.Open("for ({} point = {}; point < {}; point += {})", emitter_.index_type(), team_.Number(), points, blocks * team_.in_block());
  Split("point", dims_.points);
  for (int e : reductions) WriteReduction(e, true);
  std::map<std::vector<int>, std::vector<const Store*>> groups;  // by the dimensions that a point's elements lie along
  for (const Store& store : body_.stores) {
    std::vector<int> dims;
    for (int d : dims_.reduced) {
      if (StrideAlong(store.operand.map, d) != 0 || emitter_.varies()[store.expr] >> d & 1) dims.push_back(d);
    }
    groups[dims].push_back(&store);
  }
  for (const auto& [dims, stores] : groups) WriteStores(dims, stores);
  out_.Close();
  emitter_.Pop();
  out_.Close();
}

// Those that the stores need and that have one value a point, in an order in which each finds what it needs.
std::vector<int> CudaLoopNest::PointReductions() const {
  uint32_t along = 0;
  for (int d : dims_.reduced) along |= 1u << d;
  std::vector<char> needed(body_.exprs.size(), 0);
  for (const Store& store : body_.stores) needed[store.expr] = 1;
  std::vector<int> reductions;
  for (int e = static_cast<int>(body_.exprs.size()) - 1; e >= 0; --e) {
    const Expr& expr = body_.exprs[e];
    if (!needed[e]) continue;
    if (expr.kind == Expr::Kind::kReduce) needed[expr.args[0]] = 1;
    if (expr.kind == Expr::Kind::kReduce && (emitter_.varies()[e] & along) == 0) reductions.push_back(e);
    if (expr.kind == Expr::Kind::kLoad && body_.operands[expr.operand].row >= 0) needed[body_.operands[expr.operand].row] = 1;
    for (int i = 0; expr.kind == Expr::Kind::kApply && i < Arity(expr.fn); ++i) needed[expr.args[i]] = 1;
  }
  std::reverse(reductions.begin(), reductions.end());
  return reductions;
}

// Indices of `dims` from their flat index, the last one fastest.
void CudaLoopNest::Split(const std::string& flat, const std::vector<int>& dims) {
  int64_t below = 1;
  for (auto d = dims.rbegin(); d != dims.rend(); ++d) {
    std::string text = flat;
    if (below != 1) text += fmt::format(" / {}", below);
    if (d + 1 != dims.rend()) text += fmt::format(" % {}", body_.extents[*d]);
    out_.Line("const {} i{} = {};", emitter_.index_type(), *d, text);
    emitter_.SetIndex(*d, fmt::format("i{}", *d));
    below *= body_.extents[*d];
  }
}

// Over all indices of `dims`, or over those of this thread when the team shares them. Returns how many loops there are to close.
int CudaLoopNest::OpenLoops(const std::vector<int>& dims, bool shared) {
  if (shared && team_.size() > 1) {
    out_.Open("for ({} q = t; q < {}; q += {})", emitter_.index_type(), Elements(body_, dims), team_.size());
    Split("q", dims);
    return 1;
  }
  for (int d : dims) {
    out_.Open("for ({0} i{1} = 0; i{1} < {2}; ++i{1})", emitter_.index_type(), d, body_.extents[d]);
    emitter_.SetIndex(d, fmt::format("i{}", d));
  }
  return static_cast<int>(dims.size());
}

// Computes the reductions that an expression needs at the indices known here.
void CudaLoopNest::Ensure(int id) {
  std::vector<char> needed(body_.exprs.size(), 0);
  std::vector<int> reductions;
  needed[id] = 1;
  for (int e = id; e >= 0; --e) {
    const Expr& expr = body_.exprs[e];
    if (!needed[e] || emitter_.IsBound(e)) continue;
    if (expr.kind == Expr::Kind::kReduce) reductions.push_back(e);
    if (expr.kind == Expr::Kind::kLoad && body_.operands[expr.operand].row >= 0) needed[body_.operands[expr.operand].row] = 1;
    for (int i = 0; expr.kind == Expr::Kind::kApply && i < Arity(expr.fn); ++i) needed[expr.args[i]] = 1;
  }
  for (int e : reductions) WriteReduction(e, false);
}

void CudaLoopNest::WriteReduction(int id, bool shared) {
  const Expr& expr = body_.exprs[id];
  std::vector<int> axes;
  for (int d : dims_.reduced) {
    if (expr.axes >> d & 1) axes.push_back(d);
  }
  const int64_t terms = Elements(body_, axes), own = shared ? terms / team_.size() : terms;
  const bool in_double = expr.fn == Fn::kAdd && IsFloat(expr.dtype) && own > kLongSum;
  const CudaTeam::Partial sum = {fmt::format("r{}_{}", id, names_++), expr.fn, in_double ? DType::kF64 : expr.dtype};
  out_.Line("{} {} = {};", ScalarType(sum.dtype), sum.name, team_.Start(sum));
  if (terms > 0) {
    emitter_.Push();
    const int loops = OpenLoops(axes, shared);
    Ensure(expr.args[0]);
    const std::string value = emitter_.Get(expr.args[0]);
    out_.Line("{} = {};", sum.name, team_.Combine(sum, sum.name, value));
    for (int i = 0; i < loops; ++i) out_.Close();
    emitter_.Pop();
  }
  if (shared) team_.Reduce(std::span(&sum, 1), true);
  emitter_.Bind(id, in_double && ValueType(expr.dtype) != DType::kF64 ? fmt::format("({}){}", ScalarType(expr.dtype), sum.name) : sum.name);
}

void CudaLoopNest::WriteStores(const std::vector<int>& dims, const std::vector<const Store*>& stores) {
  if (Elements(body_, dims) == 0) return;
  const bool one_thread = dims.empty() && team_.size() > 1;
  if (one_thread) out_.Open("if (t == 0)");
  emitter_.Push();
  const int loops = dims.empty() ? 0 : OpenLoops(dims, true);
  for (const Store* store : stores) WriteStore(*store);
  for (int i = 0; i < loops; ++i) out_.Close();
  emitter_.Pop();
  if (one_thread) out_.Close();
}

// Nothing of a part of the last dimension may be computed outside of it.
void CudaLoopNest::WriteStore(const Store& store) {
  const int last = body_.rank() - 1;
  const bool partial = store.end >= 0 && (store.begin != 0 || store.end != body_.extents[last]);
  if (partial) {
    out_.Open("if (i{0} >= {1} && i{0} < {2})", last, store.begin, store.end);
    emitter_.Push();
  }
  Ensure(store.expr);
  emitter_.EmitStore(store);
  if (partial) {
    emitter_.Pop();
    out_.Close();
  }
}

}  // namespace

CudaSchedule DefaultCudaLoopNestSchedule(const KernelPlan& plan) {
  const Body& body = std::get<LoopPlan>(plan.detail).body;
  const Dimensions dims(body);
  CudaSchedule schedule;
  const int64_t points = Elements(body, dims.points), terms = std::max<int64_t>(1, Elements(body, dims.reduced));
  const bool enough = points >= kFewPoints || terms <= kLongSum;
  if (dims.across_points && enough) {
    schedule.row_threads = 1;
  } else if (terms > kLongSum) {
    schedule.row_threads = schedule.threads;
  } else {
    schedule.row_threads = static_cast<int>(std::bit_ceil<uint64_t>(std::min<int64_t>(terms, CudaTeam::kWarp)));
  }
  return schedule;
}

CudaSource GenerateCudaLoopNest(const KernelPlan& plan, const CudaSchedule& schedule) { return CudaLoopNest(plan, schedule).Generate(); }

}  // namespace athanor
