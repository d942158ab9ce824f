#include <algorithm>
#include <limits>

#include "jit/body_emitter.h"
#include "jit/codegen_cpp.h"
#include "jit/loop_space.h"
#include "jit/loop_writer.h"
#include "ops/error.h"

namespace athanor {
namespace {

// Whatever fits no better skeleton. The dimensions that nothing reduces are flattened into points, which are the unit of work; at
// each point every reduction is a loop nest of its own, vectorised along the dimension most of its loads are contiguous in.
class LoopNestGenerator {
 public:
  LoopNestGenerator(const KernelPlan& plan, const LoopSchedule& schedule, const CpuTarget& cpu)
      : plan_(plan),
        schedule_(schedule),
        body_(std::get<LoopPlan>(plan.detail).body),
        prelude_(cpu.isa, LanesFor(body_, cpu)),
        emitter_(body_, plan.args, &prelude_, &out_),
        loops_(&emitter_, &prelude_, &out_, 1, false) {
    uint32_t reduced = 0;
    for (const Expr& expr : body_.exprs) reduced |= expr.kind == Expr::Kind::kReduce ? expr.axes : 0;
    for (int d = 0; d < body_.rank(); ++d) {
      if (!(reduced >> d & 1)) points_.push_back(d);
    }
  }

  KernelSource Generate() {
    int64_t points = 1, inside = 1;
    for (int d = 0; d < body_.rank(); ++d) {
      (std::find(points_.begin(), points_.end(), d) != points_.end() ? points : inside) *= body_.extents[d];
    }
    const int64_t per_task = std::max<int64_t>(1, schedule_.task_elements / std::max<int64_t>(1, inside));
    const int64_t tasks = (points + per_task - 1) / per_task;
    KernelSource source;
    if (tasks > 0) {
      Write(points, per_task);
      source.phases.push_back({"loop_nest", tasks});
    }
    source.text = SourceHeader(plan_, schedule_) + prelude_.Text() + "\n" + out_.text();
    return source;
  }

 private:
  void Write(int64_t points, int64_t per_task);
  void WriteStore(const Store& store);
  void Ensure(int expr);
  void WriteReduction(int id);
  int VectorAxis(int id) const;
  void CollectLoads(int expr, std::vector<const Layout*>* maps, bool* nested) const;
  std::string Accumulate(Fn fn, DType dtype, const std::string& sum, const std::string& value);
  std::string Start(Fn fn, DType dtype) const;

  const KernelPlan& plan_;
  const LoopSchedule& schedule_;
  const Body& body_;
  Prelude prelude_;
  SourceWriter out_;
  BodyEmitter emitter_;
  LoopWriter loops_;
  std::vector<int> points_;                                  // dimensions
  std::vector<char> bound_;
  int names_ = 0;
};

void LoopNestGenerator::Write(int64_t points, int64_t per_task) {
  out_.Open("extern \"C\" void loop_nest(char* const* args, long begin, long end, char*)");
  DeclareArgs(plan_.args, &out_);
  out_.Line("const long point_end = end * {0} < {1} ? end * {0} : {1};", per_task, points);
  out_.Open("for (long point = begin * {}; point < point_end; ++point)", per_task);
  emitter_.Push();
  prelude_.Use("digit");
  int64_t below = 1;
  for (auto d = points_.rbegin(); d != points_.rend(); ++d) {
    out_.Line("const long i{} = digit(point, {}, {});", *d, below, body_.extents[*d]);
    emitter_.SetIndex(*d, fmt::format("i{}", *d));
    below *= body_.extents[*d];
  }
  bound_.assign(body_.exprs.size(), 0);
  uint32_t known = 0;
  for (int d : points_) known |= 1u << d;
  const std::vector<uint32_t>& varies = emitter_.varies();
  for (const Store& store : body_.stores) {                  // reductions of the point itself first: the stores share them
    std::vector<int> work = {store.expr};
    std::vector<char> seen(body_.exprs.size(), 0);
    while (!work.empty()) {
      const int e = work.back();
      work.pop_back();
      if (seen[e]) continue;
      seen[e] = 1;
      const Expr& expr = body_.exprs[e];
      if (expr.kind == Expr::Kind::kReduce && (varies[e] & ~known) == 0) Ensure(e);
      if (expr.kind != Expr::Kind::kApply) continue;
      for (int i = 0; i < Arity(expr.fn); ++i) work.push_back(expr.args[i]);
    }
  }
  for (const Store& store : body_.stores) WriteStore(store);
  emitter_.Pop();
  out_.Close();
  out_.Close();
}

void LoopNestGenerator::WriteStore(const Store& store) {
  const std::vector<char> bound = bound_;
  std::vector<int> dims;
  for (int d = 0; d < body_.rank(); ++d) {
    const bool is_point = std::find(points_.begin(), points_.end(), d) != points_.end();
    if (!is_point && (StrideAlong(store.operand.map, d) != 0 || emitter_.varies()[store.expr] >> d & 1)) dims.push_back(d);
  }
  out_.OpenBlock();
  emitter_.Push();
  for (int d : dims) loops_.OpenLoop(d, "0", std::to_string(body_.extents[d]));
  Ensure(store.expr);
  emitter_.EmitStore(store);
  for (size_t i = 0; i < dims.size(); ++i) loops_.CloseLoop();
  emitter_.Pop();
  out_.Close();
  bound_ = bound;
}

// Computes the reductions that `expr` needs at the indices known here.
void LoopNestGenerator::Ensure(int id) {
  const Expr& expr = body_.exprs[id];
  if (bound_[id]) return;
  if (expr.kind == Expr::Kind::kApply) {
    for (int i = 0; i < Arity(expr.fn); ++i) Ensure(expr.args[i]);
  } else if (expr.kind == Expr::Kind::kLoad && body_.operands[expr.operand].row >= 0) {
    Ensure(body_.operands[expr.operand].row);
  } else if (expr.kind == Expr::Kind::kReduce) {
    WriteReduction(id);
  }
}

void LoopNestGenerator::CollectLoads(int id, std::vector<const Layout*>* maps, bool* nested) const {
  const Expr& expr = body_.exprs[id];
  *nested |= expr.kind == Expr::Kind::kReduce;
  if (expr.kind == Expr::Kind::kLoad) {
    maps->push_back(&body_.operands[expr.operand].map);
    if (body_.operands[expr.operand].row >= 0) CollectLoads(body_.operands[expr.operand].row, maps, nested);
  }
  if (expr.kind != Expr::Kind::kApply) return;
  for (int i = 0; i < Arity(expr.fn); ++i) CollectLoads(expr.args[i], maps, nested);
}

// The axis whose lanes are added up in one vector; -1 when that does not pay.
int LoopNestGenerator::VectorAxis(int id) const {
  std::vector<const Layout*> maps;
  bool nested = false;
  CollectLoads(body_.exprs[id].args[0], &maps, &nested);
  int best = -1;
  int64_t most = 0;
  for (int d = 0; d < body_.rank() && !nested; ++d) {
    if (!(body_.exprs[id].axes >> d & 1) || body_.extents[d] < prelude_.lanes()) continue;
    const int64_t contiguous = std::count_if(maps.begin(), maps.end(), [&](const Layout* map) { return StrideAlong(*map, d) == 1; });
    if (contiguous > most) best = d, most = contiguous;
  }
  return best;
}

std::string LoopNestGenerator::Accumulate(Fn fn, DType dtype, const std::string& sum, const std::string& value) {
  if (fn == Fn::kAdd) return fmt::format("{} + {}", sum, value);
  ATHANOR_CHECK(fn == Fn::kMax);
  prelude_.Use("arith", dtype);
  return fmt::format("vmax({}, {})", sum, value);
}

std::string LoopNestGenerator::Start(Fn fn, DType dtype) const { return fn == Fn::kAdd ? Literal(0, dtype) : LowestLiteral(dtype); }

void LoopNestGenerator::WriteReduction(int id) {
  const Expr& expr = body_.exprs[id];
  const int axis = VectorAxis(id);
  // Scalar sums of floats are taken in double, whose rounding does not grow with the count.
  const DType type = axis < 0 && expr.fn == Fn::kAdd && IsFloat(expr.dtype) ? DType::kF64 : expr.dtype;
  const std::string name = fmt::format("r{}_{}", id, names_++);
  if (axis >= 0) prelude_.Use("splat", type);
  out_.Line("{} {} = {};", axis >= 0 ? VectorType(type) : ScalarType(type), name,
            axis >= 0 ? fmt::format("splat({})", Start(expr.fn, type)) : Start(expr.fn, type));
  const std::vector<char> bound = bound_;
  emitter_.Push();
  int loops = 0;
  for (int d = 0; d < body_.rank(); ++d) {
    if (!(expr.axes >> d & 1) || d == axis) continue;
    loops_.OpenLoop(d, "0", std::to_string(body_.extents[d]));
    ++loops;
  }
  if (axis < 0) {
    Ensure(expr.args[0]);
    out_.Line("{} = {};", name, Accumulate(expr.fn, type, name, emitter_.Scalar(expr.args[0])));
  } else {
    loops_.VectorLoop(axis, "0", std::to_string(body_.extents[axis]), prelude_.lanes(), [&](const std::string& live) {
      std::string next = Accumulate(expr.fn, type, name, emitter_.Vector(expr.args[0]));
      if (!live.empty()) {
        prelude_.Use("select", type);
        prelude_.Use("iota", DType::kI32);
        next = fmt::format("select(iota_i32() < {}, {}, {})", live, next, name);
      }
      out_.Line("{} = {};", name, next);
    });
  }
  for (int i = 0; i < loops; ++i) loops_.CloseLoop();
  emitter_.Pop();
  bound_ = bound;
  std::string value = name;
  if (axis >= 0) {
    const char* across = expr.fn == Fn::kAdd ? "sum" : "max";
    prelude_.Use(across, type);
    value = fmt::format("{}({})", across, name);
  }
  const std::string result = name + "_all";
  out_.Line("const {0} {1} = ({0}){2};", ScalarType(expr.dtype), result, value);
  emitter_.Bind(id, result, false);
  bound_[id] = 1;
}

}  // namespace

KernelSource GenerateCppLoopNest(const KernelPlan& plan, const LoopSchedule& schedule, const CpuTarget& cpu) {
  return LoopNestGenerator(plan, schedule, cpu).Generate();
}

}  // namespace athanor
