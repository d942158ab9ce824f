#include <algorithm>
#include <tuple>

#include "jit/codegen_cpp.h"
#include "jit/contract_space.h"
#include "jit/integer_math.h"
#include "jit/microkernel.h"
#include "jit/winograd.h"

namespace athanor {
namespace {

constexpr int64_t kTasks = 12;                               // enough for a few cores to end together
constexpr int64_t kFewestMultiplies = int64_t{1} << 22;      // below, a kernel isn't worth its transforms' code
constexpr int64_t kMostBytes = int64_t{1} << 28;             // of a transformed operand
constexpr double kProducts = 0.85, kGradientProducts = 0.6;  // of the peak, that products reach
// Cycles for each vector of points. Whole weights and the gradient of pixels go through memory, more and more so up to kMemoryBytes.
constexpr double kTransform = 0.6, kWeights = 20, kTaskWeights = 7, kPixelGradient = 25;
constexpr double kMemoryBytes = 1 << 24;

struct Estimate {
  WinogradSchedule schedule;
  double cycles = 0;                                         // of one core
};

// What schedules depend on.
struct Facts {
  Facts(const WinogradForm& f, const KernelPlan& plan, int tile_, const CpuTarget& target)
      : form(f),
        cpu(target),
        tile(tile_),
        lanes(target.vector_bytes() / 4),
        points(int64_t{tile + form.taps - 1} * (tile + form.taps - 1)),
        row_tiles(Ceil(form.x.out, tile)),
        tiles(std::get<ContractPlan>(plan.detail).batch * form.images * Ceil(form.y.out, tile) * row_tiles) {}

  // Cycles for the vectors of `count` points, `cycles` each.
  double Cycles(double cycles, double count) const { return cycles * count / static_cast<double>(lanes); }
  double MemoryCycles(double cycles, double count) const { return Cycles(cycles * std::clamp(count * 4 / kMemoryBytes, 0.1, 1.0), count); }
  // The vectors that transform runs of tiles are not all full.
  double RunTiles() const { return static_cast<double>(tiles * RoundUp(row_tiles, lanes)) / static_cast<double>(row_tiles); }

  const WinogradForm& form;
  const CpuTarget& cpu;
  int tile;
  int64_t lanes, points, row_tiles, tiles;
};

// A register tile for `columns` vectors: few of them left over, then many products for each load.
std::pair<int, int> TileFor(int64_t columns, const CpuTarget& cpu) {
  const auto tiles = cpu.isa == Isa::kAvx512 ? std::vector<std::pair<int, int>>{{8, 3}, {6, 4}, {12, 2}, {16, 1}}
                                             : std::vector<std::pair<int, int>>{{4, 2}, {4, 3}, {8, 1}};
  return *std::min_element(tiles.begin(), tiles.end(), [&](const auto& a, const auto& b) {
    return RoundUp(columns, a.second) < RoundUp(columns, b.second);
  });
}

// Rows of a task, at most `most`, so that two threads, and four, end together: tasks are of mc rows each, the last of each block of what is left, which
// threads that have ended take up.
int64_t BalancedRows(int64_t rows, int64_t blocks, int64_t most, int64_t mr) {
  const auto longest = [&](int64_t mc) {                     // the most rows of a thread, times the threads: at best all rows; summed for both
    double sum = 0;
    for (int64_t threads : {2, 4}) {
      const int64_t whole = rows / mc * blocks, rest = rows % mc, left = whole % threads;
      sum += static_cast<double>((whole / threads * mc + (left > 0 ? mc : Ceil(rest > 0 ? blocks : 0, threads) * rest)) * threads);
    }
    return sum;
  };
  int64_t best = most;
  for (int64_t mc = most; 2 * mc >= most; mc -= mr) {
    if (longest(mc) < longest(best)) best = mc;
  }
  return best;
}

// Each task transforms weights: a part of them fits the cache beside the windows and the products that it meets, those of as many rows as may be.
void SetTaskWeights(const Facts& f, WinogradSchedule* s) {
  s->weights = ContractSchedule::Pack::kTask, s->streaming = false;
  s->kc = 32;
  const int64_t columns = s->nv * f.lanes;
  s->mc = BalancedRows(f.form.out_channels, Ceil(f.tiles, columns), s->mc, s->mr);
  const int64_t room = f.cpu.l2_bytes * 7 / 10 / (4 * f.points) - s->kc * columns, fitting = room / (s->kc + columns);
  s->mb = std::max<int64_t>(std::min(fitting, s->mc) / s->mr, 1) * s->mr;
}

// A phase transforms weights, a block of kc channels behind the other, past the cache where they don't fit it.
void SetPhaseWeights(const Facts& f, WinogradSchedule* s) {
  s->weights = ContractSchedule::Pack::kPhase;
  s->mb = std::min(RoundUp(32, s->mr), s->mc);
  s->kc = f.form.channels <= 64 ? 32 : 64;
  s->streaming = f.cpu.vectors_fill_lines() && f.points * f.form.out_channels * f.form.channels * 4 > f.cpu.l3_bytes / 2;
}

Estimate FilterOf(const Facts& f) {
  Estimate estimate;
  WinogradSchedule& s = estimate.schedule;
  const int64_t rows = f.form.out_channels;
  s.tile = f.tile;
  const int64_t vectors = Ceil(f.tiles, f.lanes);
  std::tie(s.mr, s.nv) = vectors <= 4 ? TileFor(vectors, f.cpu) : f.cpu.isa == Isa::kAvx512 ? std::pair(8, 3) : std::pair(4, 2);
  s.mr = static_cast<int>(std::min<int64_t>(s.mr, rows));
  const int64_t block = s.nv * f.lanes, blocks = Ceil(f.tiles, block);
  const double points = static_cast<double>(f.points), channels = static_cast<double>(f.form.channels), columns = static_cast<double>(blocks * block);
  s.mc = RoundUp(Ceil(rows, Ceil(kTasks, blocks)), s.mr);
  const double weights = points * static_cast<double>(rows) * channels;
  const double whole = f.MemoryCycles(kWeights, weights), parts = f.Cycles(kTaskWeights, weights) * static_cast<double>(blocks);
  parts < whole ? SetTaskWeights(f, &s) : SetPhaseWeights(f, &s);
  estimate.cycles = f.Cycles(1 / kProducts, points * static_cast<double>(RoundUp(rows, s.mr)) * channels * columns) +
                    f.Cycles(kTransform, points * channels * f.RunTiles()) + f.Cycles(kTransform, points * static_cast<double>(rows) * columns) +
                    std::min(whole, parts);
  return estimate;
}

// The sums of a task's channels fill half of the cache.
Estimate GradientOf(const Facts& f) {
  Estimate estimate;
  WinogradSchedule& s = estimate.schedule;
  const int64_t rows = f.form.channels;
  s.tile = f.tile;
  std::tie(s.mr, s.nv) = TileFor(Ceil(f.form.out_channels, f.lanes), f.cpu);
  s.mr = static_cast<int>(std::min<int64_t>(s.mr, rows));
  const int64_t row = RoundUp(f.form.out_channels, s.nv * f.lanes);
  const int64_t fitting = std::max<int64_t>(f.cpu.l2_bytes / 2 / (f.points * row * 4), 1), blocks = Ceil(rows, fitting);
  s.mc = s.mb = RoundUp(Ceil(rows, blocks), s.mr);
  s.kc = 32;
  s.k_split = std::clamp<int64_t>(Ceil(kTasks, Ceil(rows, s.mc)), 1, std::max<int64_t>(f.tiles / (2 * s.kc), 1));
  s.streaming = f.cpu.vectors_fill_lines() && f.points * f.tiles * row * 4 > f.cpu.l3_bytes / 4;
  const double points = static_cast<double>(f.points), channels = static_cast<double>(RoundUp(rows, s.mr)), columns = static_cast<double>(row);
  estimate.cycles = f.Cycles(1 / kGradientProducts, points * channels * columns * static_cast<double>(f.tiles)) +
                    f.Cycles(kTransform, points * static_cast<double>(rows) * f.RunTiles()) +
                    f.MemoryCycles(kPixelGradient, points * static_cast<double>(f.form.out_channels * f.tiles)) +
                    f.Cycles(kTransform * static_cast<double>(s.k_split), points * static_cast<double>(rows) * columns);
  return estimate;
}

// Whether both operands have been rounded to 16 bits.
bool OfHalves(const WinogradForm& form, const KernelPlan& plan) {
  return IsHalf(plan.args[form.data->arg].dtype) && IsHalf(plan.args[form.other->arg].dtype);
}

Estimate EstimateOf(const Facts& facts) { return facts.form.gradient ? GradientOf(facts) : FilterOf(facts); }

}  // namespace

std::string ValidateWinograd(const WinogradSchedule& s, const KernelPlan& plan, const CpuTarget& cpu) {
  const auto form = WinogradForm::Of(plan);
  if (!form) return "the contraction is no convolution of stride 1 with a square kernel";
  const int size = s.tile + form->taps - 1;
  if ((s.tile != 2 && s.tile != 4) || (size != 4 && size != 6 && size != 8)) return "there are no such transforms";
  if (size == 8 && !OfHalves(*form, plan)) return "transforms at 8 points are for bf16 and f16";
  if (s.mr < 1 || s.nv < 1 || TileRegisters(s.mr, s.nv) > cpu.vector_registers()) return "the register tile needs too many registers";
  if (s.mc < 1 || s.mb < 1 || s.kc < 1 || s.k_split < 1) return "a block is empty";
  if (s.weights == ContractSchedule::Pack::kNone) return "weights are transformed in a phase or by tasks";
  if (s.weights == ContractSchedule::Pack::kTask && form->gradient) return "a gradient has no weights";
  if (s.weights == ContractSchedule::Pack::kTask && s.streaming) return "weights that a task transforms stay in the cache";
  if (s.mb % s.mr != 0 || s.mc % s.mr != 0) return "a block is no multiple of the tile's rows";
  if (form->gradient ? s.mb != s.mc : s.k_split != 1) return form->gradient ? "mb is not mc" : "only a gradient splits k";
  if (form->gradient && s.kc % (cpu.vector_bytes() / 4) != 0) return "kc is no multiple of the vector";
  const Facts facts(*form, plan, s.tile, cpu);
  const int64_t panel = s.nv * facts.lanes, row = RoundUp(form->out_channels, panel);
  const int64_t largest = form->gradient ? std::max({facts.tiles * row, s.mc * row, s.mc * (s.kc + 2 * facts.lanes), s.k_split * form->channels * row})
                                         : std::max({form->out_channels * (form->channels + 2 * facts.lanes), form->channels * panel, s.mb * panel});
  if (largest > kMostBytes / (facts.points * 4)) return "a transformed operand is too large";
  return "";
}

std::optional<WinogradSchedule> DefaultWinograd(const KernelPlan& plan, const CpuTarget& cpu) {
  const auto form = WinogradForm::Of(plan);
  if (!form) return std::nullopt;
  const auto& contract = std::get<ContractPlan>(plan.detail);
  const double multiplies = static_cast<double>(contract.batch) * contract.m * contract.n * contract.k;
  if (multiplies < kFewestMultiplies) return std::nullopt;
  std::optional<WinogradSchedule> best;
  // Products of pairs of bf16 take half as long; those of transformed operands are f32.
  double least = multiplies / (cpu.vector_bytes() / 4) / kProducts / (DefaultContract(plan, cpu).pairs ? 2 : 1);
  for (int tile : {4, 2}) {
    const Estimate estimate = EstimateOf(Facts(*form, plan, tile, cpu));
    if (!ValidateWinograd(estimate.schedule, plan, cpu).empty() || estimate.cycles >= least) continue;
    best = estimate.schedule, least = estimate.cycles;
  }
  return best;
}

std::vector<WinogradSchedule> WinogradSpace(const KernelPlan& plan, const CpuTarget& cpu) {
  std::vector<WinogradSchedule> space;
  const auto form = WinogradForm::Of(plan);
  if (!form) return space;
  for (int tile : {4, 2}) {
    const Facts facts(*form, plan, tile, cpu);
    const WinogradSchedule first = EstimateOf(facts).schedule;
    const auto add = [&](const auto& change) {
      WinogradSchedule s = first;
      change(s);
      if (ValidateWinograd(s, plan, cpu).empty() && std::find(space.begin(), space.end(), s) == space.end()) space.push_back(s);
    };
    add([](WinogradSchedule&) {});
    add([](WinogradSchedule& s) { s.maker = ContractSchedule::Maker::kCpp; });
    add([](WinogradSchedule& s) { s.streaming = !s.streaming; });
    if (!form->gradient) {
      add([&](WinogradSchedule& s) { SetTaskWeights(facts, &s); });
      add([&](WinogradSchedule& s) { SetPhaseWeights(facts, &s); });
    }
    for (int64_t rows : {8, 16, 64}) {
      add([&](WinogradSchedule& s) {
        s.mb = RoundUp(rows, s.mr);
        if (form->gradient) s.mc = s.mb;
      });
    }
    for (auto [mr, nv] : {std::pair(12, 2), std::pair(6, 4), std::pair(4, 2), std::pair(6, 2)}) {
      add([&, mr = mr, nv = nv](WinogradSchedule& s) {
        s.mr = mr, s.nv = nv, s.mc = RoundUp(first.mc, mr), s.mb = form->gradient ? s.mc : RoundUp(32, mr);
      });
    }
    for (int64_t kc : {16, 48, 64}) {
      if (form->gradient) add([&](WinogradSchedule& s) { s.kc = kc; });
    }
  }
  return space;
}

}  // namespace athanor
