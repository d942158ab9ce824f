#include <algorithm>
#include <cmath>

#include "jit/body_emitter.h"
#include "jit/codegen_cpp.h"
#include "jit/contract_epilogue.h"
#include "jit/contract_space.h"
#include "jit/microkernel.h"
#include "jit/winograd.h"
#include "ops/error.h"

namespace athanor {
namespace {

int64_t Ceil(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t RoundUp(int64_t a, int64_t b) { return Ceil(a, b) * b; }

std::vector<std::string> Names(std::string_view stem, int count) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) names.push_back(fmt::format("{}{}", stem, i));
  return names;
}

// The kernel: a phase that transforms the weights into [size * size][rows][channels], then tasks that each own a block of tiles and some
// rows. A task transforms the windows of its tiles into [size * size][channels][tiles], multiplies point by point, `mb` rows at a time, and
// transforms the products back into pixels, which the epilogue finishes. Tiles are numbered through all images.
class WinogradGenerator {
 public:
  WinogradGenerator(const KernelPlan& plan, const WinogradSchedule& schedule, const CpuTarget& cpu)
      : plan_(plan),
        contract_(std::get<ContractPlan>(plan.detail)),
        form_(*WinogradForm::Of(plan)),
        schedule_(schedule),
        isa_(cpu.isa),
        lanes_(cpu.vector_bytes() / 4),
        size_(schedule.tile + form_.taps - 1),
        transforms_(MakeWinogradTransforms(schedule.tile, form_.taps)),
        prelude_(cpu.isa, lanes_) {
    tiles_x_ = Ceil(form_.x.out, schedule.tile), tiles_y_ = Ceil(form_.y.out, schedule.tile);
    tiles_ = contract_.batch * form_.images * tiles_y_ * tiles_x_;
    block_ = static_cast<int64_t>(schedule.nv) * lanes_;
    weight_row_ = Spread(RoundUp(form_.channels, lanes_));
    weight_point_ = Spread(form_.rows * weight_row_);
    data_point_ = Spread(form_.channels * block_ + lanes_);  // a run of tiles is written in whole vectors
    product_point_ = Spread(schedule.mb * block_);
    pixel_row_ = schedule.tile * block_;
  }

  KernelSource Generate() {
    KernelSource source;
    source.temporary_bytes.push_back(size_ * size_ * weight_point_ * 4);
    WriteContractEpilogue(plan_, schedule_.tile * pixel_row_, &prelude_, &out_);
    WriteWeights(&source);
    WriteData();
    WriteOutput();
    WriteTiles(&source);
    source.text = SourceHeader(plan_, schedule_) + prelude_.Text() + "\n" + out_.text();
    return source;
  }

 private:
  // A distance in elements that is no multiple of 512 bytes: it would map to few sets of the cache.
  int64_t Spread(int64_t elements) const { return elements % 128 == 0 ? elements + lanes_ : elements; }
  // One value of an operand in memory, as f32.
  std::string Value(const Operand& operand, const std::string& element) {
    const DType memory = plan_.args[operand.arg].dtype;
    if (memory == DType::kF32) return element;
    prelude_.Use(Name(memory));
    return fmt::format("{}_value({})", Name(memory), element);
  }

  void WriteWeights(KernelSource* source) {
    const int taps = form_.taps;
    for (const char* helper : {"load", "store"}) prelude_.Use(helper, DType::kF32);
    if (schedule_.streaming) prelude_.Use("stream", DType::kF32), prelude_.Use("fence");
    out_.Comment(fmt::format("Rows of weights, {0} x {0} taps each, as {1} x {1} points.", taps, size_));
    out_.Open("extern \"C\" void weights(char* const* args, long begin, long end, char* scratch)");
    DeclareArgs(plan_.args, &out_);
    BodyEmitter emitter(contract_.a, plan_.args, &prelude_, &out_);
    emitter.SetIndex(0, "0");
    out_.Open("for (long m = begin; m < end; ++m)");
    out_.Line("float* const to = (float*)args[{}] + m * {};", plan_.args.size(), weight_row_);
    emitter.SetIndex(1, "m");
    emitter.SetIndex(2, "0");
    out_.Line("const {}* const from = {};", MemoryType(plan_.args[form_.weights->arg].dtype), emitter.Pointer(*form_.weights));
    out_.Open("for (long c = 0; c < {}; c += {})", form_.channels, lanes_);
    out_.Line("float taps[{}][{}];", taps * taps, lanes_);
    out_.Open("for (long i = 0; i < {}; ++i)", lanes_);
    // Behind the last channel it stands again: nobody reads it there.
    out_.Line("const {0}* const g = from + (c + i < {1} ? c + i : {1} - 1) * {2};", MemoryType(plan_.args[form_.weights->arg].dtype),
              form_.channels, form_.weight_channel);
    for (int y = 0; y < taps; ++y) {
      for (int x = 0; x < taps; ++x) {
        out_.Line("taps[{}][i] = {};", y * taps + x, Value(*form_.weights, fmt::format("g[{}]", form_.first_tap + y * form_.tap_y + x * form_.tap_x)));
      }
    }
    out_.Close();
    for (int x = 0; x < taps; ++x) {
      std::vector<std::string> down(taps);
      for (int y = 0; y < taps; ++y) down[y] = fmt::format("load(taps[{}])", y * taps + x);
      const std::vector<std::string> loaded = Names(fmt::format("g{}_", x), taps);
      for (int y = 0; y < taps; ++y) out_.Line("const vf32 {} = {};", loaded[y], down[y]);
      WriteLinearMap(transforms_.weights, loaded, Names(fmt::format("h{}_", x), size_), &out_);
    }
    for (int i = 0; i < size_; ++i) {
      std::vector<std::string> across(taps);
      for (int x = 0; x < taps; ++x) across[x] = fmt::format("h{}_{}", x, i);
      const std::vector<std::string> points = Names(fmt::format("u{}_", i), size_);
      WriteLinearMap(transforms_.weights, across, points, &out_);
      for (int j = 0; j < size_; ++j) out_.Line("{}(to + {} + c, {});", schedule_.streaming ? "stream" : "store", (i * size_ + j) * weight_point_, points[j]);
    }
    for (int depth = 0; depth < 2; ++depth) out_.Close();
    if (schedule_.streaming) out_.Line("fence();");
    out_.Close();
    out_.Blank();
    source->phases.push_back({"weights", form_.rows});
  }

  // Image, row and column of tile `p`.
  void WriteTileIndex() {
    out_.Line("const long tx = p % {0}, ty = p / {0} % {1}, image = p / {2};", tiles_x_, tiles_y_, tiles_x_ * tiles_y_);
    out_.Line("const long run = {0} - tx < p1 - p ? {0} - tx : p1 - p;", tiles_x_);
  }

  std::string ImageOffset() const {
    std::string text = std::to_string(form_.offset - form_.y.origin * form_.y.stride - form_.x.origin);
    int64_t below = form_.images;
    if (form_.images > 1) text += fmt::format(" + image % {} * {}", form_.images, form_.image_stride);
    for (const Digit& digit : form_.data->map.dim(0)) {
      text += fmt::format(" + image / {} % {} * {}", below, digit.extent, digit.stride);
      below *= digit.extent;
    }
    return text;
  }

  // Down the columns of a row of tiles first, whole vectors of pixels; then across, with the pixels of a tile in different vectors.
  void WriteData() {
    const int tile = schedule_.tile;
    const DType memory = plan_.args[form_.data->arg].dtype;
    const std::string tag(memory == DType::kF32 ? "f32" : "u16");
    prelude_.Use("window." + tag);
    prelude_.Use("interleave");
    out_.Comment(fmt::format("The windows of tiles [p0, p1), {0} x {0} pixels each, as {0} x {0} points.", size_));
    out_.Open("static __attribute__((noinline)) void transform_data(char* const* args, long p0, long p1, float* v)");
    DeclareArgs(plan_.args, &out_);
    const int64_t line = RoundUp(tiles_x_, lanes_) * tile + 2 * lanes_;
    out_.Line("float lines[{}][{}];", size_, line);
    out_.Open("for (long c = 0; c < {}; ++c, v += {})", form_.channels, block_);
    out_.Open("for (long p = p0; p < p1;)");
    WriteTileIndex();
    out_.Line("const long left = tx * {0} + {1}, top = ty * {0} + {2};", tile, form_.x.origin, form_.y.origin);
    out_.Line("const {}* const from = a{} + {} + c * {} + top * {} + left;", MemoryType(memory), form_.data->arg, ImageOffset(),
              form_.channel_stride, form_.y.stride);
    out_.Open("for (long q = 0; q < run * {} + {}; q += {})", tile, size_ - tile, lanes_);
    out_.Line("const long first = -(left + q), last = {} - (left + q);", form_.x.extent);
    const std::vector<std::string> pixels = Names("d", size_), points = Names("t", size_);
    for (int i = 0; i < size_; ++i) {
      const std::string load = fmt::format("load_window(from + {} + q, first, last, v{}{{}})", i * form_.y.stride, tag);
      out_.Line("const vf32 d{0} = (unsigned long)(top + {0}) < {1} ? {2} : vf32{{}};", i, form_.y.extent, Value(*form_.data, load));
    }
    WriteLinearMap(transforms_.data, pixels, points, &out_);
    for (int i = 0; i < size_; ++i) out_.Line("store(lines[{0}] + q, t{0});", i);
    out_.Close();
    out_.Open("for (long i = 0; i < {}; ++i)", size_);
    out_.Open("for (long t = 0; t < run; t += {})", lanes_);
    out_.Line("const float* const l = lines[i] + t * {};", tile);
    out_.Line("float* const to = v + i * {} + (p - p0) + t;", size_ * data_point_);
    WriteUnzip();
    WriteLinearMap(transforms_.data, Names("e", size_), Names("r", size_), &out_);
    for (int j = 0; j < size_; ++j) out_.Line("store(to + {}, r{});", j * data_point_, j);
    for (int depth = 0; depth < 2; ++depth) out_.Close();
    out_.Line("p += run;");
    for (int depth = 0; depth < 3; ++depth) out_.Close();
    out_.Blank();
  }

  // e0, e1, ...: of each tile of a line its pixel 0, 1, ...
  void WriteUnzip() {
    const int tile = schedule_.tile;
    for (int group = 0; group * tile < size_; ++group) {
      const auto at = [&](int part) { return fmt::format("load(l + {})", group * tile + part * lanes_); };
      const int first = group * tile;
      if (tile == 2) {
        out_.Line("const vf32 a{0} = {1}, b{0} = {2}, e{3} = even(a{0}, b{0}), e{4} = odd(a{0}, b{0});", group, at(0), at(1), first, first + 1);
        continue;
      }
      out_.Line("const vf32 a{0} = {1}, b{0} = {2}, c{0} = {3}, d{0} = {4};", group, at(0), at(1), at(2), at(3));
      out_.Line("const vf32 even{0}_0 = even(a{0}, b{0}), even{0}_1 = even(c{0}, d{0}), odd{0}_0 = odd(a{0}, b{0}), odd{0}_1 = odd(c{0}, d{0});",
                group);
      for (int j = 0; j < tile && first + j < size_; ++j) {
        const char* parity = j % 2 == 0 ? "even" : "odd";
        out_.Line("const vf32 e{0} = {1}({2}{3}_0, {2}{3}_1);", first + j, j < 2 ? "even" : "odd", parity, group);
      }
    }
  }

  // The products of `rows` rows as pixels, [rows][tile][tile * tiles].
  void WriteOutput() {
    const int tile = schedule_.tile;
    out_.Comment(fmt::format("Products at {0} x {0} points as {1} x {1} pixels, which lie side by side.", size_, tile));
    out_.Open("static __attribute__((noinline)) void transform_output(const float* from, long rows, float* to)");
    out_.Open("for (long i = 0; i < rows; ++i, from += {}, to += {})", block_, tile * pixel_row_);
    out_.Open("for (long p = 0; p < {}; p += {})", block_, lanes_);
    for (int j = 0; j < size_; ++j) {
      const std::vector<std::string> products = Names(fmt::format("m{}_", j), size_);
      for (int i = 0; i < size_; ++i) out_.Line("const vf32 {} = load(from + {} + p);", products[i], (i * size_ + j) * product_point_);
      WriteLinearMap(transforms_.output, products, Names(fmt::format("s{}_", j), tile), &out_);
    }
    for (int i = 0; i < tile; ++i) {
      std::vector<std::string> across(size_);
      for (int j = 0; j < size_; ++j) across[j] = fmt::format("s{}_{}", j, i);
      const std::string y = fmt::format("y{}_", i);
      WriteLinearMap(transforms_.output, across, Names(y, tile), &out_);
      const std::string at = fmt::format("to + {} + p * {}", i * pixel_row_, tile);
      if (tile == 2) {
        out_.Line("store({0}, zip_low({1}0, {1}1)), store({0} + {2}, zip_high({1}0, {1}1));", at, y, lanes_);
        continue;
      }
      out_.Line("const vf32 a{0} = zip_low({1}0, {1}2), b{0} = zip_low({1}1, {1}3), c{0} = zip_high({1}0, {1}2), d{0} = zip_high({1}1, {1}3);",
                i, y);
      out_.Line("store({0}, zip_low(a{1}, b{1})), store({0} + {2}, zip_high(a{1}, b{1}));", at, i, lanes_);
      out_.Line("store({0} + {2}, zip_low(c{1}, d{1})), store({0} + {3}, zip_high(c{1}, d{1}));", at, i, 2 * lanes_, 3 * lanes_);
    }
    for (int depth = 0; depth < 3; ++depth) out_.Close();
    out_.Blank();
  }

  void WriteMicrokernel(bool tail) {
    Microkernel kernel;
    kernel.name = tail ? "tile_m" : "tile";
    kernel.mr = tail ? static_cast<int>(form_.rows % schedule_.mr) : schedule_.mr;
    kernel.nv = schedule_.nv;
    kernel.a_row = weight_row_, kernel.a_step = 1;
    kernel.b_step = block_, kernel.c_row = block_;
    if (schedule_.maker == ContractSchedule::Maker::kAsmjit && WriteMicrokernelAsmjit(kernel, isa_, &prelude_, &out_)) return;
    WriteMicrokernelCpp(kernel, &prelude_, &out_);
  }

  void WriteTiles(KernelSource* source) {
    const int tile = schedule_.tile, mr = schedule_.mr;
    const bool whole = form_.rows >= mr, tail = form_.rows % mr != 0;
    if (whole) WriteMicrokernel(false);
    if (tail) WriteMicrokernel(true);
    const int64_t row_tasks = Ceil(form_.rows, schedule_.mc);
    int64_t scratch = 0;
    const auto place = [&](int64_t elements) {
      const int64_t offset = scratch;
      scratch += RoundUp(elements * 4, 64) + 64;
      return offset;
    };
    const int64_t data = place(size_ * size_ * data_point_), products = place(size_ * size_ * product_point_),
                  pixels = place(schedule_.mb * tile * pixel_row_);
    source->scratch_bytes = scratch;
    out_.Open("extern \"C\" void tiles(char* const* args, long begin, long end, char* scratch)");
    out_.Line("float* const v = (float*)(scratch + {});", data);
    out_.Line("float* const products = (float*)(scratch + {});", products);
    out_.Line("float* const pixels = (float*)(scratch + {});", pixels);
    out_.Line("long transformed = -1;");
    out_.Open("for (long task = begin; task < end; ++task)");
    out_.Line("const long block = task / {};", row_tasks);
    out_.Line("const long m0 = task % {0} * {1}, m1 = m0 + {1} < {2} ? m0 + {1} : {2};", row_tasks, schedule_.mc, form_.rows);
    out_.Line("const long p0 = block * {0}, p1 = p0 + {0} < {1} ? p0 + {0} : {1};", block_, tiles_);
    out_.Line("if (transformed != block) transform_data(args, p0, p1, v);");
    out_.Line("transformed = block;");
    out_.Open("for (long m = m0; m < m1; m += {})", schedule_.mb);
    out_.Line("const long rows = m + {0} < m1 ? {0} : m1 - m;", schedule_.mb);
    out_.Open("for (long point = 0; point < {}; ++point)", size_ * size_);
    out_.Line("const float* a = (const float*)args[{}] + point * {} + m * {};", plan_.args.size(), weight_point_, weight_row_);
    out_.Line("const float* const b = v + point * {};", data_point_);
    out_.Line("float* c = products + point * {};", product_point_);
    const auto call = [&](bool of_tail) { return fmt::format("{}(a + k, b + k * {}, c, channels, k == 0);", of_tail ? "tile_m" : "tile", block_); };
    out_.Open("for (long i = 0; i < rows; i += {0}, a += {1}, c += {2})", mr, mr * weight_row_, mr * block_);
    out_.Open("for (long k = 0; k < {}; k += {})", form_.channels, schedule_.kc);
    out_.Line("const long channels = k + {0} < {1} ? {0} : {1} - k;", schedule_.kc, form_.channels);
    if (whole && tail) {
      out_.Line("if (rows - i >= {}) {} else {}", mr, call(false), call(true));
    } else {
      out_.Line("{}", call(tail));
    }
    for (int depth = 0; depth < 3; ++depth) out_.Close();
    out_.Line("transform_output(products, rows, pixels);");
    out_.Open("for (long p = p0; p < p1;)");
    WriteTileIndex();
    out_.Open("for (long i = 0; i < {0} && ty * {0} + i < {1}; ++i)", tile, form_.y.out);
    out_.Line("const long n0 = {}(ty * {} + i) * {} + tx * {};", form_.images > 1 ? fmt::format("image % {} * {} + ", form_.images, form_.x.out * form_.y.out) : "",
              tile, form_.x.out, tile);
    out_.Line("const long width = run * {0} < {1} - tx * {0} ? run * {0} : {1} - tx * {0};", tile, form_.x.out);
    out_.Line("epilogue(args, image / {}, m, rows, n0, n0 + width, pixels + i * {} + (p - p0) * {});", form_.images, pixel_row_, tile);
    out_.Close();
    out_.Line("p += run;");
    for (int depth = 0; depth < 4; ++depth) out_.Close();
    source->phases.push_back({"tiles", Ceil(tiles_, block_) * row_tasks});
  }

  const KernelPlan& plan_;
  const ContractPlan& contract_;
  const WinogradForm form_;
  const WinogradSchedule& schedule_;
  Isa isa_;
  int lanes_, size_;
  WinogradTransforms transforms_;
  Prelude prelude_;
  SourceWriter out_;
  int64_t tiles_x_, tiles_y_, tiles_, block_;
  // Elements from row to row, and from point to point.
  int64_t weight_row_, weight_point_, data_point_, product_point_, pixel_row_;
};

// ---- schedules

constexpr int64_t kTasks = 12;                               // enough for a few cores to end together
constexpr int64_t kFewestMultiplies = int64_t{1} << 22;      // below, a kernel isn't worth its transforms' code

struct Costs {
  WinogradSchedule schedule;
  double cycles = 0;
};

// Cycles of one core.
Costs Estimate(const WinogradForm& form, const ContractPlan& contract, int tile, const CpuTarget& cpu) {
  const int lanes = cpu.vector_bytes() / 4, size = tile + form.taps - 1;
  const int64_t tiles = contract.batch * form.images * Ceil(form.x.out, tile) * Ceil(form.y.out, tile), points = size * size;
  Costs costs;
  WinogradSchedule& s = costs.schedule;
  s.tile = tile;
  s.mr = cpu.isa == Isa::kAvx512 ? 8 : 4, s.nv = cpu.isa == Isa::kAvx512 ? 3 : 2;
  if (tiles <= 2 * lanes) {
    s.nv = static_cast<int>(Ceil(tiles, lanes));
    if (cpu.isa == Isa::kAvx512) s.mr = s.nv == 2 ? 12 : 16;
  }
  s.mr = static_cast<int>(std::min<int64_t>(s.mr, form.rows));
  const int64_t block = s.nv * lanes, blocks = Ceil(tiles, block);
  s.mc = RoundUp(Ceil(form.rows, Ceil(kTasks, blocks)), s.mr);
  s.mb = std::min(RoundUp(32, s.mr), s.mc);
  s.kc = form.channels <= 64 ? 32 : 64;
  s.streaming = points * form.rows * form.channels * 4 > cpu.l3_bytes / 2;
  const double products = static_cast<double>(points) * RoundUp(form.rows, s.mr) * form.channels * blocks * block / lanes / 0.85;
  const double row_waste = static_cast<double>(RoundUp(Ceil(form.x.out, tile), lanes)) / Ceil(form.x.out, tile);
  const double data = 0.6 * points * form.channels * tiles * row_waste / lanes, output = 0.6 * points * form.rows * blocks * block / lanes;
  costs.cycles = products + data + output + 1.5 * points * form.rows * form.channels / lanes;
  return costs;
}

}  // namespace

KernelSource GenerateCppWinograd(const KernelPlan& plan, const WinogradSchedule& schedule, const CpuTarget& cpu) {
  return WinogradGenerator(plan, schedule, cpu).Generate();
}

std::string ValidateWinograd(const WinogradSchedule& s, const KernelPlan& plan, const CpuTarget& cpu) {
  const auto form = WinogradForm::Of(plan);
  if (!form) return "the contraction is no convolution of stride 1 with a square kernel";
  if ((s.tile != 2 && s.tile != 4) || (s.tile + form->taps - 1 != 4 && s.tile + form->taps - 1 != 6)) return "there are no such transforms";
  if (s.mr < 1 || s.nv < 1 || TileRegisters(s.mr, s.nv) > cpu.vector_registers()) return "the register tile needs too many registers";
  if (s.mc < 1 || s.mb < 1 || s.kc < 1 || s.mb % s.mr != 0 || s.mc % s.mr != 0) return "a block is no multiple of the tile's rows";
  const int64_t points = (s.tile + form->taps - 1) * (s.tile + form->taps - 1);
  if (points * (form->channels * s.nv * cpu.vector_bytes() + s.mb * s.nv * cpu.vector_bytes()) > (256 << 20)) return "a task's block is too large";
  return "";
}

std::optional<WinogradSchedule> DefaultWinograd(const KernelPlan& plan, const CpuTarget& cpu) {
  const auto form = WinogradForm::Of(plan);
  if (!form) return std::nullopt;
  const auto& contract = std::get<ContractPlan>(plan.detail);
  const double multiplies = static_cast<double>(contract.batch) * contract.m * contract.n * contract.k;
  if (multiplies < kFewestMultiplies) return std::nullopt;
  std::optional<WinogradSchedule> best;
  const int lanes = cpu.vector_bytes() / 4;
  double least = multiplies / lanes / 0.85;
  for (int tile : {4, 2}) {
    const Costs costs = Estimate(*form, contract, tile, cpu);
    if (ValidateWinograd(costs.schedule, plan, cpu).empty() && costs.cycles < least) best = costs.schedule, least = costs.cycles;
  }
  return best;
}

std::vector<WinogradSchedule> WinogradSpace(const KernelPlan& plan, const CpuTarget& cpu) {
  std::vector<WinogradSchedule> space;
  const auto form = WinogradForm::Of(plan);
  if (!form) return space;
  const auto add = [&](const WinogradSchedule& s) {
    if (ValidateWinograd(s, plan, cpu).empty() && std::find(space.begin(), space.end(), s) == space.end()) space.push_back(s);
  };
  for (int tile : {4, 2}) {
    const WinogradSchedule first = Estimate(*form, std::get<ContractPlan>(plan.detail), tile, cpu).schedule;
    add(first);
    WinogradSchedule s = first;
    s.maker = ContractSchedule::Maker::kAsmjit;
    add(s);
    for (int64_t rows : {1, 2, 8}) {
      s = first;
      s.mb = RoundUp(8 * rows, s.mr);
      add(s);
    }
    for (auto [mr, nv] : {std::pair(12, 2), std::pair(6, 4), std::pair(4, 2), std::pair(6, 2)}) {
      s = first;
      s.mr = mr, s.nv = nv, s.mb = RoundUp(32, mr), s.mc = RoundUp(first.mc, mr);
      add(s);
    }
  }
  return space;
}

}  // namespace athanor
