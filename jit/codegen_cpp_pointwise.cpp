#include <algorithm>
#include <numeric>
#include <set>

#include "jit/body_emitter.h"
#include "jit/codegen_cpp.h"
#include "jit/loop_space.h"
#include "jit/loop_writer.h"
#include "ops/error.h"

namespace athanor {
namespace {

struct Space {
  Body body;                     // dimensions in loop order; the last one is the vector dimension
  int tile_dim = -1;             // the last but one when some loads are contiguous along it instead
  std::vector<int> tiled_loads;  // these loads, which are transposed in registers
};

bool Transposable(const Body& body, const Expr& expr, const std::vector<KernelArg>& args, int lanes, const CpuTarget& cpu) {
  if (expr.kind != Expr::Kind::kLoad) return false;
  const Operand& operand = body.operands[expr.operand];
  return operand.row < 0 && operand.pieces.empty() && expr.dtype == args[operand.arg].dtype && (expr.dtype == DType::kF32 || expr.dtype == DType::kF64) &&
         SizeOf(expr.dtype) * lanes == cpu.vector_bytes();
}

void FindTiles(Space* space, const std::vector<KernelArg>& args, int lanes, const CpuTarget& cpu) {
  Body& body = space->body;
  const int last = body.rank() - 1;
  if (HasPartialRange(body) || body.extents[last] < lanes) return;
  for (int d = 0; d < last; ++d) {
    if (body.extents[d] < lanes) continue;
    std::vector<int> loads;
    for (size_t e = 0; e < body.exprs.size(); ++e) {
      if (!Transposable(body, body.exprs[e], args, lanes, cpu)) continue;
      const Layout& map = body.operands[body.exprs[e].operand].map;
      const auto across = StrideAlong(map, last);
      if (StrideAlong(map, d) == 1 && across && *across != 0 && *across != 1) loads.push_back(static_cast<int>(e));
    }
    if (loads.size() <= space->tiled_loads.size()) continue;
    space->tile_dim = d;
    space->tiled_loads = loads;
  }
  if (space->tile_dim < 0) return;
  std::vector<int> order(body.rank());
  std::iota(order.begin(), order.end(), 0);
  order.erase(order.begin() + space->tile_dim);
  order.insert(order.end() - 1, space->tile_dim);
  body = PermuteDims(body, order);
  space->tile_dim = last - 1;
}

Space MakeSpace(const LoopPlan& plan, const std::vector<KernelArg>& args, const CpuTarget& cpu) {
  Space space;
  space.body = LoopOrder(plan.body);
  FindTiles(&space, args, LanesFor(space.body, cpu), cpu);
  return space;
}

class PointwiseGenerator {
 public:
  PointwiseGenerator(const KernelPlan& plan, const LoopSchedule& schedule, const CpuTarget& cpu)
      : plan_(plan),
        loop_(std::get<LoopPlan>(plan.detail)),
        schedule_(schedule),
        space_(MakeSpace(loop_, plan.args, cpu)),
        body_(space_.body),
        lanes_(LanesFor(body_, cpu)),
        prelude_(cpu, lanes_),
        emitter_(body_, plan.args, &prelude_, &out_),
        loops_(&emitter_, &prelude_, &out_, schedule.unroll, schedule.streaming) {}

  KernelSource Generate() {
    KernelSource source;
    const int64_t tasks = loop_.instance_elements.empty() ? WriteGrid() : WriteInstances();
    source.text = SourceHeader(plan_, schedule_) + prelude_.Text() + "\n" + out_.text();
    if (tasks > 0) source.phases.push_back({"pointwise", tasks});
    return source;
  }

 private:
  void OpenFunction() { out_.Open("extern \"C\" void pointwise(char* const* args, long begin, long end, char*)"); }
  void CloseFunction() {
    loops_.Fence();
    out_.Close();
  }
  void HoistAll() { loops_.HoistStores(); }
  int64_t WriteGrid();
  int64_t WriteInstances();
  void WriteNest(int dim);
  void WriteTiles(const std::string& from, const std::string& to);
  void WriteTile(const std::string& row);

  const KernelPlan& plan_;
  const LoopPlan& loop_;
  const LoopSchedule& schedule_;
  const Space space_;
  const Body& body_;
  const int lanes_;
  Prelude prelude_;
  SourceWriter out_;
  BodyEmitter emitter_;
  LoopWriter loops_;
  std::string from_, to_;  // of the outermost dimension of the nest when tasks cut it
};

// Outer dimensions are flattened into rows, the inner ones are loops. A task is some rows, or a part of the outermost loop of
// one.
int64_t PointwiseGenerator::WriteGrid() {
  const int last = body_.rank() - 1;
  int nest = space_.tile_dim >= 0 ? space_.tile_dim : last;  // the outermost loop written as such
  int64_t inside = Product(Shape(body_.extents.begin() + nest, body_.extents.end()));
  while (nest > 0 && inside * body_.extents[nest - 1] <= schedule_.task_elements / 4) inside *= body_.extents[--nest];
  const int64_t rows = Product(Shape(body_.extents.begin(), body_.extents.begin() + nest));
  if (rows * inside == 0) return 0;
  const int64_t step = std::max<int64_t>(1, inside / body_.extents[nest]);
  const bool cut = inside >= 2 * schedule_.task_elements;
  int64_t chunk = body_.extents[nest], rows_per_task = std::max<int64_t>(1, schedule_.task_elements / inside);
  if (cut) {
    chunk = std::max<int64_t>(1, schedule_.task_elements / step);
    if (nest >= (space_.tile_dim >= 0 ? space_.tile_dim : last)) chunk = (chunk + lanes_ - 1) / lanes_ * lanes_;
  }
  const int64_t chunks = (body_.extents[nest] + chunk - 1) / chunk;
  OpenFunction();
  DeclareArgs(plan_.args, &out_);
  emitter_.Push();
  HoistAll();
  out_.Open("for (long task = begin; task < end; ++task)");
  emitter_.Push();
  if (cut) {
    out_.Line("const long from = task % {} * {}, to = from + {} < {} ? from + {} : {};", chunks, chunk, chunk,
              body_.extents[nest], chunk, body_.extents[nest]);
    from_ = "from", to_ = "to";
    if (nest > 0) out_.Line("const long row = task / {};", chunks);
  } else {
    from_ = "0", to_ = std::to_string(body_.extents[nest]);
    if (rows_per_task > 1) {
      out_.Line("const long row_end = (task + 1) * {0} < {1} ? (task + 1) * {0} : {1};", rows_per_task, rows);
      out_.Open("for (long row = task * {}; row < row_end; ++row)", rows_per_task);
    } else if (nest > 0) {
      out_.Line("const long row = task;");
    }
  }
  if (nest > 0) loops_.SplitIndex("row", nest);
  HoistAll();
  WriteNest(nest);
  if (!cut && rows_per_task > 1) out_.Close();
  emitter_.Pop();
  out_.Close();
  emitter_.Pop();
  CloseFunction();
  return cut ? rows * chunks : (rows + rows_per_task - 1) / rows_per_task;
}

void PointwiseGenerator::WriteNest(int dim) {
  const std::string from = std::exchange(from_, "0"),
                    to = std::exchange(to_, std::to_string(body_.extents[std::min(dim + 1, body_.rank() - 1)]));
  if (dim == space_.tile_dim) return WriteTiles(from, to);
  if (dim == body_.rank() - 1) return loops_.VectorLoop(dim, from, to);
  loops_.OpenLoop(dim, from, to);
  HoistAll();
  WriteNest(dim + 1);
  loops_.CloseLoop();
}

// Square tiles of lanes x lanes: vectors are loaded along the tile dimension, transposed, and stored along the last dimension.
void PointwiseGenerator::WriteTiles(const std::string& from, const std::string& to) {
  const int last = body_.rank() - 1;
  const std::string row = fmt::format("i{}", space_.tile_dim);
  out_.Line("long {} = {};", row, from);
  out_.Open("for (; {0} + {1} <= {2}; {0} += {1})", row, lanes_, to);
  WriteTile(row);
  if (const int64_t rest = body_.extents[last] % lanes_; rest != 0) {
    emitter_.Push();
    out_.Open("for (long t = {0}; t < {0} + {1}; ++t)", row, lanes_);
    emitter_.SetIndex(space_.tile_dim, "t");
    loops_.VectorLoop(last, std::to_string(body_.extents[last] - rest), std::to_string(body_.extents[last]));
    out_.Close();
    emitter_.Pop();
  }
  out_.Close();
  if (body_.extents[space_.tile_dim] % lanes_ == 0) return;
  emitter_.Push();
  out_.Open("for (; {0} < {1}; ++{0})", row, to);
  emitter_.SetIndex(space_.tile_dim, row);
  loops_.VectorLoop(last, "0", std::to_string(body_.extents[last]));
  out_.Close();
  emitter_.Pop();
}

void PointwiseGenerator::WriteTile(const std::string& row) {
  const int last = body_.rank() - 1;
  const std::string column = fmt::format("i{}", last);
  out_.Open("for (long {0} = 0; {0} + {1} <= {2}; {0} += {1})", column, lanes_, body_.extents[last]);
  for (int load : space_.tiled_loads) {
    const DType dtype = body_.exprs[load].dtype;
    prelude_.Use("transpose", dtype);
    out_.Line("{} t{}[{}];", VectorType(dtype), load, lanes_);
    emitter_.Push();
    emitter_.SetIndex(last, fmt::format("({} + k)", column));
    emitter_.SetVector(space_.tile_dim, row, lanes_);
    out_.Unroll();
    out_.Open("for (int k = 0; k < {}; ++k)", lanes_);
    out_.Line("t{}[k] = {};", load, emitter_.Get(load).text);
    out_.Close();
    emitter_.Pop();
    out_.Line("transpose(t{});", load);
  }
  out_.Unroll();
  out_.Open("for (int k = 0; k < {}; ++k)", lanes_);
  emitter_.Push();
  emitter_.SetIndex(space_.tile_dim, fmt::format("({} + k)", row));
  emitter_.SetVector(last, column, lanes_);
  for (int load : space_.tiled_loads) emitter_.Bind(load, fmt::format("t{}[k]", load), true);
  emitter_.EmitStores(schedule_.streaming);
  emitter_.Pop();
  out_.Close();
  out_.Close();
}

// One flat range of elements an instance; the table says at which task each instance begins.
int64_t PointwiseGenerator::WriteInstances() {
  const size_t instances = loop_.instance_elements.size();
  const int64_t own = static_cast<int64_t>(plan_.args.size() / instances);
  const int64_t chunk = std::max<int64_t>(lanes_, schedule_.task_elements / lanes_ * lanes_);
  std::string elements, first = "0";
  int64_t tasks = 0;
  for (int64_t extent : loop_.instance_elements) {
    tasks += (extent + chunk - 1) / chunk;
    elements += fmt::format("{}{}", elements.empty() ? "" : ", ", extent);
    first += fmt::format(", {}", tasks);
  }
  if (tasks == 0) return 0;
  std::set<int> shared;
  for (const Operand& operand : body_.operands) {
    if (StrideAlong(operand.map, 0) == 0) shared.insert(operand.arg);
  }
  out_.Line("static const long elements[] = {{{}}};", elements);
  out_.Line("static const long first_task[] = {{{}}};", first);
  OpenFunction();
  out_.Line("long instance = 0;");
  out_.Open("for (long task = begin; task < end; ++task)");
  out_.Line("while (task >= first_task[instance + 1]) ++instance;");
  out_.Line("char* const* const own = args + instance * {};", own);
  for (int64_t i = 0; i < own; ++i) {
    const std::string type = fmt::format("{}{}*", plan_.args[i].written ? "" : "const ", MemoryType(plan_.args[i].dtype));
    out_.Line("{0} const a{1} = ({0}){2}[{1}];", type, i, shared.contains(static_cast<int>(i)) ? "args" : "own");
  }
  out_.Line("const long from = (task - first_task[instance]) * {};", chunk);
  out_.Line("const long to = from + {0} < elements[instance] ? from + {0} : elements[instance];", chunk);
  emitter_.Push();
  HoistAll();
  loops_.VectorLoop(0, "from", "to");
  emitter_.Pop();
  out_.Close();
  CloseFunction();
  return tasks;
}

}  // namespace

bool PointwiseTransposes(const LoopPlan& plan, const std::vector<KernelArg>& args, const CpuTarget& cpu) {
  return MakeSpace(plan, args, cpu).tile_dim >= 0;
}

KernelSource GenerateCppPointwise(const KernelPlan& plan, const LoopSchedule& schedule, const CpuTarget& cpu) {
  return PointwiseGenerator(plan, schedule, cpu).Generate();
}

}  // namespace athanor
