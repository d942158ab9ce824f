#include <algorithm>
#include <functional>

#include "jit/body_emitter.h"
#include "jit/codegen_cpp.h"
#include "jit/scatter_body.h"

namespace athanor {
namespace {

// A task owns a block of columns of the whole table, so that every element is written by one thread in the order of the rows.
class ScatterGenerator {
 public:
  ScatterGenerator(const KernelPlan& plan, const ScatterSchedule& schedule, const CpuTarget& cpu)
      : plan_(plan),
        schedule_(schedule),
        scatter_(std::get<ScatterPlan>(plan.detail)),
        lanes_(cpu.vector_bytes() / (ValueType(scatter_.dtype) == DType::kF64 ? 8 : 4)),
        prelude_(cpu, lanes_) {}

  KernelSource Generate() {
    const int64_t block = (schedule_.column_block + lanes_ - 1) / lanes_ * lanes_;
    const int64_t tasks = scatter_.table_rows == 0 ? 0 : (scatter_.columns + block - 1) / block;
    KernelSource source;
    if (tasks > 0) {
      Write(block);
      source.phases.push_back({"scatter", tasks});
    }
    source.text = SourceHeader(plan_, schedule_) + prelude_.Text() + "\n" + out_.text();
    return source;
  }

 private:
  void Write(int64_t block) {
    out_.Open("extern \"C\" void scatter(char* const* args, long begin, long end, char*)");
    DeclareArgs(plan_.args, &out_);
    out_.Open("for (long task = begin; task < end; ++task)");
    out_.Line("const long from = task * {0}, to = from + {0} < {1} ? from + {0} : {1};", block, scatter_.columns);
    if (scatter_.adds) WriteZeros();
    WriteRows();
    out_.Close();
    out_.Close();
  }

  // Writes `body(emitter, live)` for each vector of columns in [from, to).
  void Columns(BodyEmitter* emitter, const std::function<void()>& body) {
    out_.Line("long j = from;");
    for (const bool tail : {false, true}) {
      out_.Open(fmt::runtime(tail ? "if (j < to)" : "for (; j + {0} <= to; j += {0})"), lanes_);
      emitter->Push();
      emitter->SetVector(1, "j", lanes_, tail ? "(to - j)" : "");
      body();
      emitter->Pop();
      out_.Close();
    }
  }

  void WriteZeros() {
    const Body body = ScatterZeros(scatter_);
    BodyEmitter emitter(body, plan_.args, &prelude_, &out_, "zero");
    out_.Open("for (long row = 0; row < {}; ++row)", scatter_.table_rows);
    emitter.SetIndex(0, "row");
    Columns(&emitter, [&] { emitter.EmitStores(); });
    out_.Close();
  }

  void WriteRows() {
    const Body body = ScatterRows(scatter_);
    BodyEmitter emitter(body, plan_.args, &prelude_, &out_);
    out_.Open("for (long s = 0; s < {}; ++s)", scatter_.rows);
    emitter.SetIndex(0, "s");
    emitter.Get(kScatterTableRow);
    Columns(&emitter, [&] { emitter.EmitStores(); });
    out_.Close();
  }

  const KernelPlan& plan_;
  const ScatterSchedule& schedule_;
  const ScatterPlan& scatter_;
  const int lanes_;
  Prelude prelude_;
  SourceWriter out_;
};

}  // namespace

KernelSource GenerateCppScatter(const KernelPlan& plan, const ScatterSchedule& schedule, const CpuTarget& cpu) {
  return ScatterGenerator(plan, schedule, cpu).Generate();
}

std::string ValidateScatter(const ScatterSchedule& schedule, const KernelPlan&, const CpuTarget&) {
  return schedule.column_block < 1 ? fmt::format("column block of {}", schedule.column_block) : "";
}

// Blocks of whole cache lines, narrow enough that every core has some.
ScatterSchedule DefaultScatter(const KernelPlan& plan, const CpuTarget& cpu) {
  const int64_t columns = std::get<ScatterPlan>(plan.detail).columns;
  const int64_t share = columns / (2 * std::max(1, cpu.cores)) / 16 * 16;
  return {.column_block = std::clamp<int64_t>(share, 16, 256)};
}

}  // namespace athanor
