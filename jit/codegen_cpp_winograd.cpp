#include <algorithm>
#include <cstdlib>
#include <functional>

#include "jit/body_emitter.h"
#include "jit/codegen_cpp.h"
#include "jit/contract_epilogue.h"
#include "jit/integer_math.h"
#include "jit/microkernel.h"
#include "jit/winograd_writer.h"
#include "ops/error.h"

namespace athanor {
namespace {

// The kernel: tasks that each own a block of tiles and some rows. A task transforms the windows of its tiles into [size * size][channels][tiles],
// multiplies point by point, `mb` rows at a time, and transforms the products back into pixels, which the epilogue finishes. Tiles are numbered
// through all images. Weights become [size * size][rows][channels] in a phase before. Or the task transforms them, part by part, so that they need
// not go through memory, where they are several times as large as before; then the windows, of few tiles, have the phase.
class WinogradGenerator {
 public:
  WinogradGenerator(const KernelPlan& plan, const WinogradSchedule& schedule, const CpuTarget& cpu)
      : plan_(plan),
        contract_(std::get<ContractPlan>(plan.detail)),
        form_(*WinogradForm::Of(plan)),
        schedule_(schedule),
        lanes_(cpu.vector_bytes() / 4),
        size_(schedule.tile + form_.taps - 1),
        transforms_(MakeWinogradTransforms(schedule.tile, form_.taps)),
        prelude_(cpu, lanes_),
        writer_(plan, form_, schedule.tile, &prelude_, &out_) {
    block_ = static_cast<int64_t>(schedule.nv) * lanes_;
    weight_row_ = Spread(RoundUp(by_task() ? std::min(schedule.kc, form_.channels) : form_.channels, lanes_), lanes_);
    weight_point_ = Spread((by_task() ? schedule.mb : form_.out_channels) * weight_row_, lanes_);
    // Of each row whole vectors are written: those of a phase may not reach the next row, which may be another thread's.
    data_row_ = by_task() ? block_ + lanes_ : block_;
    data_point_ = Spread(form_.channels * data_row_ + lanes_, lanes_);
    product_point_ = Spread(schedule.mb * block_, lanes_);
    pixel_row_ = schedule.tile * block_;
  }

  KernelSource Generate() {
    KernelSource source;
    ContractMoments moments(plan_, {}, &prelude_, &out_);
    epilogue_numbers_ = WriteContractEpilogue(plan_, {.c_row = schedule_.tile * pixel_row_}, &moments, &prelude_, &out_);
    WriteTransformWeights();
    writer_.WriteData(transforms_.data, block_, data_row_, data_point_);
    by_task() ? WriteWindowsPhase(&source) : WriteWeightsPhase(&source);
    WriteOutput();
    WriteTiles(&source);
    moments.WritePhase(&source);
    source.text = SourceHeader(plan_, schedule_) + prelude_.Text() + "\n" + out_.text();
    return source;
  }

 private:
  static constexpr int64_t kPartChannels = 16;               // whose windows one task of their phase transforms

  bool by_task() const { return schedule_.weights == ContractSchedule::Pack::kTask; }

  void WriteTransformWeights() {
    const int taps = form_.taps;
    const std::string_view memory = MemoryType(plan_.args[form_.other->arg].dtype);
    const int64_t line = 64 / SizeOf(plan_.args[form_.other->arg].dtype);
    const bool fetches = by_task() && TapsAreTogether() && form_.weight_channel == taps * taps;  // other rows come before the next part of this one
    for (const char* helper : {"load", "store"}) prelude_.Use(helper, DType::kF32);
    if (schedule_.streaming) prelude_.Use("stream", DType::kF32);
    prelude_.Use("routine");
    out_.Comment(fmt::format("The weights of channels [c0, c1) of a row, {0} x {0} taps each, as {1} x {1} points.", taps, size_));
    out_.Open("ROUTINE void transform_taps(const {}* from, long channels, long channel, long c0, long c1, float* to, long point{})", memory, fetches ? ", long ahead" : "");
    out_.Open("for (long c = c0; c < c1; c += {})", lanes_);
    for (int64_t at = 0; fetches && at < lanes_ * form_.weight_channel; at += line) {
      out_.Line("__builtin_prefetch(from + (c + ahead) * {} + {}, 0, 2);", form_.weight_channel, at);
    }
    // Behind the last channel it stands again: nobody reads it there.
    const std::string channel = "from + (c + i < channels ? c + i : channels - 1) * channel";
    TapsAreTogether() ? WriteTransposedTaps(channel) : WriteSingleTaps(channel);
    std::vector<std::vector<std::string>> square;
    for (int y = 0; y < taps; ++y) square.push_back(WinogradNames(fmt::format("tap{}_", y), taps));
    for (int i = 0; i < size_; ++i) {
      out_.Line("float* const row{} = {};", i, i == 0 ? "to + (c - c0)" : fmt::format("row{} + {} * point", i - 1, size_));
    }
    writer_.WriteTwice(transforms_.weights, square, fmt::format("{}(row$i + $j * point, $v);", schedule_.streaming ? "stream" : "store"));
    for (int depth = 0; depth < 2; ++depth) out_.Close();
    out_.Blank();

    out_.Comment("The weights of rows [m0, m1) and channels [c0, c1).");
    out_.Open("INLINE void transform_weights(char* const* args, long m0, long m1, long c0, long c1, float* to)");
    DeclareArgs(plan_.args, &out_);
    BodyEmitter emitter(contract_.a, plan_.args, &prelude_, &out_);
    emitter.SetIndex(0, "0");
    emitter.SetIndex(1, "m");
    emitter.SetIndex(2, "0");
    out_.Open("for (long m = m0; m < m1; ++m, to += {})", weight_row_);
    out_.Line("transform_taps({}, {}, {}, c0, c1, to, {}{});", emitter.Pointer(*form_.other), form_.channels, form_.weight_channel, weight_point_,
              fetches ? fmt::format(", {}", schedule_.kc) : "");
    for (int depth = 0; depth < 2; ++depth) out_.Close();
    out_.Blank();
  }

  int64_t TapAt(int y, int x) const { return form_.first_tap + y * form_.tap_y + x * form_.tap_x; }

  // The taps of a channel lie side by side, in whatever order.
  bool TapsAreTogether() const {
    const auto [near, far] = std::minmax({std::abs(form_.tap_y), std::abs(form_.tap_x)});
    const int last = form_.taps - 1;
    return near == 1 && far == form_.taps && std::min({TapAt(0, 0), TapAt(0, last), TapAt(last, 0), TapAt(last, last)}) == 0;
  }

  // Vectors along the taps of each channel, transposed in registers. `channel`: where those of c + i lie.
  void WriteTransposedTaps(const std::string& channel) {
    prelude_.Use("transpose", DType::kF32);
    const int taps = form_.taps * form_.taps;
    for (int group = 0; group * lanes_ < taps; ++group) {
      out_.Line("vf32 g{}[{}];", group, lanes_);
      out_.Unroll();
      out_.Open("for (long i = 0; i < {}; ++i)", lanes_);
      out_.Line("const long first = 0, last = {};", taps - group * lanes_);
      out_.Line("g{}[i] = {};", group, writer_.Pixels(*form_.other, fmt::format("{} + {}", channel, group * lanes_)));
      out_.Close();
      out_.Line("transpose(g{});", group);
    }
    ForEachTap([&](int y, int x) { return fmt::format("g{}[{}]", TapAt(y, x) / lanes_, TapAt(y, x) % lanes_); });
  }

  // Tap by tap.
  void WriteSingleTaps(const std::string& channel) {
    out_.Line("float taps[{}][{}];", form_.taps * form_.taps, lanes_);
    out_.Open("for (long i = 0; i < {}; ++i)", lanes_);
    out_.Line("const {}* const g = {};", MemoryType(plan_.args[form_.other->arg].dtype), channel);
    for (int y = 0; y < form_.taps; ++y) {
      for (int x = 0; x < form_.taps; ++x) {
        out_.Line("taps[{}][i] = {};", y * form_.taps + x, writer_.Value(*form_.other, fmt::format("g[{}]", TapAt(y, x))));
      }
    }
    out_.Close();
    ForEachTap([&](int y, int x) { return fmt::format("load(taps[{}])", y * form_.taps + x); });
  }

  void ForEachTap(const std::function<std::string(int, int)>& value) {
    for (int y = 0; y < form_.taps; ++y) {
      for (int x = 0; x < form_.taps; ++x) out_.Line("const vf32 tap{}_{} = {};", y, x, value(y, x));
    }
  }

  void WriteWeightsPhase(KernelSource* source) {
    source->temporary_bytes.push_back(size_ * size_ * weight_point_ * 4);
    out_.Open("extern \"C\" void weights(char* const* args, long begin, long end, char* scratch)");
    out_.Line("transform_weights(args, begin, end, 0, {}, (float*)args[{}] + begin * {});", form_.channels, plan_.args.size(), weight_row_);
    if (schedule_.streaming) prelude_.Use("fence"), out_.Line("fence();");
    out_.Close();
    out_.Blank();
    source->phases.push_back({"weights", form_.out_channels});
  }

  void WriteWindowsPhase(KernelSource* source) {
    const int64_t blocks = Ceil(writer_.tiles(), block_), parts = Ceil(form_.channels, kPartChannels);
    source->temporary_bytes.push_back(blocks * size_ * size_ * data_point_ * 4);
    out_.Open("extern \"C\" void windows(char* const* args, long begin, long end, char* scratch)");
    out_.Open("for (long task = begin; task < end; ++task)");
    out_.Line("const long block = task / {0}, c0 = task % {0} * {1}, c1 = c0 + {1} < {2} ? c0 + {1} : {2};", parts, kPartChannels, form_.channels);
    out_.Line("const long p0 = block * {0}, p1 = p0 + {0} < {1} ? p0 + {0} : {1};", block_, writer_.tiles());
    out_.Line("transform_data(args, c0, c1, p0, p1, (float*)args[{}] + block * {} + c0 * {});", plan_.args.size(), size_ * size_ * data_point_, data_row_);
    out_.Close();
    out_.Close();
    out_.Blank();
    source->phases.push_back({"windows", blocks * parts});
  }

  // The products of `rows` rows as pixels, [rows][tile][tile * tiles].
  void WriteOutput() {
    const int tile = schedule_.tile;
    prelude_.Use("routine");
    out_.Comment(fmt::format("Products at {0} x {0} points as {1} x {1} pixels, which lie side by side.", size_, tile));
    out_.Open("ROUTINE void transform_output(const float* from, long rows, long tiles, long point, float* to)");
    out_.Open("for (long i = 0; i < rows; ++i, from += tiles, to += {} * tiles)", tile * tile);
    out_.Open("for (long p = 0; p < tiles; p += {})", lanes_);
    out_.Line("const float* x = from + p;");
    for (int j = 0; j < size_; ++j) {
      const std::vector<std::string> products = WinogradNames(fmt::format("m{}_", j), size_);
      for (int i = 0; i < size_; ++i) out_.Line("const vf32 {} = load(x + {} * point);", products[i], i * size_);
      out_.Line("x += point;");
      WriteLinearMap(transforms_.output, products, WinogradNames(fmt::format("s{}_", j), tile), &out_);
    }
    for (int i = 0; i < tile; ++i) {
      std::vector<std::string> across(size_);
      for (int j = 0; j < size_; ++j) across[j] = fmt::format("s{}_{}", j, i);
      const std::string y = fmt::format("y{}_", i);
      WriteLinearMap(transforms_.output, across, WinogradNames(y, tile), &out_);
      const std::string at = fmt::format("to + {} * tiles + p * {}", i * tile, tile);
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
    kernel.mr = tail ? static_cast<int>(form_.out_channels % schedule_.mr) : schedule_.mr;
    kernel.nv = schedule_.nv;
    kernel.a_row = weight_row_, kernel.a_step = 1;
    kernel.b_step = data_row_, kernel.c_row = block_;
    athanor::WriteMicrokernel(kernel, schedule_.maker == ContractSchedule::Maker::kAsmjit, &prelude_, &out_);
  }

  void WriteTiles(KernelSource* source) {
    const int tile = schedule_.tile, mr = schedule_.mr;
    const bool whole = form_.out_channels >= mr, tail = form_.out_channels % mr != 0;
    if (whole) WriteMicrokernel(false);
    if (tail) WriteMicrokernel(true);
    const int64_t row_tasks = Ceil(form_.out_channels, schedule_.mc);
    int64_t scratch = 0;
    const auto place = [&](int64_t elements) {
      const int64_t offset = scratch;
      scratch += RoundUp(elements * 4, 64) + 64;
      return offset;
    };
    const int64_t data = place(by_task() ? 0 : size_ * size_ * data_point_), products = place(size_ * size_ * product_point_),
                  pixels = place(schedule_.mb * tile * pixel_row_), weights = place(by_task() ? size_ * size_ * weight_point_ : 0);
    source->scratch_bytes = scratch;
    out_.Open("extern \"C\" void tiles(char* const* args, long begin, long end, char* scratch)");
    out_.Line("float* const products = (float*)(scratch + {});", products);
    out_.Line("float* const pixels = (float*)(scratch + {});", pixels);
    if (!by_task()) {
      out_.Line("float* const v = (float*)(scratch + {});", data);
      out_.Line("long transformed = -1;");
    }
    out_.Open("for (long task = begin; task < end; ++task)");
    out_.Line("const long block = task / {};", row_tasks);
    out_.Line("const long m0 = task % {0} * {1}, m1 = m0 + {1} < {2} ? m0 + {1} : {2};", row_tasks, schedule_.mc, form_.out_channels);
    out_.Line("const long p0 = block * {0}, p1 = p0 + {0} < {1} ? p0 + {0} : {1};", block_, writer_.tiles());
    if (by_task()) {
      out_.Line("const float* const v = (const float*)args[{}] + block * {};", plan_.args.size(), size_ * size_ * data_point_);
    } else {
      out_.Line("if (transformed != block) transform_data(args, 0, {}, p0, p1, v);", form_.channels);
      out_.Line("transformed = block;");
    }
    out_.Open("for (long m = m0; m < m1; m += {})", schedule_.mb);
    out_.Line("const long rows = m + {0} < m1 ? {0} : m1 - m;", schedule_.mb);
    const auto open_channels = [&] {
      out_.Open("for (long k = 0; k < {}; k += {})", form_.channels, schedule_.kc);
      out_.Line("const long channels = k + {0} < {1} ? {0} : {1} - k;", schedule_.kc, form_.channels);
    };
    if (by_task()) {
      open_channels();
      out_.Line("float* const w = (float*)(scratch + {});", weights);
      out_.Line("transform_weights(args, m, m + rows, k, k + channels, w);");
    } else {
      out_.Line("const float* const w = (const float*)args[{}] + m * {};", plan_.args.size(), weight_row_);
    }
    out_.Open("for (long point = 0; point < {}; ++point)", size_ * size_);
    out_.Line("const float* a = w + point * {};", weight_point_);
    out_.Line("const float* const b = v + point * {};", data_point_);
    out_.Line("float* c = products + point * {};", product_point_);
    out_.Open("for (long i = 0; i < rows; i += {0}, a += {1}, c += {2})", mr, mr * weight_row_, mr * block_);
    if (!by_task()) open_channels();
    const auto call = [&](bool of_tail) {
      return fmt::format("{}({}, b + k * {}, c, channels, k == 0);", of_tail ? "tile_m" : "tile", by_task() ? "a" : "a + k", data_row_);
    };
    if (whole && tail) {
      out_.Line("if (rows - i >= {}) {} else {}", mr, call(false), call(true));
    } else {
      out_.Line("{}", call(tail));
    }
    for (int depth = 0; depth < 3; ++depth) out_.Close();
    out_.Line("transform_output(products, rows, {}, {}, pixels);", block_, product_point_);
    writer_.OpenRuns();
    out_.Open("for (long i = 0; i < {0} && ty * {0} + i < {1}; ++i)", tile, form_.y.out);
    out_.Line("const long n0 = {}(ty * {} + i) * {} + tx * {};", form_.images > 1 ? fmt::format("image % {} * {} + ", form_.images, form_.x.out * form_.y.out) : "",
              tile, form_.x.out, tile);
    out_.Line("const long width = run * {0} < {1} - tx * {0} ? run * {0} : {1} - tx * {0};", tile, form_.x.out);
    out_.Line("epilogue(args, image / {}, m, rows, n0, n0 + width, pixels + i * {} + (p - p0) * {}{});", form_.images, pixel_row_, tile, epilogue_numbers_);
    out_.Close();
    writer_.CloseRuns();
    for (int depth = 0; depth < 3; ++depth) out_.Close();
    source->phases.push_back({"tiles", Ceil(writer_.tiles(), block_) * row_tasks});
  }

  const KernelPlan& plan_;
  const ContractPlan& contract_;
  const WinogradForm form_;
  const WinogradSchedule& schedule_;
  int lanes_, size_;
  WinogradTransforms transforms_;
  Prelude prelude_;
  SourceWriter out_;
  std::string epilogue_numbers_;                             // the last arguments of its calls
  WinogradWriter writer_;
  int64_t block_;
  // Elements from row to row, and from point to point.
  int64_t weight_row_, weight_point_, data_row_, data_point_, product_point_, pixel_row_;
};

}  // namespace

KernelSource GenerateCppWinograd(const KernelPlan& plan, const WinogradSchedule& schedule, const CpuTarget& cpu) {
  if (WinogradForm::Of(plan)->gradient) return GenerateCppWinogradGradient(plan, schedule, cpu);
  return WinogradGenerator(plan, schedule, cpu).Generate();
}

}  // namespace athanor
