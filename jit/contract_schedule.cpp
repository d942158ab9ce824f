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
  s.pack_a = s.pack_b = Pack::kTask;
  s.kc = std::min<int64_t>(s.kc, 256);
  const int64_t room = std::max(cpu.l2_bytes / 2 / (s.kc * facts.element), facts.lanes), blocks = Ceil(c.m, room);
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
  const ContractPlan& c = facts.contract;
  ContractSchedule s;
  const bool wide = cpu.isa == Isa::kAvx512;
  s.mr = wide ? 8 : 4;
  s.nv = wide ? 3 : 2;
  if (wide && Ceil(c.n, facts.lanes) <= 2) s.nv = static_cast<int>(std::max<int64_t>(1, Ceil(c.n, facts.lanes)));
  const int64_t panel = s.nv * facts.lanes, columns = RoundUp(std::max<int64_t>(c.n, 1), panel);
  const int64_t b_bytes = c.k * c.n * facts.element;
  s.kc = RoundUp(std::clamp<int64_t>(c.k, 1, 1024), facts.lanes);
  s.unroll = 4;

  if (facts.b.windows()) return WindowsOfB(facts, cpu, s);
  if (facts.a.windows() && facts.a_by_parts && c.k > 4 * c.n) return WindowsOfA(facts, cpu, s);

  // B: the smaller operand is copied once before the products; a large one block by block by the tasks that own its columns.
  const bool short_rows = facts.b_in_place && facts.b.stride(1) * facts.element <= 1024;
  const bool small_b = b_bytes <= cpu.l2_bytes;
  const bool few_rows = c.m < 4 * s.mr;
  if (facts.b_in_place && (short_rows || few_rows)) {
    s.pack_b = Pack::kNone;
  } else if (small_b || !facts.a_in_place) {
    s.pack_b = Pack::kPhase;
  } else {
    s.pack_b = Pack::kTask;
  }
  s.nc = std::min(columns, RoundUp(std::max<int64_t>(cpu.l2_bytes * 6 / 10 / (s.kc * facts.element), panel), panel));

  // A: in place when it can be; across-contiguous A in blocks that stay in the cache, one owner each.
  if (facts.a_panels) {
    const int64_t room = std::max<int64_t>(cpu.l2_bytes / 2 / std::max<int64_t>(c.k * facts.element, 1), 1);
    s.pack_a = Pack::kTask;
    s.mc = std::clamp<int64_t>(room / facts.lanes * facts.lanes, facts.lanes, 512);
    if (s.pack_b == Pack::kTask) s.pack_b = Pack::kPhase;
  } else {
    s.pack_a = facts.a_in_place ? Pack::kNone : Pack::kPhase;
    s.mc = 0;
  }
  // Enough tasks for the cores to end together, few enough to keep blocks large.
  const int64_t column_tasks = s.pack_a == Pack::kTask ? 1 : Ceil(columns, s.nc);
  const int64_t wanted = std::max<int64_t>(1, Ceil(12, c.batch * column_tasks));
  const int64_t rows = std::max<int64_t>(Ceil(c.m, s.pack_b == Pack::kTask && column_tasks >= 4 ? 1 : wanted), 4 * s.mr);
  const int64_t multiple = facts.lanes % s.mr == 0 ? facts.lanes : s.mr;
  const int64_t even = RoundUp(std::max<int64_t>(rows, 1), multiple);
  s.mc = s.mc == 0 ? even : std::min(s.mc, even);
  return s;
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
