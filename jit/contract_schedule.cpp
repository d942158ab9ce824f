#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <tuple>

#include "jit/codegen_cpp.h"
#include "jit/contract_operand.h"
#include "jit/contract_space.h"
#include "jit/integer_math.h"
#include "jit/microkernel.h"

namespace athanor {
namespace {

using Pack = ContractSchedule::Pack;


constexpr int64_t kTasks = 12;                               // enough for a few cores to end together
constexpr int64_t kMostRows = 128;                           // of a packed block of A in panels
constexpr int64_t kMostAlongK = 8;                           // rows of a tile whose vectors run along k: enough for two sums a cycle
constexpr int64_t kPanelBytes = 256 << 10;                   // of such a block, at the least

// What schedules of a contraction depend on.
struct Facts {
  Facts(const KernelPlan& plan, const CpuTarget& cpu)
      : contract(std::get<ContractPlan>(plan.detail)),
        a(contract.a, contract.a_result, 1, plan.args),
        b(contract.b, contract.b_result, 2, plan.args),
        element(SizeOf(contract.accumulator)),
        lanes(cpu.vector_bytes() / element),
        halves(a.halves() && b.halves() && contract.k > 1),
        b_in_place(b.in_place() && (contract.n == 1 || b.stride(2) == 1)) {}

  // One operand is a vector, and vectors along k read the other where it lies.
  bool along_k(bool pairs) const {
    const bool b_along = (pairs ? b.pairs_in_place() : b.in_place()) && b.stride(1) == 1, a_along = a_in_place(pairs) && a.stride(2) == 1;
    return contract.k > 1 && b_along && (contract.m == 1 ? a_along || !a.panels() : contract.n == 1 && a_along);
  }
  int64_t panel(const ContractSchedule& s) const { return s.nv > 0 ? s.nv * lanes : contract.m == 1 ? s.mr : 1; }  // columns of a tile

  bool a_in_place(bool pairs) const { return (pairs ? a.pairs_in_place() : a.in_place()) && !a.has_stores() && !a.has_statistics(); }
  // Blocks of k lie within runs.
  bool a_in_runs(const ContractSchedule& s) const {
    const int64_t part = s.k_split == 1 ? 0 : RoundUp(Ceil(contract.k, s.k_split), lanes);
    const int64_t run = a.run(s.pairs);
    return run > 0 && run % s.kc == 0 && part % s.kc == 0 && !a.has_stores() && !a.has_statistics();
  }
  int64_t step_bytes(bool pairs) const { return pairs ? 2 : element; }  // of a packed operand, for one step of k

  const ContractPlan& contract;
  ContractOperand a, b;
  int64_t element, lanes;
  bool halves;                                               // both operands are bf16
  bool b_in_place;                                           // not in pairs
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

// A few register tiles by the cycles they take, the best first, those far from it left out.
std::vector<std::pair<int, int>> Tiles(const Facts& facts, const CpuTarget& cpu, bool pairs) {
  const std::vector<std::pair<int, int>> all = cpu.isa == Isa::kAvx512
      ? std::vector<std::pair<int, int>>{{8, 3}, {6, 4}, {12, 2}, {9, 3}, {14, 2}, {8, 2}, {4, 4}, {8, 1}}
      : std::vector<std::pair<int, int>>{{4, 2}, {6, 2}, {4, 3}, {2, 4}, {8, 1}};
  const int64_t vectors = std::max<int64_t>(Ceil(facts.contract.n, facts.lanes), 1);
  std::vector<std::pair<double, std::pair<int, int>>> found;
  for (auto [mr, nv] : all) {
    if (facts.a.panels() && facts.lanes % mr != 0) continue;  // its rows would straddle panels
    const std::pair<int, int> tile(mr, static_cast<int>(std::min<int64_t>(nv, vectors)));
    // In steps of a hundredth: earlier ones in the list are better in ways that the model does not see.
    found.emplace_back(std::floor(std::log(std::max(StepCycles(facts, mr, nv), 1.0)) * 100), tile);
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& x, const auto& y) { return x.first < y.first; });
  std::vector<std::pair<int, int>> tiles;
  if (facts.along_k(pairs)) tiles.emplace_back(static_cast<int>(std::clamp<int64_t>(std::max(facts.contract.m, facts.contract.n), 1, kMostAlongK)), 0);
  // Few rows are bound by memory: wide tiles read long pieces of B's rows.
  const int64_t m = facts.contract.m;
  if (m > 0 && m < 8 && facts.b_in_place && !facts.a.panels()) {
    tiles.emplace_back(m, static_cast<int>(std::min(vectors, (cpu.vector_registers() - 1) / (m + 1))));
  }
  for (const auto& [cycles, tile] : found) {
    const bool fresh = std::find(tiles.begin(), tiles.end(), tile) == tiles.end();
    if (fresh && tiles.size() < 4 && cycles <= found[0].first + 8) tiles.push_back(tile);
  }
  return tiles;
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
  const bool in_place = facts.b_in_place && !s.pairs;
  const int64_t row = in_place ? facts.b.stride(1) * facts.element : 0;
  // Of a long row a tile reads a piece as wide as itself: narrow vectors fetch parts of lines, and packing pays.
  const bool by_panels = facts.a.panels() && row % 4096 != 0 && cpu.vectors_fill_lines();
  if (in_place && (row <= 1024 || c.m < 4 * s.mr || by_panels)) return Pack::kNone;
  return c.k * c.n * facts.step_bytes(s.pairs) <= cpu.l2_bytes || facts.a.panels() ? Pack::kPhase : Pack::kTask;
}

// Across-contiguous A in blocks that stay in the cache, one owner each. Few of them share the work along k, unless they have side
// outputs, which each may write once only.
ContractSchedule PanelsOfA(const Facts& facts, const CpuTarget& cpu, ContractSchedule s) {
  const ContractPlan& c = facts.contract;
  s.pack_a = Pack::kTask;
  const int64_t fitting = std::max(cpu.l2_bytes / 4, kPanelBytes) / (s.kc * facts.step_bytes(s.pairs)) / facts.lanes * facts.lanes;
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
  s.pack_a = facts.a_in_place(s.pairs) ? Pack::kNone : Pack::kPhase;
  const int64_t column_tasks = Ceil(std::max<int64_t>(c.n, 1), s.nc);
  // Tasks of the same columns share a packed block of B when that holds all of k.
  const int64_t tasks = s.pack_b != Pack::kTask ? kTasks : c.k <= s.kc ? 2 * kTasks : 4;
  const int64_t wanted = Ceil(tasks, std::max<int64_t>(c.batch, 1) * column_tasks);
  s.mc = RoundUp(std::max<int64_t>(Ceil(c.m, wanted), 4 * s.mr), facts.lanes % s.mr == 0 ? facts.lanes : s.mr);
  return s;
}

// Each task packs the windows of its columns once, for all rows.
ContractSchedule WindowsOfB(const Facts& facts, const CpuTarget& cpu, ContractSchedule s) {
  const ContractPlan& c = facts.contract;
  const int64_t panel = s.nv * facts.lanes;
  s.pack_a = facts.a_in_place(s.pairs) ? Pack::kNone : Pack::kPhase;
  s.pack_b = Pack::kTask;
  s.mc = RoundUp(c.m, s.mr);
  const int64_t fitting = cpu.l2_bytes * 6 / 10 / (s.kc * facts.step_bytes(s.pairs)), balanced = Ceil(c.n * c.batch, kTasks);
  s.nc = std::max(std::min({fitting, balanced, RoundUp(c.n, panel)}) / panel, int64_t{1}) * panel;
  return s;
}

// A vector by a matrix where it lies, all of k at once. Bound by memory: tasks are large enough to read on and on, as many as the cores need to end together.
ContractSchedule AlongK(const Facts& facts, ContractSchedule s) {
  const ContractPlan& c = facts.contract;
  s.kc = RoundUp(c.k, facts.lanes);
  s.pack_a = facts.a_in_place(s.pairs) && facts.a.stride(2) == 1 ? Pack::kNone : Pack::kPhase;
  s.pack_b = Pack::kNone;
  const auto block = [&](int64_t size) { return RoundUp(Ceil(size, kTasks), std::lcm(s.mr, facts.lanes)); };
  s.mc = c.m == 1 ? s.mr : block(c.m);
  s.nc = c.m == 1 ? block(c.n) : 1;
  return s;
}

// The longest block of k, of those short enough to be asked for ahead (ContractGenerator::WriteFetchA), of which each run of A has whole ones. 0: none
// that is worth while.
int64_t BlockOfRuns(const Facts& facts, bool pairs) {
  const int64_t run = facts.a.run(pairs), most = 1024 / facts.step_bytes(pairs);
  for (int64_t kc = most; run > 0 && kc >= most / 4; kc -= facts.lanes) {
    if (run % kc == 0) return kc;
  }
  return 0;
}

// A where it lies, block by block of k, which tasks share: the gradient of the weights of a 1 x 1 convolution, whose k are the pixels of all images.
// Nothing where k can't be shared so.
std::optional<ContractSchedule> RunsOfA(const Facts& facts, const CpuTarget& cpu, ContractSchedule s) {
  const ContractPlan& c = facts.contract;
  s.kc = BlockOfRuns(facts, s.pairs);
  if (s.kc == 0) return std::nullopt;
  const int64_t panel = s.nv * facts.lanes, panels = Ceil(c.n, panel), step = facts.step_bytes(s.pairs);
  s.pack_a = Pack::kNone;
  s.pack_b = c.k * c.n * step <= cpu.l2_bytes ? Pack::kPhase : Pack::kTask;
  s.nc = EvenPanels(panels, std::max<int64_t>(cpu.l2_bytes * 4 / 10 / (s.kc * step) / panel, 1)) * panel;
  const int64_t m = std::max<int64_t>(c.m, 1), room = std::max(cpu.l2_bytes / 2 / (s.nc * facts.element), facts.lanes), row_tasks = Ceil(m, room);
  s.mc = RoundUp(Ceil(m, row_tasks), s.mr);
  // Parts of equally many whole blocks. Each has a copy of C.
  const int64_t tasks = std::max<int64_t>(c.batch * row_tasks * Ceil(c.n, s.nc), 1), blocks = c.k / s.kc, wanted = std::min(Ceil(kTasks, tasks), blocks);
  while (s.k_split < wanted || (blocks % s.k_split != 0 && s.k_split < 2 * wanted)) ++s.k_split;
  return facts.a_in_runs(s) ? std::optional(s) : std::nullopt;
}

// Each task packs a part of k of both operands, for as many rows as the cache holds.
ContractSchedule WindowsOfA(const Facts& facts, const CpuTarget& cpu, ContractSchedule s) {
  const ContractPlan& c = facts.contract;
  const int64_t step = facts.step_bytes(s.pairs);
  const bool small_b = c.k * c.n * step <= cpu.l2_bytes;
  s.pack_a = Pack::kTask;
  s.pack_b = small_b ? Pack::kPhase : Pack::kTask;
  s.kc = std::min<int64_t>(s.kc, (small_b ? 512 : 256) * (s.pairs ? 2 : 1));
  const int64_t row_bytes = s.kc * step + (small_b ? c.n : 0) * facts.element;                             // of A, and of C where it is large
  const int64_t room = std::max(cpu.l2_bytes / 2 / row_bytes, facts.lanes), blocks = Ceil(c.m, room);
  s.mc = RoundUp(Ceil(c.m, blocks), std::lcm(facts.lanes, s.mr));
  s.nc = RoundUp(c.n, s.nv * facts.lanes);
  s.k_split = std::clamp<int64_t>(Ceil(kTasks, c.batch * blocks), 1, Ceil(c.k, 4 * s.kc));
  return s;
}

}  // namespace

std::string ValidateContract(const ContractSchedule& s, const KernelPlan& plan, const CpuTarget& cpu) {
  const Facts facts(plan, cpu);
  if (s.mr < 1 || s.nv < 0 || TileRegisters(s.mr, s.nv) > cpu.vector_registers()) return "the register tile needs too many registers";
  const int64_t panel = facts.panel(s);
  if (s.mc < 1 || s.nc < 1 || s.kc < 1 || s.k_split < 1 || s.unroll < 1 || s.unroll > 16) return "a block is empty";
  if (s.nc % panel != 0) return "nc is no multiple of the tile's columns";
  if (s.kc % facts.lanes != 0) return "kc is no multiple of the vector";
  if (s.mc % s.mr != 0 && s.mc < facts.contract.m) return "mc is no multiple of the tile's rows";
  if (s.k_split > std::max<int64_t>(1, facts.contract.k / facts.lanes)) return "k_split leaves empty parts";
  if (s.pairs && !facts.halves) return "only bf16 operands are taken in pairs of k";
  const bool along_k = s.nv == 0;
  if (along_k && (!facts.along_k(s.pairs) || s.pack_a == Pack::kTask || s.pack_b != Pack::kNone)) return "vectors along k read a matrix where it lies, and a vector";
  if (along_k && s.mr > kMostAlongK) return "vectors along k are multiplied by at most eight rows at once";
  if (along_k && s.pack_a == Pack::kPhase && facts.contract.m != 1) return "vectors along k read a matrix where it lies";
  if (s.pairs && !along_k && s.pack_b == Pack::kNone) return "pairs of k along the rows of B have to be packed";
  if (s.pack_a == Pack::kNone && !facts.a_in_place(s.pairs) && !facts.a_in_runs(s)) return "A has a prologue or an access map that only packing can carry";
  if (s.pack_b == Pack::kNone && !along_k && !facts.b_in_place) return "B has a prologue or an access map that only packing can carry";
  if (s.pack_a != Pack::kNone && facts.a.panels() && facts.lanes % s.mr != 0) return "the tile's rows straddle panels of A";
  if (s.pack_a == Pack::kTask && s.mc % facts.lanes != 0) return "mc is no multiple of the vector";
  if (s.pack_a == Pack::kTask && s.k_split != 1 && facts.a.has_stores()) return "tasks that split k would repeat A's side outputs";
  const int64_t depth = facts.a.by_parts() ? std::min(s.kc, facts.contract.k) : facts.contract.k;
  if (s.pack_a == Pack::kTask && s.mc * depth * facts.step_bytes(s.pairs) > (256 << 20)) return "the packed block of A is too large";
  return "";
}

namespace {

// The rest of a schedule from its tile, and what else the caller has settled.
struct Settled {
  std::pair<int, int> tile;
  std::optional<int64_t> kc;
  std::optional<Pack> pack_a, pack_b;
  bool pairs = false;
};

ContractSchedule Complete(const Facts& facts, const CpuTarget& cpu, const Settled& settled) {
  const int64_t k = std::max<int64_t>(facts.contract.k, 1);
  ContractSchedule s;
  std::tie(s.mr, s.nv) = settled.tile;
  s.pairs = settled.pairs;
  const int64_t step = facts.step_bytes(s.pairs), deep = s.pairs ? 2 : 1;
  const int64_t panel = facts.panel(s), panels = Ceil(std::max<int64_t>(facts.contract.n, 1), panel);
  // A long k is cut short where packed panels of A and the rows of C that they add to fit the cache together.
  const bool short_parts = facts.a.panels() && k > 512 * deep && kMostRows * panels * panel * facts.element <= cpu.l2_bytes * 3 / 10;
  // A small cache holds as many rows and fewer steps of them.
  const int64_t longest = facts.a.panels() && cpu.l2_bytes < 4 * kPanelBytes ? 512 : 1024;
  s.kc = RoundUp(std::min(k, settled.kc.value_or(deep * (short_parts ? 256 : longest))), facts.lanes);
  s.unroll = 4;
  if (s.nv == 0) return AlongK(facts, s);
  if (facts.b.windows()) return WindowsOfB(facts, cpu, s);
  if (settled.pack_a.value_or(Pack::kNone) == Pack::kNone) {
    if (const auto runs = RunsOfA(facts, cpu, s)) return *runs;
  }
  if (facts.a.windows() && facts.a.by_parts()) return WindowsOfA(facts, cpu, s);

  s.pack_b = settled.pack_b.value_or(PackingOfB(facts, cpu, s));
  s.nc = EvenPanels(panels, Ceil(std::max<int64_t>(cpu.l2_bytes * 4 / 10 / (s.kc * step), 1), panel)) * panel;
  s = facts.a.panels() ? PanelsOfA(facts, cpu, s) : RowsOfA(facts, s);
  s.pack_a = settled.pack_a.value_or(s.pack_a);
  return s;
}

// bf16 stays bf16 where the processor multiplies it twice as fast as f32.
bool PairsPay(const Facts& facts, const CpuTarget& cpu) { return facts.halves && cpu.isa == Isa::kAvx512 && cpu.Has("avx512bf16"); }

}  // namespace

ContractSchedule DefaultContract(const KernelPlan& plan, const CpuTarget& cpu) {
  const Facts facts(plan, cpu);
  const bool pairs = PairsPay(facts, cpu);
  return Complete(facts, cpu, {.tile = Tiles(facts, cpu, pairs)[0], .pairs = pairs});
}

// The default for each good tile, each packing and each depth; then small changes of each of those.
std::vector<ContractSchedule> ContractSpace(const KernelPlan& plan, const CpuTarget& cpu) {
  const Facts facts(plan, cpu);
  std::vector<ContractSchedule> space;
  auto add = [&](const ContractSchedule& s) {
    if (ValidateContract(s, plan, cpu).empty() && std::find(space.begin(), space.end(), s) == space.end()) space.push_back(s);
  };
  const bool pairs = PairsPay(facts, cpu);
  const std::vector<std::pair<int, int>> tiles = Tiles(facts, cpu, pairs);
  for (const auto& tile : tiles) add(Complete(facts, cpu, {.tile = tile, .pairs = pairs}));
  for (Pack pack : {Pack::kNone, Pack::kPhase, Pack::kTask}) {
    add(Complete(facts, cpu, {.tile = tiles[0], .pack_b = pack, .pairs = pairs}));
    add(Complete(facts, cpu, {.tile = tiles[0], .pack_a = pack, .pairs = pairs}));
  }
  for (int64_t kc : {256, 512, 1024, 2048}) add(Complete(facts, cpu, {.tile = tiles[0], .kc = kc, .pairs = pairs}));
  if (facts.halves) add(Complete(facts, cpu, {.tile = tiles[0], .pairs = !pairs}));
  const std::vector<ContractSchedule> bases = space;
  auto vary = [&](const auto& change) {
    for (ContractSchedule s : bases) {
      change(s);
      add(s);
    }
  };
  vary([](ContractSchedule& s) {
    s.maker = s.maker == ContractSchedule::Maker::kCpp ? ContractSchedule::Maker::kAsmjit : ContractSchedule::Maker::kCpp;
  });
  vary([&](ContractSchedule& s) { s.nc *= 2; });
  vary([&](ContractSchedule& s) { s.nc = std::max<int64_t>(s.nc / 2 / facts.panel(s), 1) * facts.panel(s); });
  vary([&](ContractSchedule& s) { s.mc *= 2; });
  vary([&](ContractSchedule& s) { s.mc = std::max<int64_t>(s.mc / 2 / (s.mr * facts.lanes), 1) * s.mr * facts.lanes; });
  vary([](ContractSchedule& s) { s.unroll = s.nv > 0 ? 8 : s.unroll; });  // loops along k have one step
  return space;
}

}  // namespace athanor
