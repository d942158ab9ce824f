#include <algorithm>
#include <map>
#include <set>

#include "jit/codegen_cuda.h"
#include "jit/cuda_emitter.h"
#include "jit/cuda_point.h"
#include "jit/loop_space.h"
#include "jit/prelude.h"
#include "ops/error.h"

namespace athanor {
namespace {

// A thread computes one Vec at a time of the innermost dimension; neighbouring threads neighbouring ones.
class CudaPointwise {
 public:
  CudaPointwise(const KernelPlan& plan, const CudaSchedule& schedule)
      : plan_(plan),
        loop_(std::get<LoopPlan>(plan.detail)),
        schedule_(schedule),
        body_(LoopOrder(loop_.body)),
        last_(body_.rank() - 1),
        emitter_(body_, plan.args, &out_),
        lanes_(emitter_.LanesAlong(last_)) {
    // Rows are cut into whole Vecs; only a single row may have a rest.
    while (body_.rank() > 1 && body_.extents[last_] % lanes_ != 0) lanes_ /= 2;
    if (HasPartialRange(body_)) {
      for (const Store& store : body_.stores) {
        while (store.end >= 0 && (store.begin % lanes_ != 0 || store.end % lanes_ != 0)) lanes_ /= 2;
      }
    }
  }

  CudaSource Generate() {
    CudaSource source;
    const int64_t blocks = loop_.instance_elements.empty() ? WriteGrid() : WriteInstances();
    source.text = CudaText(plan_, schedule_, plan_.args.size(), CudaHelpers(emitter_.helpers()), out_.text());
    if (blocks > 0) source.launches.push_back({"pointwise", blocks, schedule_.threads});
    return source;
  }

 private:
  void OpenKernel() {
    out_.Open("extern \"C\" __global__ void __launch_bounds__({}) pointwise(const __grid_constant__ Arguments arguments)", schedule_.threads);
  }
  std::vector<int> Roots() const {
    std::vector<int> roots;
    for (const Store& store : body_.stores) {
      if (!IsPartial(store)) roots.push_back(store.expr);
    }
    return roots;
  }
  bool IsPartial(const Store& store) const { return store.end >= 0 && (store.begin != 0 || store.end != body_.extents[last_]); }
  int64_t WriteGrid();
  int64_t WriteInstances();
  void SplitUnit();
  void WritePoints(const std::string& index, int lanes);

  const KernelPlan& plan_;
  const LoopPlan& loop_;
  const CudaSchedule& schedule_;
  const Body body_;
  const int last_;
  SourceWriter out_;
  CudaEmitter emitter_;
  int lanes_;
};

// Stores of the same part of the last dimension together: nothing of theirs may be computed outside it.
void CudaPointwise::WritePoints(const std::string& index, int lanes) {
  std::map<std::pair<int64_t, int64_t>, std::vector<const Store*>> ranges;
  for (const Store& store : body_.stores) {
    ranges[IsPartial(store) ? std::pair(store.begin, store.end) : std::pair(int64_t{0}, body_.extents[last_])].push_back(&store);
  }
  for (const auto& [range, stores] : ranges) {
    const bool partial = IsPartial(*stores[0]);
    if (partial) out_.Open("if ({0} >= {1} && {0} < {2})", index, range.first, range.second);
    CudaPoint point;
    point.dim = last_, point.lanes = lanes, point.index = index, point.stores = stores;
    WriteCudaPoint(point, body_, plan_.args, &emitter_, &out_);
    if (partial) out_.Close();
  }
}

// The indices of the first point of a unit, which is one Vec.
void CudaPointwise::SplitUnit() {
  int64_t below = 1;
  for (int d = last_; d >= 0; --d) {
    const int64_t extent = d == last_ ? body_.extents[d] / lanes_ : body_.extents[d];
    if (body_.extents[d] == 1) {
      emitter_.SetIndex(d, "0");
      continue;
    }
    std::string text = "unit";
    if (below != 1) text += fmt::format(" / {}", below);
    if (Product(Shape(body_.extents.begin(), body_.extents.begin() + d)) != 1) text += fmt::format(" % {}", extent);
    if (d == last_ && lanes_ != 1) text += fmt::format(" * {}", lanes_);
    out_.Line("const {} i{} = {};", emitter_.index_type(), d, text);
    emitter_.SetIndex(d, fmt::format("i{}", d));
    below *= extent;
  }
}

int64_t CudaPointwise::WriteGrid() {
  const int64_t points = Product(body_.extents), units = points / lanes_, rest = points % lanes_;
  if (points == 0) return 0;
  const int64_t blocks = std::clamp<int64_t>((units + schedule_.threads - 1) / schedule_.threads, 1, schedule_.max_blocks);
  OpenKernel();
  DeclareCudaArgs(plan_.args, &out_);
  emitter_.Push();
  emitter_.Hoist(Roots());
  out_.Line("const {} thread = blockIdx.x * {} + threadIdx.x;", emitter_.index_type(), schedule_.threads);
  if (units > 0) {
    out_.Open("for ({} unit = thread; unit < {}; unit += {})", emitter_.index_type(), units, blocks * schedule_.threads);
    emitter_.Push();
    SplitUnit();
    const std::string index = body_.extents[last_] == 1 ? "0" : fmt::format("i{}", last_);
    WritePoints(index, lanes_);
    emitter_.Pop();
    out_.Close();
  }
  if (rest > 0) {
    ATHANOR_CHECK(last_ == 0);
    out_.Open("if (thread < {})", rest);
    out_.Line("const {} i0 = {} + thread;", emitter_.index_type(), points - rest);
    WritePoints("i0", 1);
    out_.Close();
  }
  emitter_.Pop();
  out_.Close();
  return blocks;
}

// A block computes a part of one instance; the table says at which block each instance begins.
int64_t CudaPointwise::WriteInstances() {
  const size_t instances = loop_.instance_elements.size();
  const int64_t own = static_cast<int64_t>(plan_.args.size() / instances);
  const int64_t part = int64_t{4} * lanes_ * schedule_.threads;
  std::string elements, first = "0";
  int64_t blocks = 0;
  for (int64_t extent : loop_.instance_elements) {
    blocks += (extent + part - 1) / part;
    elements += fmt::format("{}{}", elements.empty() ? "" : ", ", extent);
    first += fmt::format(", {}", blocks);
  }
  if (blocks == 0) return 0;
  std::set<int> shared;
  for (const Operand& operand : body_.operands) {
    if (StrideAlong(operand.map, 0) == 0) shared.insert(operand.arg);
  }
  out_.Line("__constant__ const long elements[] = {{{}}};", elements);
  out_.Line("__constant__ const int first_block[] = {{{}}};", first);
  out_.Blank();
  OpenKernel();
  out_.Line("const int block = blockIdx.x;");
  out_.Line("int instance = 0;");
  out_.Open("for (int end = {}; end - instance > 1;)", instances);
  out_.Line("const int middle = (instance + end) / 2;");
  out_.Line("(first_block[middle] <= block ? instance : end) = middle;");
  out_.Close();
  for (int64_t i = 0; i < own; ++i) {
    const std::string type = fmt::format("{}{}*", plan_.args[i].written ? "" : "const ", MemoryType(plan_.args[i].dtype));
    const std::string which = shared.contains(static_cast<int>(i)) ? std::to_string(i) : fmt::format("instance * {} + {}", own, i);
    out_.Line("{0} const a{1} = ({0})arguments.pointers[{2}];", type, i, which);
  }
  out_.Line("const long from = (block - first_block[instance]) * {}L;", part);
  out_.Line("const long to = from + {0} < elements[instance] ? from + {0} : elements[instance];", part);
  emitter_.Push();
  emitter_.Hoist(Roots());
  out_.Open("for (long i0 = from + threadIdx.x * {0}; i0 + {0} <= to; i0 += {1})", lanes_, lanes_ * schedule_.threads);
  WritePoints("i0", lanes_);
  out_.Close();
  if (lanes_ > 1) {
    out_.Open("if (threadIdx.x < (to - from) % {})", lanes_);
    out_.Line("const long i0 = to - 1 - threadIdx.x;");
    WritePoints("i0", 1);
    out_.Close();
  }
  emitter_.Pop();
  out_.Close();
  return blocks;
}

}  // namespace

CudaSource GenerateCudaPointwise(const KernelPlan& plan, const CudaSchedule& schedule) { return CudaPointwise(plan, schedule).Generate(); }

}  // namespace athanor
