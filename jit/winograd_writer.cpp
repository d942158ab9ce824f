#include "jit/winograd_writer.h"

#include "jit/body_emitter.h"
#include "jit/integer_math.h"
#include "jit/prelude_units.h"

namespace athanor {

std::vector<std::string> WinogradNames(std::string_view stem, int count) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) names.push_back(fmt::format("{}{}", stem, i));
  return names;
}

int64_t Spread(int64_t elements, int lanes) { return elements % 128 == 0 ? elements + lanes : elements; }

WinogradWriter::WinogradWriter(const KernelPlan& plan, const WinogradForm& form, int tile, Prelude* prelude, SourceWriter* out)
    : plan_(plan), form_(form), tile_(tile), size_(tile + form.taps - 1), lanes_(prelude->lanes()), tiles_x_(Ceil(form.x.out, tile)),
      tiles_y_(Ceil(form.y.out, tile)), images_(std::get<ContractPlan>(plan.detail).batch * form.images), prelude_(prelude), out_(out) {}

std::string WinogradWriter::Value(const Operand& operand, const std::string& element) {
  const DType memory = plan_.args[operand.arg].dtype;
  if (memory == DType::kF32) return element;
  prelude_->Use(Name(memory));
  return fmt::format("{}_value({})", Name(memory), element);
}

std::string WinogradWriter::Pixels(const Operand& operand, const std::string& pointer) {
  const std::string tag(plan_.args[operand.arg].dtype == DType::kF32 ? "f32" : "u16");
  prelude_->Use("window." + tag);
  return Value(operand, fmt::format("load_window({}, first, last, v{}{{}})", pointer, tag));
}

void WinogradWriter::OpenRuns() {
  out_->Open("for (long p = p0; p < p1;)");
  out_->Line("const long tx = p % {0}, ty = p / {0} % {1}, image = p / {2};", tiles_x_, tiles_y_, tiles_x_ * tiles_y_);
  out_->Line("const long run = {0} - tx < p1 - p ? {0} - tx : p1 - p;", tiles_x_);
}

void WinogradWriter::CloseRuns() {
  out_->Line("p += run;");
  out_->Close();
}

std::string WinogradWriter::ImageOffset() const {
  std::string text = std::to_string(form_.offset - form_.y.origin * form_.y.stride - form_.x.origin);
  int64_t below = form_.images;
  if (form_.images > 1) text += fmt::format(" + image % {} * {}", form_.images, form_.image_stride);
  for (const Digit& digit : form_.data->map.dim(0)) {
    text += fmt::format(" + image / {} % {} * {}", below, digit.extent, digit.stride);
    below *= digit.extent;
  }
  return text;
}

// Down the columns of a row of tiles first, whole vectors of pixels; then across, with the pixels of a tile in different vectors. Runs of tiles
// stand side by side in between, so that those of narrow images share vectors; the lanes between two runs, where the last windows of the first
// end, are dropped at last.
std::string WinogradWriter::WriteDataRoutine(const WinogradTransforms::Matrix& transform) {
  for (const char* helper : {"interleave", "permute", "load.i32", "routine"}) prelude_->Use(helper);
  for (const char* helper : {"load", "store"}) prelude_->Use(helper, DType::kF32);
  const DType memory = plan_.args[form_.data->arg].dtype;
  const std::string name = fmt::format("transform_windows_{}_{}_{}", size_, tile_, Name(memory));
  out_->Comment(fmt::format("Windows of {0} x {0} pixels as {0} x {0} points. A run of tiles is its pixel, where that lies from left and top, and how many.", size_));
  out_->Open("ROUTINE void {}(const {}* image, long channels, long channel, long pixels, long width, long height, const long (*runs)[4], long count, "
             "float* lines, long line, int (*lane)[{}], long* kept, float* to, long row, long point)", name, MemoryType(memory), lanes_);
  out_->Line("long places = 0;");
  out_->Open("for (long r = 0; r < count; ++r, places += {})", Between());
  out_->Open("for (long t = 0; t < runs[r][3]; ++t, ++places)");
  out_->Line("lane[places / {0}][kept[places / {0}]++] = places % {0};", lanes_);
  out_->Close();
  out_->Close();
  out_->Line("places -= {};", Between());
  out_->Open("for (long c = 0; c < channels; ++c, image += channel, to += row)");
  out_->Line("float* at = lines;");
  out_->Open("for (long r = 0; r < count; ++r)");
  out_->Line("const {}* const from = image + runs[r][0];", MemoryType(memory));
  out_->Line("const long left = runs[r][1], top = runs[r][2], run = runs[r][3];");
  out_->Open("for (long q = 0; q < run * {} + {}; q += {})", tile_, size_ - tile_, lanes_);
  out_->Line("const long first = -(left + q), last = width - (left + q);");
  for (int i = 0; i < size_; ++i) {
    out_->Line("const vf32 d{0} = (unsigned long)(top + {0}) < (unsigned long)height ? {1} : vf32{{}};", i, Pixels(*form_.data, fmt::format("from + {} * pixels + q", i)));
  }
  WriteLinearMap(transform, WinogradNames("d", size_), WinogradNames("t", size_), out_);
  for (int i = 0; i < size_; ++i) out_->Line("store(at + {0} * line + q, t{0});", i);
  out_->Close();
  out_->Line("at += (run + {}) * {};", Between(), tile_);
  out_->Close();
  out_->Open("for (long i = 0; i < {}; ++i)", size_);
  out_->Line("float* y = to + i * {} * point;", size_);
  out_->Open("for (long t = 0; t * {} < places; y += kept[t], ++t)", lanes_);
  out_->Line("const float* const l = lines + i * line + t * {};", lanes_ * tile_);
  WriteUnzip(size_);
  WriteLinearMap(transform, WinogradNames("e", size_), WinogradNames("r", size_), out_);
  out_->Open("if (lane[t][kept[t] - 1] == kept[t] - 1)");
  for (int j = 0; j < size_; ++j) out_->Line("store(y + {0} * point, r{0});", j);
  out_->Close(" else {");
  out_->Line("  const vi32 lanes = load(lane[t]);");
  for (int j = 0; j < size_; ++j) out_->Line("  store(y + {0} * point, permute(r{0}, lanes));", j);
  out_->Line("}}");
  for (int depth = 0; depth < 4; ++depth) out_->Close();
  out_->Blank();
  return name;
}

void WinogradWriter::WriteData(const WinogradTransforms::Matrix& transform, int64_t most, int64_t row, int64_t point) {
  const std::string routine = WriteDataRoutine(transform);
  const int64_t runs = Ceil(most - 1, tiles_x_) + 1, vectors = Ceil(most + Between() * runs, lanes_), line = (vectors * tile_ + 2) * lanes_;
  out_->Comment(fmt::format("The windows of tiles [p0, p1), {0} x {0} pixels each, as {0} x {0} points.", size_));
  out_->Open("static __attribute__((noinline)) void transform_data(char* const* args, long c0, long c1, long p0, long p1, float* v)");
  DeclareArgs(plan_.args, out_);
  out_->Line("float lines[{}];", size_ * line);
  out_->Line("int lane[{}][{}] = {{}};", vectors, lanes_);
  out_->Line("long kept[{}] = {{}}, runs[{}][4], count = 0;", vectors, runs);
  OpenRuns();
  out_->Line("const long left = tx * {0} + {1}, top = ty * {0} + {2};", tile_, form_.x.origin, form_.y.origin);
  out_->Line("runs[count][0] = {} + top * {} + left;", ImageOffset(), form_.y.stride);
  out_->Line("runs[count][1] = left, runs[count][2] = top, runs[count][3] = run;");
  out_->Line("++count;");
  CloseRuns();
  out_->Line("{}(a{} + c0 * {}, c1 - c0, {}, {}, {}, {}, runs, count, lines, {}, lane, kept, v, {}, {});", routine, form_.data->arg, form_.channel_stride,
             form_.channel_stride, form_.y.stride, form_.x.extent, form_.y.extent, line, row, point);
  out_->Close();
  out_->Blank();
}

void WinogradWriter::WriteTwice(const WinogradTransforms::Matrix& matrix, const std::string& load, const std::string& store) {
  const int rows = static_cast<int>(matrix.size()), columns = static_cast<int>(matrix[0].size());
  const std::vector<std::string> from = WinogradNames("x", columns), to = WinogradNames("z", rows);
  out_->Line("vf32 half[{}][{}];", rows, columns);
  for (bool across : {false, true}) {
    const char* index = across ? "i" : "j";
    out_->Open("for (long {0} = 0; {0} < {1}; ++{0})", index, across ? rows : columns);
    for (int k = 0; k < columns; ++k) {
      out_->Line("const vf32 {} = {};", from[k], across ? fmt::format("half[i][{}]", k) : Substitute(load, {{"$i", std::to_string(k)}}));
    }
    WriteLinearMap(matrix, from, to, out_);
    for (int k = 0; k < rows; ++k) {
      if (across) out_->Line("{}", Substitute(store, {{"$j", std::to_string(k)}, {"$v", to[k]}}));
      else out_->Line("half[{}][j] = {};", k, to[k]);
    }
    out_->Close();
  }
}

void WinogradWriter::WriteTwice(const WinogradTransforms::Matrix& matrix, const std::vector<std::vector<std::string>>& square, const std::string& store) {
  const int rows = static_cast<int>(matrix.size()), columns = static_cast<int>(matrix[0].size());
  std::vector<std::vector<std::string>> half(rows, std::vector<std::string>(columns));
  for (int j = 0; j < columns; ++j) {
    std::vector<std::string> from(columns), to = WinogradNames(fmt::format("h{}_", j), rows);
    for (int i = 0; i < columns; ++i) from[i] = square[i][j];
    WriteLinearMap(matrix, from, to, out_);
    for (int i = 0; i < rows; ++i) half[i][j] = to[i];
  }
  for (int i = 0; i < rows; ++i) {
    const std::vector<std::string> to = WinogradNames(fmt::format("z{}_", i), rows);
    WriteLinearMap(matrix, half[i], to, out_);
    for (int j = 0; j < rows; ++j) out_->Line("{}", Substitute(store, {{"$i", std::to_string(i)}, {"$j", std::to_string(j)}, {"$v", to[j]}}));
  }
}

void WinogradWriter::WriteUnzip(int count) {
  for (int group = 0; group * tile_ < count; ++group) {
    const auto at = [&](int part) { return fmt::format("load(l + {})", group * tile_ + part * lanes_); };
    const int first = group * tile_;
    if (tile_ == 2) {
      out_->Line("const vf32 l{0}_0 = {1}, l{0}_1 = {2}, e{3} = even(l{0}_0, l{0}_1), e{4} = odd(l{0}_0, l{0}_1);", group, at(0), at(1), first, first + 1);
      continue;
    }
    out_->Line("const vf32 l{0}_0 = {1}, l{0}_1 = {2}, l{0}_2 = {3}, l{0}_3 = {4};", group, at(0), at(1), at(2), at(3));
    out_->Line("const vf32 even{0}_0 = even(l{0}_0, l{0}_1), even{0}_1 = even(l{0}_2, l{0}_3);", group);
    out_->Line("const vf32 odd{0}_0 = odd(l{0}_0, l{0}_1), odd{0}_1 = odd(l{0}_2, l{0}_3);", group);
    for (int j = 0; j < tile_ && first + j < count; ++j) {
      const char* parity = j % 2 == 0 ? "even" : "odd";
      out_->Line("const vf32 e{0} = {1}({2}{3}_0, {2}{3}_1);", first + j, j < 2 ? "even" : "odd", parity, group);
    }
  }
}

}  // namespace athanor
