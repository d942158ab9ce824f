#include "jit/window_copier.h"

#include <algorithm>

#include <fmt/format.h>

#include "ops/error.h"

namespace athanor {
namespace {

constexpr int64_t kLongestStride = 4;                        // along a run; beyond, reading across is better
constexpr int64_t kLanes = 16;                               // of the widest vectors of f32

const Layout& FunctionOf(const Operand& operand, int function) {
  return function == 0 ? operand.map : operand.bounds[function - 1].coordinate;
}

int64_t ProductOf(const auto& pieces, size_t count) {
  int64_t product = 1;
  for (size_t p = 0; p < count; ++p) product *= pieces[p].extent;
  return product;
}

// "name * stride", nothing for stride 0.
void AddTerm(std::string* text, const std::string& name, int64_t stride) {
  if (stride == 0) return;
  *text += fmt::format(" + {}{}", name, stride == 1 ? "" : fmt::format(" * {}", stride));
}

}  // namespace

std::optional<std::vector<WindowDigit>> WindowDigits(const Operand& operand, int dim) {
  std::vector<Digits> functions;
  operand.ForEachMap([&](const Layout& map) { functions.push_back(map.dim(dim)); });
  const std::optional<std::vector<int64_t>> extents = CommonRadix(functions);
  if (!extents) return std::nullopt;
  std::vector<WindowDigit> pieces;
  int64_t below = 1;
  for (int64_t extent : *extents) {
    pieces.push_back({extent, {}});
    for (const Digits& digits : functions) pieces.back().strides.push_back(extent == 1 ? 0 : Offset(digits, below));
    below *= extent;
  }
  return pieces;
}

std::optional<WindowCopier> WindowCopier::For(const Body& body, int result, int along, int across, bool whole_vectors,
                                              const std::vector<KernelArg>& args) {
  const Expr& expr = body.exprs[result];
  const DType memory = expr.dtype;
  if (expr.kind != Expr::Kind::kLoad || body.extents[along] == 0 || body.extents[across] == 0) return std::nullopt;
  const Operand& operand = body.operands[expr.operand];
  if (operand.row >= 0 || operand.fill != 0 || !operand.pieces.empty() || args[operand.arg].dtype != memory || !IsFloat(memory)) return std::nullopt;
  WindowCopier copier;
  copier.operand_ = &operand;
  copier.memory_ = memory;
  copier.dtype_ = ValueType(memory);
  copier.functions_ = 1 + static_cast<int>(operand.bounds.size());
  auto along_pieces = WindowDigits(operand, along), across_pieces = WindowDigits(operand, across), batch_pieces = WindowDigits(operand, 0);
  if (!along_pieces || !across_pieces || !batch_pieces) return std::nullopt;
  copier.along_ = *along_pieces, copier.across_ = *across_pieces, copier.batch_ = *batch_pieces;
  const std::vector<int64_t>& run = copier.along_[0].strides;
  // Where there are more taps than channels (patches), plain rows are walked in better order.
  const bool patches = ProductOf(copier.across_, copier.across_.size() - 1) > copier.across_.back().extent;
  const bool even = copier.along_.size() == 1 || ((whole_vectors || patches) && copier.along_[0].extent % kLanes == 0);
  const bool simple = operand.bounds.empty() && even && run[0] == 1;
  // Coordinates go up along a run; channels have none.
  if (simple || run[0] < 1 || run[0] > kLongestStride || std::any_of(run.begin(), run.end(), [](int64_t s) { return s < 0; })) return std::nullopt;
  const std::vector<int64_t>& channel = copier.across_.back().strides;
  if (std::any_of(channel.begin() + 1, channel.end(), [](int64_t s) { return s != 0; })) {
    copier.across_.push_back({1, std::vector<int64_t>(copier.functions_, 0)});
  }
  return copier;
}

void WindowCopier::Write(const Target& target, Prelude* prelude, SourceWriter* out) const {
  out->Open("for (long i = {}, run; i < {}; i += run)", target.along_begin, target.along_end);
  int64_t below = 1;
  for (size_t p = 0; p < along_.size(); ++p) {               // the digits of i
    const std::string high = below == 1 ? "i" : fmt::format("i / {}", below);
    out->Line("const long i{} = {};", p, p + 1 < along_.size() ? fmt::format("{} % {}", high, along_[p].extent) : high);
    below *= along_[p].extent;
  }
  out->Line("const long room = {};", target.room);
  out->Line("run = {0} - i < {1} - i0 ? {0} - i : {1} - i0;", target.along_end, along_[0].extent);
  out->Line("if (run > room) run = room;");
  std::string arguments;
  for (int f = 0; f < functions_; ++f) {
    std::string text = std::to_string(FunctionOf(*operand_, f).offset());
    below = 1;
    for (const WindowDigit& piece : batch_) {
      AddTerm(&text, fmt::format("b / {} % {}", below, piece.extent), piece.strides[f]);
      below *= piece.extent;
    }
    for (size_t p = 0; p < along_.size(); ++p) AddTerm(&text, fmt::format("i{}", p), along_[p].strides[f]);
    arguments += f == 0 ? fmt::format("a{} + {}", operand_->arg, text) : fmt::format(", {}, {}", text, operand_->bounds[f - 1].extent);
  }
  for (size_t p = 0; p < across_.size(); ++p) arguments += fmt::format(", {}", across_[p].strides[0]);
  out->Line("{}({}, run, {}, {}, {}, {}, room);", AddRoutine(target.elements, prelude), arguments, target.across_begin, target.across_end, target.at, target.step);
  out->Close();
}

std::string WindowCopier::ElementType(Elements elements) const {
  return elements == Elements::kPairs ? "int" : elements == Elements::kHalves ? "unsigned short" : std::string(ScalarType(dtype_));
}

// Numbers in it are those that convolutions share: taps, and steps from tap to tap and from pixel to pixel.
std::string WindowCopier::AddRoutine(Elements elements, Prelude* prelude) const {
  SourceWriter out;
  out.Comment(fmt::format("A run of pixels of {}, for [begin, end) of channels x taps: `from` is the first tap's first pixel{}, {}`channel` leads to the next "
                          "channel.{} `room`: how many pixels `to` has place for; zeros fill the last vector.",
                          Taps() == 1 ? "one tap" : fmt::format("{} taps", Taps()), functions_ == 1 ? "" : ", c its coordinates in the tensor",
                          across_.size() == 1 ? "" : "`tap` to the next tap, ", elements == Elements::kPairs ? " Two taps, or two channels of one, are a pair." : ""));
  std::string parameters = fmt::format("const {}* from", MemoryType(memory_));
  for (int f = 1; f < functions_; ++f) parameters += fmt::format(", long c{0}, long extent{0}", f - 1);
  for (size_t p = 0; p + 1 < across_.size(); ++p) parameters += fmt::format(", long tap{}", p);
  out.Open("ROUTINE void $NAME({},\n    long channel, long run, long begin, long end, {}* to, long step, long room)", parameters, ElementType(elements));
  if (elements == Elements::kPairs) {
    WritePairs(prelude, &out);
  } else {
    WriteTaps(elements, prelude, &out);
  }
  out.Close();
  std::string name = elements == Elements::kPairs ? "pair_windows" : "copy_windows";
  for (size_t p = across_.size() - 1; p-- > 0;) name += fmt::format("_{}", across_[p].extent);
  return prelude->AddRoutine(fmt::format("{}_{}", name, Name(memory_)), out.text());
}

// The vectors of a run of pixels.
void WindowCopier::WriteTaps(Elements elements, Prelude* prelude, SourceWriter* out) const {
  const int lanes = prelude->lanes();
  std::string steps = fmt::format("from += {}, to += {}, room -= {}", lanes * along_[0].strides[0], lanes, lanes);
  for (int f = 1; f < functions_; ++f) {
    if (along_[0].strides[f] != 0) steps += fmt::format(", c{} += {}", f - 1, lanes * along_[0].strides[f]);
  }
  out->Open("for (long part = 0; part < run; part += {}, {})", lanes, steps);
  out->Line("const long live = run - part < {0} ? run - part : {0};", lanes);
  for (size_t p = across_.size() - 1; p-- > 0;) out->Open("for (long j{0} = 0; j{0} < {1}; ++j{0})", p, across_[p].extent);
  prelude->Use("bounds");
  out->Line("long first = 0, last = live;");
  WriteBounds("first", "last", out);
  WriteChannels(elements, prelude, out);
  for (size_t p = 0; p < across_.size(); ++p) out->Close();
}

// A vector of pixels from `x` on, as it lies in memory; zeros outside [first, last).
std::string WindowCopier::LoadText(const std::string& x, const std::string& first, const std::string& last, Prelude* prelude) const {
  const int64_t stride = along_[0].strides[0];
  const std::string tag = memory_ != dtype_ ? "u16" : std::string(Name(dtype_));
  prelude->Use((stride == 1 ? "window." : "window_strided.") + tag);
  if (stride == 1) return fmt::format("load_window({}, {}, {}, v{}{{}})", x, first, last, tag);
  return fmt::format("load_window_strided({}, {}, {}, {}, v{}{{}})", x, stride, first, last, tag);
}

// Narrows [first, last) to the pixels of a tap that are inside.
void WindowCopier::WriteBounds(const std::string& first, const std::string& last, SourceWriter* out) const {
  for (int f = 1; f < functions_; ++f) {
    std::string at = fmt::format("c{}", f - 1);
    for (size_t p = 0; p + 1 < across_.size(); ++p) AddTerm(&at, fmt::format("j{}", p), across_[p].strides[f]);
    const int64_t stride = along_[0].strides[f];
    out->Line("const long at{} = {};", f - 1, at);
    if (stride == 0) {
      out->Line("if ((unsigned long)at{0} >= extent{0}) {1} = 0;", f - 1, last);
    } else if (stride == 1) {
      out->Line("{1} = larger({1}, -at{0}), {2} = smaller({2}, extent{0} - at{0});", f - 1, first, last);
    } else {
      out->Line("{1} = larger({1}, ({3} - at{0}) / {4}), {2} = smaller({2}, (extent{0} - at{0} + {3}) / {4});", f - 1, first, last, stride - 1, stride);
    }
  }
}

// The number of the tap at hand, and where it lies from the first.
std::pair<std::string, std::string> WindowCopier::TapText() const {
  std::string tap = "0", offset = "0";
  int64_t below = 1;
  for (size_t p = 0; p + 1 < across_.size(); ++p) {
    AddTerm(&tap, fmt::format("j{}", p), below);
    offset += fmt::format(" + j{0} * tap{0}", p);
    below *= across_[p].extent;
  }
  return {tap, offset};
}

void WindowCopier::WriteChannels(Elements elements, Prelude* prelude, SourceWriter* out) const {
  const int64_t taps = Taps();
  const auto [tap, offset] = TapText();
  out->Line("const long tap = {};", tap);
  auto channel = [&](const std::string& end) {               // the first channel whose index across is not below `end`
    return taps == 1 ? end : fmt::format("larger(0, ({} - tap + {}) / {})", end, taps - 1, taps);
  };
  out->Line("const long j = {}, j_end = {};", channel("begin"), channel("end"));
  out->Line("const {}* x = from + {} + j * channel;", MemoryType(memory_), offset);
  out->Line("{}* y = to + (tap + j * {} - begin) * step;", ElementType(elements), taps);
  const bool half = memory_ != dtype_;                       // bf16 or f16: their bits are loaded, then converted
  const std::string stored = elements == Elements::kHalves ? "u16" : std::string(Name(dtype_));
  prelude->Use("store." + stored);
  prelude->Use("tail." + stored);
  std::string value = LoadText("x", "first", "last", prelude);
  if (half && elements != Elements::kHalves) {
    prelude->Use(Name(memory_));
    value = fmt::format("{}_value({})", Name(memory_), value);
  }
  const std::string loop = fmt::format("for (long n = j; n < j_end; ++n, x += channel, y += {} * step)", taps);
  out->Open("if (room >= {}) {}", prelude->lanes(), loop);
  out->Line("store(y, {});", value);
  out->Close();
  out->Open("else {}", loop);
  out->Line("store_tail(y, {}, room);", value);
  out->Close();
}

int64_t WindowCopier::Taps() const { return ProductOf(across_, across_.size() - 1); }

// Two steps of k are two taps, or the last tap of a channel and the first of the next: where the taps of a run lie and which of its
// pixels are inside the tensor is settled before, so that channels come one after the other.
void WindowCopier::WritePairs(Prelude* prelude, SourceWriter* out) const {
  const int lanes = prelude->lanes();
  const int64_t taps = Taps();
  for (const char* helper : {"bounds", "pairs", "store.i32", "tail.i32"}) prelude->Use(helper);
  out->Line("long offset[{0}], first[{0}], last[{0}];", taps);
  for (size_t p = across_.size() - 1; p-- > 0;) out->Open("for (long j{0} = 0; j{0} < {1}; ++j{0})", p, across_[p].extent);
  const auto [tap, address] = TapText();
  out->Line("const long tap = {};", tap);
  out->Line("offset[tap] = {}, first[tap] = 0, last[tap] = run;", address);
  WriteBounds("first[tap]", "last[tap]", out);
  for (size_t p = 0; p + 1 < across_.size(); ++p) out->Close();
  out->Line("const {}* x = from + begin / {} * channel;", MemoryType(memory_), taps);
  out->Open("for (long k = begin, low = begin % {}; k < end; k += 2, to += step)", taps);
  out->Comment("The tap above: its channel may be the next, and there is none behind an odd k.");
  out->Line("const long high = low + 1 == {} ? 0 : low + 1, high_last = k + 1 < end ? last[high] : 0;", taps);
  out->Line("const {}* const next = low + 1 == {} ? x + channel : x;", MemoryType(memory_), taps);
  out->Line("__builtin_prefetch(x + offset[low] + 2 * channel), __builtin_prefetch(x + offset[low] + run * {} + 2 * channel);", along_[0].strides[0]);
  out->Open("for (long i = 0; i < run; i += {})", lanes);
  const std::string step = along_[0].strides[0] == 1 ? "i" : fmt::format("i * {}", along_[0].strides[0]);
  out->Line("const vi32 v = pair({}, {});", LoadText(fmt::format("x + offset[low] + {}", step), "first[low] - i", "last[low] - i", prelude),
            LoadText(fmt::format("next + offset[high] + {}", step), "first[high] - i", "high_last - i", prelude));
  out->Line("if (room - i >= {}) store(to + i, v); else store_tail(to + i, v, room - i);", lanes);
  out->Close();
  out->Line("x = high + 1 == {} ? next + channel : next;", taps);
  out->Line("low = high + 1 == {} ? 0 : high + 1;", taps);
  out->Close();
}

}  // namespace athanor
