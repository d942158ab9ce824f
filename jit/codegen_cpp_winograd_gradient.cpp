#include <numeric>

#include "jit/body_emitter.h"
#include "jit/codegen_cpp.h"
#include "jit/contract_epilogue.h"
#include "jit/integer_math.h"
#include "jit/microkernel.h"
#include "jit/winograd_writer.h"
#include "ops/error.h"

namespace athanor {
namespace {

// The gradient of a convolution's weights. A phase transforms the gradient of the pixels into [tiles / kc][size * size][kc][out channels]: what is
// used together lies together. Then each task owns some channels and a part of the tiles: it transforms their windows, `kc` tiles at a time, adds up
// the products at all points, and transforms the sums into taps, [channels][taps * taps][out channels]. With k_split a last phase adds the parts.
class WinogradGradientGenerator {
 public:
  WinogradGradientGenerator(const KernelPlan& plan, const WinogradSchedule& schedule, const CpuTarget& cpu)
      : plan_(plan),
        contract_(std::get<ContractPlan>(plan.detail)),
        form_(*WinogradForm::Of(plan)),
        schedule_(schedule),
        lanes_(cpu.vector_bytes() / 4),
        taps_(form_.taps * form_.taps),
        transforms_(MakeWinogradTransforms(form_.taps, schedule.tile)),
        prelude_(cpu, lanes_),
        writer_(plan, form_, schedule.tile, &prelude_, &out_) {
    row_ = RoundUp(form_.out_channels, schedule.nv * lanes_);
    gradient_row_ = Spread(row_, lanes_);
    gradient_point_ = Spread(schedule.kc * gradient_row_, lanes_);
    data_row_ = Spread(schedule.kc + lanes_, lanes_);        // a run of tiles is written in whole vectors
    data_point_ = Spread(schedule.mc * data_row_, lanes_);
    sum_point_ = Spread(schedule.mc * row_, lanes_);
    part_ = RoundUp(Ceil(writer_.tiles(), schedule.k_split), schedule.kc);
    parts_ = Ceil(writer_.tiles(), part_);
  }

  KernelSource Generate() {
    KernelSource source;
    source.temporary_bytes.push_back(Ceil(writer_.tiles(), schedule_.kc) * writer_.points() * gradient_point_ * 4);
    if (parts_ > 1) source.temporary_bytes.push_back(parts_ * form_.channels * taps_ * row_ * 4);
    PlaceScratch(&source);
    for (const char* helper : {"load", "store"}) prelude_.Use(helper, DType::kF32);
    prelude_.Use("interleave");
    ContractMoments moments(plan_, {}, &prelude_, &out_);
    const int64_t rows = (parts_ > 1 ? 1 : schedule_.mc) * taps_;
    epilogue_numbers_ = WriteContractEpilogue(plan_, {row_, std::gcd(rows, contract_.m), rows, form_.out_channels % lanes_ == 0}, &moments, &prelude_, &out_);
    writer_.WriteData(transforms_.data, schedule_.kc, data_row_, data_point_);
    WriteOutput();
    WriteGradients(&source);
    WriteTiles(&source);
    if (parts_ > 1) WriteCombine(&source);
    moments.WritePhase(&source);
    source.text = SourceHeader(plan_, schedule_) + prelude_.Text() + "\n" + out_.text();
    return source;
  }

 private:
  // Of scratch: phases share it.
  void PlaceScratch(KernelSource* source) {
    int64_t scratch = 0;
    const auto place = [&](int64_t elements) {
      const int64_t offset = scratch;
      scratch += RoundUp(elements * 4, 64) + 64;
      return offset;
    };
    data_ = place(writer_.points() * data_point_), sums_ = place(writer_.points() * sum_point_), results_ = place(schedule_.mc * taps_ * row_);
    // A square of tiles and out channels; runs of tiles are written in whole vectors.
    square_ = Spread(2 * lanes_ * lanes_, lanes_);
    source->scratch_bytes = std::max(scratch, writer_.points() * square_ * 4 + 64);
  }

  // What the gradients phase does to a run of tiles, to the lines of a vector of tiles, and to a square.
  void WriteGradientRoutines() {
    const int tile = schedule_.tile, size = writer_.size();
    prelude_.Use("transpose", DType::kF32), prelude_.Use("routine");
    out_.Comment(fmt::format("A run of tiles of {0} x {0} pixels, transformed along y. Pixels end at `width` and `height`.", tile));
    out_.Open("ROUTINE void transform_run(const {}* from, long row, long run, long width, long height, float (*lines)[{}], long at)",
              MemoryType(plan_.args[form_.other->arg].dtype), LineFloats());
    out_.Open("for (long q = 0; q < run * {}; q += {})", tile, lanes_);
    out_.Line("const long first = 0, last = width - q;");
    for (int i = 0; i < tile; ++i) {
      out_.Line("const vf32 d{0} = {0} < height ? {1} : vf32{{}};", i, writer_.Pixels(*form_.other, fmt::format("from + {} * row + q", i)));
    }
    WriteLinearMap(transforms_.weights, WinogradNames("d", tile), WinogradNames("t", size), &out_);
    for (int i = 0; i < size; ++i) out_.Line("store(lines[{}] + at + q, t{});", i, i);
    for (int depth = 0; depth < 2; ++depth) out_.Close();
    out_.Blank();

    out_.Comment("Lines, transformed along x, one row of each point's square.");
    out_.Open("ROUTINE void transform_lines(const float (*lines)[{}], float* to)", LineFloats());
    out_.Open("for (long i = 0; i < {}; ++i, to += {})", size, size * square_);
    out_.Line("const float* const l = lines[i];");
    writer_.WriteUnzip(tile);
    WriteLinearMap(transforms_.weights, WinogradNames("e", tile), WinogradNames("r", size), &out_);
    for (int k = 0; k < size; ++k) out_.Line("store(to + {}, r{});", k * square_, k);
    for (int depth = 0; depth < 2; ++depth) out_.Close();
    out_.Blank();

    out_.Comment("Each point's square, transposed: a row of `to` for each of `tiles`.");
    out_.Open("ROUTINE void transpose_points(const float* square, long tiles, float* to, long point, long row)");
    out_.Open("for (long i = 0; i < {}; ++i, square += {}, to += point)", writer_.points(), square_);
    out_.Line("vf32 r[{}];", lanes_);
    out_.Unroll();
    out_.Line("for (int l = 0; l < {}; ++l) r[l] = load(square + l * {});", lanes_, 2 * lanes_);
    out_.Line("transpose(r);");
    out_.Line("for (long p = 0; p < tiles; ++p) {}(to + p * row, r[p]);", schedule_.streaming ? "stream" : "store");
    for (int depth = 0; depth < 2; ++depth) out_.Close();
    out_.Blank();
  }

  int64_t LineFloats() const { return (schedule_.tile + 2) * lanes_; }  // of the tiles of a square, and what a whole vector adds

  // Squares of a vector of tiles and a vector of out channels: transformed along tiles, then transposed.
  void WriteGradients(KernelSource* source) {
    const int tile = schedule_.tile, size = writer_.size();
    if (schedule_.streaming) prelude_.Use("stream", DType::kF32), prelude_.Use("fence");
    WriteGradientRoutines();
    const int64_t columns = Ceil(form_.out_channels, lanes_);
    out_.Comment(fmt::format("The gradient of the pixels of tiles, {0} x {0} each, as {1} x {1} points.", tile, size));
    out_.Open("extern \"C\" void gradients(char* const* args, long begin, long end, char* scratch)");
    DeclareArgs(plan_.args, &out_);
    out_.Line("float* const square = (float*)scratch;");
    out_.Line("float lines[{}][{}];", size, LineFloats());
    out_.Open("for (long task = begin; task < end; ++task)");
    out_.Line("const long n0 = task % {0} * {1}, n1 = n0 + {1} < {2} ? n0 + {1} : {2};", columns, lanes_, form_.out_channels);
    out_.Line("const long p0 = task / {0} * {1}, p1 = p0 + {1} < {2} ? p0 + {1} : {2};", columns, lanes_, writer_.tiles());
    out_.Open("for (long n = n0; n < n1; ++n)");
    writer_.OpenRuns();
    out_.Line("const long left = tx * {0}, top = ty * {0};", tile);
    std::string channel;
    int64_t below = 1;
    for (const Digit& digit : form_.other->map.dim(2)) {
      channel += fmt::format(" + n / {} % {} * {}", below, digit.extent, digit.stride);
      below *= digit.extent;
    }
    out_.Line("const {}* const from = a{} + {} + image * {} + top * {} + left{};", MemoryType(plan_.args[form_.other->arg].dtype), form_.other->arg,
              form_.other->map.offset(), form_.gradient_image, form_.gradient_row, channel);
    out_.Line("transform_run(from, {}, run, {} - left, {} - top, lines, (p - p0) * {});", form_.gradient_row, form_.x.out, form_.y.out, tile);
    writer_.CloseRuns();
    out_.Line("transform_lines(lines, square + (n - n0) * {});", 2 * lanes_);
    out_.Close();
    out_.Line("transpose_points(square, p1 - p0, (float*)args[{}] + p0 / {} * {} + p0 % {} * {} + n0, {}, {});", plan_.args.size(), schedule_.kc,
              writer_.points() * gradient_point_, schedule_.kc, gradient_row_, gradient_point_, gradient_row_);
    out_.Close();
    if (schedule_.streaming) out_.Line("fence();");
    out_.Close();
    out_.Blank();
    source->phases.push_back({"gradients", Ceil(writer_.tiles(), lanes_) * columns});
  }

  // The sums of some channels at all points as taps.
  void WriteOutput() {
    const int taps = form_.taps, size = writer_.size();
    out_.Comment(fmt::format("Sums at {0} x {0} points as {1} x {1} taps.", size, taps));
    prelude_.Use("routine");
    out_.Open("ROUTINE void transform_output(const float* from, long channels, long row, long point, float* to)");
    out_.Open("for (long c = 0; c < channels; ++c, from += row, to += {} * row)", taps_);
    out_.Open("for (long n = 0; n < row; n += {})", lanes_);
    writer_.WriteTwice(transforms_.output, fmt::format("load(from + ($i * {} + j) * point + n)", size), fmt::format("store(to + (i * {} + $j) * row + n, $v);", taps));
    for (int depth = 0; depth < 3; ++depth) out_.Close();
    out_.Blank();
  }

  void WriteMicrokernel(bool tail) {
    Microkernel kernel;
    kernel.name = tail ? "tile_m" : "tile";
    kernel.mr = tail ? static_cast<int>(form_.channels % schedule_.mr) : schedule_.mr;
    kernel.nv = schedule_.nv;
    kernel.a_row = data_row_, kernel.a_step = 1;
    kernel.b_step = gradient_row_, kernel.c_row = row_;
    athanor::WriteMicrokernel(kernel, schedule_.maker == ContractSchedule::Maker::kAsmjit, &prelude_, &out_);
  }

  void WriteTiles(KernelSource* source) {
    const int mr = schedule_.mr;
    const bool whole = form_.channels >= mr, tail = form_.channels % mr != 0;
    if (whole) WriteMicrokernel(false);
    if (tail) WriteMicrokernel(true);
    const int64_t blocks = Ceil(form_.channels, schedule_.mc), panel = schedule_.nv * lanes_;
    out_.Open("extern \"C\" void tiles(char* const* args, long begin, long end, char* scratch)");
    out_.Line("float* const v = (float*)(scratch + {});", data_);
    out_.Line("float* const sums = (float*)(scratch + {});", sums_);
    out_.Open("for (long task = begin; task < end; ++task)");
    out_.Line("const long c0 = task % {0} * {1}, c1 = c0 + {1} < {2} ? c0 + {1} : {2}, channels = c1 - c0;", blocks, schedule_.mc, form_.channels);
    out_.Line("const long part = task / {0}, begin = part * {1}, end = begin + {1} < {2} ? begin + {1} : {2};", blocks, part_, writer_.tiles());
    out_.Open("for (long p0 = begin; p0 < end; p0 += {})", schedule_.kc);
    out_.Line("const long p1 = p0 + {0} < end ? p0 + {0} : end;", schedule_.kc);
    out_.Line("transform_data(args, c0, c1, p0, p1, v);");
    out_.Open("for (long point = 0; point < {}; ++point)", writer_.points());
    out_.Line("const float* a = v + point * {};", data_point_);
    out_.Line("const float* const b = (const float*)args[{}] + p0 / {} * {} + point * {};", plan_.args.size(), schedule_.kc,
              writer_.points() * gradient_point_, gradient_point_);
    out_.Line("float* c = sums + point * {};", sum_point_);
    out_.Open("for (long i = 0; i < channels; i += {0}, a += {1}, c += {2})", mr, mr * data_row_, mr * row_);
    out_.Open("for (long n = 0; n < {}; n += {})", row_, panel);
    const auto call = [&](bool of_tail) { return fmt::format("{}(a, b + n, c + n, p1 - p0, p0 == begin);", of_tail ? "tile_m" : "tile"); };
    if (whole && tail) {
      out_.Line("if (channels - i >= {}) {} else {}", mr, call(false), call(true));
    } else {
      out_.Line("{}", call(tail));
    }
    for (int depth = 0; depth < 4; ++depth) out_.Close();
    if (parts_ > 1) {
      out_.Line("transform_output(sums, channels, {}, {}, (float*)args[{}] + (part * {} + c0) * {});", row_, sum_point_, plan_.args.size() + 1, form_.channels, taps_ * row_);
    } else {
      out_.Line("float* const results = (float*)(scratch + {});", results_);
      out_.Line("transform_output(sums, channels, {}, {}, results);", row_, sum_point_);
      out_.Line("epilogue(args, 0, c0 * {0}, channels * {0}, 0, {1}, results{2});", taps_, form_.out_channels, epilogue_numbers_);
    }
    for (int depth = 0; depth < 2; ++depth) out_.Close();
    out_.Blank();
    source->phases.push_back({"tiles", blocks * parts_});
  }

  // Adds the parts, in order, channel by channel.
  void WriteCombine(KernelSource* source) {
    prelude_.Use("add_parts.f32");
    out_.Open("extern \"C\" void combine(char* const* args, long begin, long end, char* scratch)");
    out_.Line("float* const results = (float*)scratch;");
    out_.Open("for (long c = begin; c < end; ++c)");
    out_.Line("add_parts_f32((const float*)args[{0}] + c * {1}, {2}, {3}, results, {1});", plan_.args.size() + 1, taps_ * row_, parts_,
              form_.channels * taps_ * row_);
    out_.Line("epilogue(args, 0, c * {0}, {0}, 0, {1}, results{2});", taps_, form_.out_channels, epilogue_numbers_);
    for (int depth = 0; depth < 2; ++depth) out_.Close();
    source->phases.push_back({"combine", form_.channels});
  }

  const KernelPlan& plan_;
  const ContractPlan& contract_;
  const WinogradForm form_;
  const WinogradSchedule& schedule_;
  int lanes_, taps_;
  WinogradTransforms transforms_;
  Prelude prelude_;
  SourceWriter out_;
  std::string epilogue_numbers_;                             // the last arguments of its calls
  WinogradWriter writer_;
  // Elements of a row of results (whole panels), and from row to row and point to point.
  int64_t row_, gradient_row_, gradient_point_, data_row_, data_point_, sum_point_, square_;
  int64_t part_, parts_;                                     // tiles of a part
  int64_t data_, sums_, results_;                            // scratch, bytes
};

}  // namespace

KernelSource GenerateCppWinogradGradient(const KernelPlan& plan, const WinogradSchedule& schedule, const CpuTarget& cpu) {
  return WinogradGradientGenerator(plan, schedule, cpu).Generate();
}

}  // namespace athanor
