#include <algorithm>

#include "jit/codegen_cuda.h"
#include "jit/cuda_emitter.h"
#include "jit/cuda_point.h"
#include "jit/scatter_body.h"
#include "ops/error.h"

namespace athanor {
namespace {

// A block owns some rows of the table and looks for them among all indices; a thread owns some of the columns. So every element is
// written by one thread in the order of the source's rows, and nothing is atomic.
class CudaScatter {
 public:
  CudaScatter(const KernelPlan& plan, const CudaSchedule& schedule)
      : plan_(plan),
        schedule_(schedule),
        scatter_(std::get<ScatterPlan>(plan.detail)),
        zeros_(ScatterZeros(scatter_)),
        rows_(ScatterRows(scatter_)),
        zero_emitter_(zeros_, plan.args, &out_),
        row_emitter_(rows_, plan.args, &out_),
        lanes_(std::min(zero_emitter_.LanesAlong(1), row_emitter_.LanesAlong(1))) {
    while (scatter_.columns % lanes_ != 0) lanes_ /= 2;
  }

  CudaSource Generate() {
    CudaSource source;
    const int64_t blocks = scatter_.columns == 0 ? 0 : std::min(scatter_.table_rows, schedule_.max_blocks);
    if (blocks > 0) {
      Write(blocks);
      source.launches.push_back({"scatter", blocks, schedule_.threads});
    }
    std::set<std::string> helpers = zero_emitter_.helpers();
    helpers.insert(row_emitter_.helpers().begin(), row_emitter_.helpers().end());
    source.text = CudaText(plan_, schedule_, plan_.args.size(), CudaHelpers(helpers), out_.text());
    return source;
  }

 private:
  void Write(int64_t blocks) {
    out_.Open("extern \"C\" __global__ void __launch_bounds__({}) scatter(const __grid_constant__ Arguments arguments)", schedule_.threads);
    DeclareCudaArgs(plan_.args, &out_);
    out_.Line("const long first = blockIdx.x * {0}L / {1}, end = (blockIdx.x + 1) * {0}L / {1};  // rows of the table", scatter_.table_rows, blocks);
    if (scatter_.adds) WriteZeros();
    WriteRows();
    out_.Close();
  }

  void WriteZeros() {
    out_.Open("for (long row = first; row < end; ++row)");
    zero_emitter_.SetIndex(0, "row");
    WriteColumns(zeros_, &zero_emitter_);
    out_.Close();
  }

  // The threads read the rows' indices together, then every thread goes through them.
  void WriteRows() {
    if (scatter_.rows == 0) return;
    out_.Line("__shared__ long rows[{}];", schedule_.threads);
    out_.Open("for (long base = 0; base < {}; base += {})", scatter_.rows, schedule_.threads);
    out_.Line("const long count = {0} - base < {1} ? {0} - base : {1};", scatter_.rows, schedule_.threads);
    out_.Open("if (threadIdx.x < count)");
    out_.Line("const long s = base + threadIdx.x;");
    row_emitter_.Push();
    row_emitter_.SetIndex(0, "s");
    const std::string found = row_emitter_.Get(kScatterTableRow);
    out_.Line("rows[threadIdx.x] = {};", found);
    row_emitter_.Pop();
    out_.Close();
    out_.Line("__syncthreads();");
    out_.Open("for (int k = 0; k < count; ++k)");
    out_.Line("const long row = rows[k], s = base + k;");
    out_.Line("if (row < first || row >= end) continue;");
    row_emitter_.SetIndex(0, "s");
    row_emitter_.Bind(kScatterTableRow, "row");
    WriteColumns(rows_, &row_emitter_);
    out_.Close();
    out_.Line("__syncthreads();");
    out_.Close();
  }

  void WriteColumns(const Body& body, CudaEmitter* emitter) {
    const std::string first = lanes_ == 1 ? "threadIdx.x" : fmt::format("threadIdx.x * {}", lanes_);
    out_.Open("for (long j = {}; j < {}; j += {})", first, scatter_.columns, schedule_.threads * lanes_);
    CudaPoint point;
    point.dim = 1, point.lanes = lanes_, point.index = "j", point.stores = {&body.stores[0]};
    WriteCudaPoint(point, body, plan_.args, emitter, &out_);
    out_.Close();
  }

  const KernelPlan& plan_;
  const CudaSchedule& schedule_;
  const ScatterPlan& scatter_;
  const Body zeros_, rows_;
  SourceWriter out_;
  CudaEmitter zero_emitter_, row_emitter_;
  int lanes_;
};

}  // namespace

// Every block reads all indices: two blocks a processor. No more threads than there are Vecs in a row.
CudaSchedule DefaultCudaScatterSchedule(const KernelPlan& plan) {
  const ScatterPlan& scatter = std::get<ScatterPlan>(plan.detail);
  const int64_t vecs = scatter.columns * SizeOf(scatter.dtype) / 16;
  return {.threads = static_cast<int>(std::clamp<int64_t>((vecs + 31) / 32 * 32, 64, 256)), .max_blocks = 264};
}

CudaSource GenerateCudaScatter(const KernelPlan& plan, const CudaSchedule& schedule) { return CudaScatter(plan, schedule).Generate(); }

}  // namespace athanor
