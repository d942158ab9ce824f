#include <algorithm>
#include <limits>

#include "jit/body_emitter.h"
#include "jit/codegen_cpp.h"
#include "jit/loop_space.h"
#include "jit/loop_writer.h"
#include "ops/error.h"

namespace athanor {
namespace {

constexpr int64_t kLongSum = 1024;  // more terms than this are added up in double

// Whatever fits no better skeleton. The dimensions that nothing reduces are flattened into points, which are the unit of work; at
// each point every reduction is a loop nest of its own. Lanes run along the dimension most loads are contiguous in: either one of
// the points' (then every lane is a point) or an axis of a reduction (then it is summed across the lanes).
class LoopNestGenerator {
 public:
  LoopNestGenerator(const KernelPlan& plan, const LoopSchedule& schedule, const CpuTarget& cpu)
      : plan_(plan),
        schedule_(schedule),
        body_(std::get<LoopPlan>(plan.detail).body),
        prelude_(cpu, LanesFor(body_, cpu)),
        emitter_(body_, plan.args, &prelude_, &out_),
        loops_(&emitter_, &prelude_, &out_, 1, false) {
    uint32_t reduced = 0;
    for (const Expr& expr : body_.exprs) reduced |= expr.kind == Expr::Kind::kReduce ? expr.axes : 0;
    lane_dim_ = LaneDim(reduced);
    for (int d = 0; d < body_.rank(); ++d) {
      if (!(reduced >> d & 1) && d != lane_dim_) points_.push_back(d);
    }
  }

  KernelSource Generate() {
    int64_t points = 1, inside = 1;
    for (int d = 0; d < body_.rank(); ++d) {
      if (d != lane_dim_) (IsPoint(d) ? points : inside) *= body_.extents[d];
    }
    const int64_t wanted = std::max<int64_t>(1, schedule_.task_elements / std::max<int64_t>(1, inside));
    int64_t per_task = wanted;
    if (lane_dim_ >= 0) {  // a task is part of the lanes' dimension at one point
      const int64_t extent = body_.extents[lane_dim_], lanes = prelude_.lanes();
      chunk_ = std::min((wanted + lanes - 1) / lanes * lanes, (extent + lanes - 1) / lanes * lanes);
      chunks_ = (extent + chunk_ - 1) / chunk_;
      points *= chunks_;
      per_task = std::max<int64_t>(1, wanted / chunk_);
    }
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
  bool IsPoint(int d) const { return std::find(points_.begin(), points_.end(), d) != points_.end(); }
  int LaneDim(uint32_t reduced) const;
  void Write(int64_t points, int64_t per_task);
  void WritePoint();
  void WriteStore(const Store& store);
  void Ensure(int expr);
  void WriteReduction(int id);
  void BindReduction(int id, const std::string& name, DType type, bool across, bool vector);
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
  std::vector<int> points_;         // dimensions
  int lane_dim_ = -1;               // a dimension nothing reduces, when every lane is a point
  int64_t chunk_ = 1, chunks_ = 1;  // of lane_dim_
  std::vector<char> bound_;
  int names_ = 0;
};

int LoopNestGenerator::LaneDim(uint32_t reduced) const {
  int best = -1;
  int64_t most_point = 0, most_axis = 0;
  for (int d = 0; d < body_.rank(); ++d) {
    if (body_.extents[d] < prelude_.lanes()) continue;
    const int64_t contiguous =
        std::count_if(body_.operands.begin(), body_.operands.end(), [&](const Operand& o) { return StrideAlong(o.map, d) == 1; });
    if (reduced >> d & 1) {
      most_axis = std::max(most_axis, contiguous);
    } else if (contiguous > most_point) {
      best = d, most_point = contiguous;
    }
  }
  return most_point > most_axis ? best : -1;
}

void LoopNestGenerator::Write(int64_t points, int64_t per_task) {
  out_.Open("extern \"C\" void loop_nest(char* const* args, long begin, long end, char*)");
  DeclareArgs(plan_.args, &out_);
  out_.Line("const long point_end = end * {0} < {1} ? end * {0} : {1};", per_task, points);
  out_.Open("for (long point = begin * {}; point < point_end; ++point)", per_task);
  emitter_.Push();
  prelude_.Use("digit");
  int64_t below = chunks_;
  for (auto d = points_.rbegin(); d != points_.rend(); ++d) {
    out_.Line("const long i{} = digit(point, {}, {});", *d, below, body_.extents[*d]);
    emitter_.SetIndex(*d, fmt::format("i{}", *d));
    below *= body_.extents[*d];
  }
  if (lane_dim_ < 0) {
    WritePoint();
  } else {
    const int64_t extent = body_.extents[lane_dim_];
    std::string from = "0", to = std::to_string(extent);
    if (chunks_ > 1) {
      out_.Line("const long from = point % {} * {}, to = from + {} < {} ? from + {} : {};", chunks_, chunk_, chunk_, extent,
                chunk_, extent);
      from = "from", to = "to";
    }
    loops_.VectorLoop(lane_dim_, from, to, prelude_.lanes(), [&](const std::string&) { WritePoint(); });
  }
  emitter_.Pop();
  out_.Close();
  out_.Close();
}

// Everything at one point, or at one vector of points.
void LoopNestGenerator::WritePoint() {
  bound_.assign(body_.exprs.size(), 0);
  uint32_t known = lane_dim_ < 0 ? 0 : 1u << lane_dim_;
  for (int d : points_) known |= 1u << d;
  const std::vector<uint32_t>& varies = emitter_.varies();
  std::vector<char> seen(body_.exprs.size(), 0);
  std::vector<int> work;
  for (const Store& store : body_.stores) work.push_back(store.expr);
  while (!work.empty()) {  // reductions of the point itself first: the stores share them
    const int e = work.back();
    work.pop_back();
    if (seen[e]) continue;
    seen[e] = 1;
    const Expr& expr = body_.exprs[e];
    if (expr.kind == Expr::Kind::kReduce && (varies[e] & ~known) == 0) Ensure(e);
    if (expr.kind != Expr::Kind::kApply) continue;
    for (int i = 0; i < Arity(expr.fn); ++i) work.push_back(expr.args[i]);
  }
  for (const Store& store : body_.stores) WriteStore(store);
}

void LoopNestGenerator::WriteStore(const Store& store) {
  const std::vector<char> bound = bound_;
  std::vector<int> dims;
  for (int d = 0; d < body_.rank(); ++d) {
    if (!IsPoint(d) && d != lane_dim_ && (StrideAlong(store.operand.map, d) != 0 || emitter_.varies()[store.expr] >> d & 1))
      dims.push_back(d);
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
    const int64_t contiguous =
        std::count_if(maps.begin(), maps.end(), [&](const Layout* map) { return StrideAlong(*map, d) == 1; });
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

std::string LoopNestGenerator::Start(Fn fn, DType dtype) const {
  return fn == Fn::kAdd ? Literal(0, dtype) : LowestLiteral(dtype);
}

void LoopNestGenerator::WriteReduction(int id) {
  const Expr& expr = body_.exprs[id];
  const bool lane_points = lane_dim_ >= 0 && (emitter_.varies()[id] >> lane_dim_ & 1);
  const int axis = lane_dim_ < 0 ? VectorAxis(id) : -1;
  const bool vector = lane_points || axis >= 0;
  int64_t terms = 1;
  for (int d = 0; d < body_.rank(); ++d) terms *= expr.axes >> d & 1 ? body_.extents[d] : 1;
  const bool in_double = expr.fn == Fn::kAdd && IsFloat(expr.dtype) && axis < 0 && (!vector || terms > kLongSum);
  const DType type = in_double ? DType::kF64 : expr.dtype;
  const std::string name = fmt::format("r{}_{}", id, names_++);
  if (vector) prelude_.Use("splat", type);
  out_.Line("{} {} = {};", vector ? VectorType(type) : ScalarType(type), name,
            fmt::format(fmt::runtime(vector ? "splat({})" : "{}"), Start(expr.fn, type)));
  const std::vector<char> bound = bound_;
  emitter_.Push();
  int loops = 0;
  for (int d = 0; d < body_.rank(); ++d) {
    if (!(expr.axes >> d & 1) || d == axis) continue;
    loops_.OpenLoop(d, "0", std::to_string(body_.extents[d]));
    ++loops;
  }
  auto accumulate = [&](const std::string& live) {
    std::string value = vector ? emitter_.Vector(expr.args[0]) : emitter_.Scalar(expr.args[0]);
    if (in_double && vector && ValueType(expr.dtype) != DType::kF64)
      value = fmt::format("__builtin_convertvector({}, vf64)", value);
    std::string next = Accumulate(expr.fn, type, name, value);
    if (!live.empty()) {
      prelude_.Use("select", type);
      prelude_.Use("iota", DType::kI32);
      next = fmt::format("select(iota_i32() < {}, {}, {})", live, next, name);
    }
    out_.Line("{} = {};", name, next);
  };
  if (axis < 0) {
    Ensure(expr.args[0]);
    accumulate("");
  } else {
    loops_.VectorLoop(axis, "0", std::to_string(body_.extents[axis]), prelude_.lanes(), accumulate);
  }
  for (int i = 0; i < loops; ++i) loops_.CloseLoop();
  emitter_.Pop();
  bound_ = bound;
  BindReduction(id, name, type, axis >= 0, lane_points);
}

void LoopNestGenerator::BindReduction(int id, const std::string& name, DType type, bool across, bool vector) {
  const Expr& expr = body_.exprs[id];
  std::string value = name;
  if (across) {
    const char* sum = expr.fn == Fn::kAdd ? "sum" : "max";
    prelude_.Use(sum, type);
    value = fmt::format("{}({})", sum, name);
  }
  const std::string result = name + "_all";
  if (vector) {
    out_.Line("const {} {} = {};", VectorType(expr.dtype), result,
              ValueType(type) == ValueType(expr.dtype)
                  ? value
                  : fmt::format("__builtin_convertvector({}, {})", value, VectorType(expr.dtype)));
  } else {
    out_.Line("const {0} {1} = ({0}){2};", ScalarType(expr.dtype), result, value);
  }
  emitter_.Bind(id, result, vector);
  bound_[id] = 1;
}

}  // namespace

KernelSource GenerateCppLoopNest(const KernelPlan& plan, const LoopSchedule& schedule, const CpuTarget& cpu) {
  return LoopNestGenerator(plan, schedule, cpu).Generate();
}

}  // namespace athanor
