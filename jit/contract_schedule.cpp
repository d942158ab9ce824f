#include <algorithm>
#include <numeric>

#include "jit/codegen_cpp.h"
#include "jit/contract_operand.h"
#include "jit/contract_space.h"
#include "jit/microkernel.h"

namespace athanor {
namespace {

using Pack = ContractSchedule::Pack;

int64_t Ceil(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t RoundUp(int64_t a, int64_t b) { return Ceil(a, b) * b; }

constexpr int64_t kTasks = 12;                               // enough for a few cores to end together
constexpr int64_t kMostRows = 128;                           // of a packed block of A in panels

// What schedules of a contraction depend on.
struct Facts {
  Facts(const KernelPlan& plan, const CpuTarget& cpu)
      : contract(std::get<ContractPlan>(plan.detail)),
        a(contract.a, contract.a_result, 1, plan.args),
        b(contract.b, contract.b_result, 2, plan.args),
        element(SizeOf(contract.accumulator)),
        lanes(cpu.vector_bytes() / element),
        a_in_place(a.in_place() && !a.has_stores() && !a.has_statistics()),
        b_in_place(b.in_place() && (contract.n == 1 || b.stride(2) == 1)),
        a_panels(a.across_contiguous() && !a.has_statistics()),
        a_by_parts(a_panels || (a.windows() && !a.has_statistics() && !a.has_stores())) {}

  const ContractPlan& contract;
  ContractOperand a, b;
  int64_t element, lanes;
  bool a_in_place, b_in_place, a_panels, a_by_parts;
};

// Cycles that a tile of `rows` x `vectors` takes for one step of k: two multiply-adds and two loads a cycle, and few accumulators wait
// for themselves.
double TileCycles(int64_t rows, int64_t vectors) {
  if (rows == 0 || vectors == 0) return 0;
  return std::max({static_cast<double>(rows * vectors) / 2, static_cast<double>(rows + vectors) / 2, 6.0});
}

// The same of all of C, with the narrower tiles at its edges.
double StepCycles(const Facts& facts, int64_t mr, int64_t nv) {
  const int64_t vectors = Ceil(facts.contract.n, facts.lanes), m = facts.contract.m;
  auto strip = [&](int64_t rows) { return static_cast<double>(vectors / nv) * TileCycles(rows, nv) + TileCycles(rows, vectors % nv); };
  return static_cast<double>(m / mr) * strip(mr) + strip(m % mr);
}

void ChooseTile(const Facts& facts, const CpuTarget& cpu, ContractSchedule* s) {
  const std::vector<std::pair<int, int>> tiles =
      cpu.isa == Isa::kAvx512 ? std::vector<std::pair<int, int>>{{8, 3}, {6, 4}, {12, 2}, {8, 2}, {8, 1}} : std::vector<std::pair<int, int>>{{4, 2}};
  double least = 0;
  for (auto [mr, nv] : tiles) {
    if ((facts.a_panels || facts.a.windows()) && facts.lanes % mr != 0) continue;  // its rows would straddle panels
    const double cycles = StepCycles(facts, mr, nv);
    if (least != 0 && cycles >= 0.99 * least) continue;
    least = cycles;
    s->mr = mr, s->nv = static_cast<int>(std::clamp<int64_t>(Ceil(facts.contract.n, facts.lanes), 1, nv));
  }
}

// The most panels, at most `most` and at least half of it, that divide all columns into blocks of nearly one size.
int64_t EvenPanels(int64_t panels, int64_t most) {
  int64_t best = std::max<int64_t>(1, std::min(panels, most));
  for (int64_t p = best - 1; 2 * p >= most && p > 0; --p) {
    if (Ceil(panels, p) * p < Ceil(panels, best) * best) best = p;
  }
  return best;
}

// In place where rows of B are short, or read by panels of A, and do not alias in the cache; else the smaller operand is copied once
// before the products, a large one block by block by the tasks that own its columns.
Pack PackingOfB(const Facts& facts, const CpuTarget& cpu, const ContractSchedule& s) {
  const ContractPlan& c = facts.contract;
  const int64_t row = facts.b_in_place ? facts.b.stride(1) * facts.element : 0;
  if (facts.b_in_place && (row <= 1024 || c.m < 4 * s.mr || (facts.a_panels && row % 4096 != 0))) return Pack::kNone;
  return c.k * c.n * facts.element <= cpu.l2_bytes || facts.a_panels ? Pack::kPhase : Pack::kTask;
}

// Across-contiguous A in blocks that stay in the cache, one owner each. Few of them share the work along k, unless they have side
// outputs, which each may write once only.
ContractSchedule PanelsOfA(const Facts& facts, const CpuTarget& cpu, ContractSchedule s) {
  const ContractPlan& c = facts.contract;
  s.pack_a = Pack::kTask;
  const int64_t fitting = cpu.l2_bytes / 4 / (s.kc * facts.element) / facts.lanes * facts.lanes;
  int64_t blocks = Ceil(std::max<int64_t>(c.m, 1), std::clamp(fitting, facts.lanes, kMostRows));
  const int64_t tasks = blocks * std::max<int64_t>(c.batch, 1);
  if (tasks < 4 && c.k >= 4 * s.kc && !facts.a.has_stores()) {
    s.k_split = std::min(Ceil(kTasks, tasks), c.k / (2 * s.kc));
  } else if (tasks < kTasks) {
    blocks = RoundUp(blocks, 4);
  }
  s.mc = RoundUp(Ceil(std::max<int64_t>(c.m, 1), blocks), facts.lanes);
  return s;
}

// Rows of A in place, or copied before the products where they have a prologue. Enough tasks for the cores to end together, few
// enough to keep blocks large.
ContractSchedule RowsOfA(const Facts& facts, ContractSchedule s) {
  const ContractPlan& c = facts.contract;
  s.pack_a = facts.a_in_place ? Pack::kNone : Pack::kPhase;
  const int64_t column_tasks = Ceil(std::max<int64_t>(c.n, 1), s.nc);
  const int64_t wanted = s.pack_b == Pack::kTask && column_tasks >= 4 ? 1 : Ceil(kTasks, std::max<int64_t>(c.batch, 1) * column_tasks);
  s.mc = RoundUp(std::max<int64_t>(Ceil(c.m, wanted), 4 * s.mr), facts.lanes % s.mr == 0 ? facts.lanes : s.mr);
  return s;
}

// Each task packs the windows of its columns once, for all rows.
ContractSchedule WindowsOfB(const Facts& facts, const CpuTarget& cpu, ContractSchedule s) {
  const ContractPlan& c = facts.contract;
  const int64_t panel = s.nv * facts.lanes;
  s.pack_a = facts.a_in_place ? Pack::kNone : Pack::kPhase;
  s.pack_b = Pack::kTask;
  s.mc = RoundUp(c.m, s.mr);
  const int64_t fitting = cpu.l2_bytes * 6 / 10 / (s.kc * facts.element), balanced = Ceil(c.n * c.batch, kTasks);
  s.nc = std::max(std::min({fitting, balanced, RoundUp(c.n, panel)}) / panel, int64_t{1}) * panel;
  return s;
}

// Each task packs a part of k of both operands, for as many rows as the cache holds.
ContractSchedule WindowsOfA(const Facts& facts, const CpuTarget& cpu, ContractSchedule s) {
  const ContractPlan& c = facts.contract;
  if (cpu.isa == Isa::kAvx512 && s.nv == 3 && Ceil(c.n, facts.lanes) % 3 == 1) s.mr = 12, s.nv = 2;   // no panel of a single vector
  const bool small_b = c.k * c.n * facts.element <= cpu.l2_bytes;
  s.pack_a = Pack::kTask;
  s.pack_b = small_b ? Pack::kPhase : Pack::kTask;
  s.kc = std::min<int64_t>(s.kc, small_b ? 512 : 256);
  const int64_t row_bytes = (s.kc + (small_b ? c.n : 0)) * facts.element;                             // of A, and of C where it is large
  const int64_t room = std::max(cpu.l2_bytes / 2 / row_bytes, facts.lanes), blocks = Ceil(c.m, room);
  s.mc = RoundUp(Ceil(c.m, blocks), std::lcm(facts.lanes, s.mr));
  s.nc = RoundUp(c.n, s.nv * facts.lanes);
  s.k_split = std::clamp<int64_t>(Ceil(kTasks, c.batch * blocks), 1, Ceil(c.k, 4 * s.kc));
  return s;
}

}  // namespace

std::string ValidateContract(const ContractSchedule& s, const KernelPlan& plan, const CpuTarget& cpu) {
  const Facts facts(plan, cpu);
  if (s.mr < 1 || s.nv < 1 || TileRegisters(s.mr, s.nv) > cpu.vector_registers()) return "the register tile needs too many registers";
  const int64_t panel = s.nv * facts.lanes;
  if (s.mc < 1 || s.nc < 1 || s.kc < 1 || s.k_split < 1 || s.unroll < 1 || s.unroll > 16) return "a block is empty";
  if (s.nc % panel != 0) return "nc is no multiple of the tile's columns";
  if (s.kc % facts.lanes != 0) return "kc is no multiple of the vector";
  if (s.mc % s.mr != 0 && s.mc < facts.contract.m) return "mc is no multiple of the tile's rows";
  if (s.k_split > std::max<int64_t>(1, facts.contract.k / facts.lanes)) return "k_split leaves empty parts";
  if (s.pack_a == Pack::kNone && !facts.a_in_place) return "A has a prologue or an access map that only packing can carry";
  if (s.pack_b == Pack::kNone && !facts.b_in_place) return "B has a prologue or an access map that only packing can carry";
  if (s.pack_a != Pack::kNone && facts.a_panels && facts.lanes % s.mr != 0) return "the tile's rows straddle panels of A";
  if (s.pack_a == Pack::kTask && s.mc % facts.lanes != 0) return "mc is no multiple of the vector";
  if (s.pack_a == Pack::kTask && s.k_split != 1 && facts.a.has_stores()) return "tasks that split k would repeat A's side outputs";
  if (s.mc * (facts.a_by_parts ? std::min(s.kc, facts.contract.k) : facts.contract.k) * facts.element > (256 << 20) && s.pack_a == Pack::kTask) return "the packed block of A is too large";
  return "";
}

ContractSchedule DefaultContract(const KernelPlan& plan, const CpuTarget& cpu) {
  const Facts facts(plan, cpu);
  const int64_t k = std::max<int64_t>(facts.contract.k, 1);
  ContractSchedule s;
  ChooseTile(facts, cpu, &s);
  const int64_t panel = s.nv * facts.lanes, panels = Ceil(std::max<int64_t>(facts.contract.n, 1), panel);
  // A long k is cut short where packed panels of A and the rows of C that they add to fit the cache together.
  const bool short_parts = facts.a_panels && k > 512 && kMostRows * panels * panel * facts.element <= cpu.l2_bytes * 3 / 10;
  s.kc = RoundUp(std::min<int64_t>(k, short_parts ? 256 : 1024), facts.lanes);
  s.unroll = 4;
  if (facts.b.windows()) return WindowsOfB(facts, cpu, s);
  if (facts.a.windows() && facts.a_by_parts) return WindowsOfA(facts, cpu, s);

  s.pack_b = PackingOfB(facts, cpu, s);
  s.nc = EvenPanels(panels, Ceil(std::max<int64_t>(cpu.l2_bytes * 4 / 10 / (s.kc * facts.element), 1), panel)) * panel;
  return facts.a_panels ? PanelsOfA(facts, cpu, s) : RowsOfA(facts, s);
}

std::vector<ContractSchedule> ContractSpace(const KernelPlan& plan, const CpuTarget& cpu) {
  const Facts facts(plan, cpu);
  const ContractSchedule first = DefaultContract(plan, cpu);
  std::vector<ContractSchedule> space;
  auto add = [&](const ContractSchedule& s) {
    if (!ValidateContract(s, plan, cpu).empty() || std::find(space.begin(), space.end(), s) != space.end()) return;
    space.push_back(s);
  };
  add(first);
  const std::vector<std::pair<int, int>> tiles = cpu.isa == Isa::kAvx512
      ? std::vector<std::pair<int, int>>{{8, 3}, {9, 3}, {6, 4}, {14, 2}, {12, 2}, {4, 4}, {16, 1}, {8, 2}}
      : std::vector<std::pair<int, int>>{{4, 2}, {6, 2}, {4, 3}, {2, 4}, {8, 1}};
  for (auto [mr, nv] : tiles) {
    for (Pack pack_b : {first.pack_b, Pack::kNone, Pack::kPhase, Pack::kTask}) {
      for (Pack pack_a : {first.pack_a, Pack::kNone, Pack::kPhase, Pack::kTask}) {
        for (int64_t kc : {first.kc, int64_t{256}, int64_t{512}, int64_t{1024}}) {
          for (auto maker : {ContractSchedule::Maker::kCpp, ContractSchedule::Maker::kAsmjit}) {
            ContractSchedule s = first;
            s.mr = mr, s.nv = nv, s.pack_a = pack_a, s.pack_b = pack_b, s.kc = std::min(kc, first.kc), s.maker = maker;
            const int64_t panel = nv * facts.lanes;
            s.nc = std::max(s.nc / panel, int64_t{1}) * panel;
            s.mc = RoundUp(s.mc, facts.lanes % mr == 0 ? facts.lanes : pack_a == Pack::kTask ? mr * facts.lanes : mr);
            add(s);
          }
        }
      }
    }
  }
  return space;
}

}  // namespace athanor
