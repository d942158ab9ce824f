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
  OpenRuns(target, target.halves ? "unsigned short" : ScalarType(dtype_), out);
  WriteRun(target, prelude, out);
  out->Line("i += run;");
  out->Close();
}

void WindowCopier::OpenRuns(const Target& target, std::string_view type, SourceWriter* out) const {
  out->Open("for (long i = {}; i < {};)", target.along_begin, target.along_end);
  int64_t below = 1;
  for (size_t p = 0; p < along_.size(); ++p) {               // the digits of i
    const std::string high = below == 1 ? "i" : fmt::format("i / {}", below);
    out->Line("const long i{} = {};", p, p + 1 < along_.size() ? fmt::format("{} % {}", high, along_[p].extent) : high);
    below *= along_[p].extent;
  }
  out->Line("long room = {};", target.room);
  out->Line("long run = {0} - i < {1} - i0 ? {0} - i : {1} - i0;", target.along_end, along_[0].extent);
  out->Line("if (run > room) run = room;");
  for (int f = 0; f < functions_; ++f) {
    std::string text = std::to_string(FunctionOf(*operand_, f).offset());
    below = 1;
    for (const WindowDigit& piece : batch_) {
      AddTerm(&text, fmt::format("b / {} % {}", below, piece.extent), piece.strides[f]);
      below *= piece.extent;
    }
    for (size_t p = 0; p < along_.size(); ++p) AddTerm(&text, fmt::format("i{}", p), along_[p].strides[f]);
    if (f == 0) {
      out->Line("const {}* from = a{} + {};", MemoryType(memory_), operand_->arg, text);
    } else {
      out->Line("long c{} = {};", f - 1, text);
    }
  }
  out->Line("{}* to_run = {};", type, target.at);
}

// The vectors of a run of pixels.
void WindowCopier::WriteRun(const Target& target, Prelude* prelude, SourceWriter* out) const {
  const int lanes = prelude->lanes();
  std::string steps = fmt::format("from += {}, to_run += {}, room -= {}", lanes * along_[0].strides[0], lanes, lanes);
  for (int f = 1; f < functions_; ++f) {
    if (along_[0].strides[f] != 0) steps += fmt::format(", c{} += {}", f - 1, lanes * along_[0].strides[f]);
  }
  out->Open("for (long part = 0; part < run; part += {}, {})", lanes, steps);
  out->Line("const long live = run - part < {0} ? run - part : {0};", lanes);
  for (size_t p = across_.size() - 1; p-- > 0;) out->Open("for (long j{0} = 0; j{0} < {1}; ++j{0})", p, across_[p].extent);
  WriteTap(target, prelude, out);
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

// Which lanes of a tap lie inside the tensor: [first, last).
void WindowCopier::WriteTap(const Target& target, Prelude* prelude, SourceWriter* out) const {
  prelude->Use("bounds");
  out->Line("long first = 0, last = live;");
  WriteBounds("first", "last", out);
  WriteChannels(target, prelude, out);
}

// Narrows [first, last) to the pixels of a tap that are inside.
void WindowCopier::WriteBounds(const std::string& first, const std::string& last, SourceWriter* out) const {
  for (int f = 1; f < functions_; ++f) {
    std::string at = fmt::format("c{}", f - 1);
    for (size_t p = 0; p + 1 < across_.size(); ++p) AddTerm(&at, fmt::format("j{}", p), across_[p].strides[f]);
    const int64_t extent = operand_->bounds[f - 1].extent, stride = along_[0].strides[f];
    out->Line("const long at{} = {};", f - 1, at);
    if (stride == 0) {
      out->Line("if ((unsigned long)at{} >= {}) {} = 0;", f - 1, extent, last);
    } else if (stride == 1) {
      out->Line("{1} = larger({1}, -at{0}), {2} = smaller({2}, {3} - at{0});", f - 1, first, last, extent);
    } else {
      out->Line("{1} = larger({1}, ({3} - at{0}) / {4}), {2} = smaller({2}, ({5} - at{0} + {3}) / {4});", f - 1, first, last, stride - 1,
                stride, extent);
    }
  }
}

// The number of the tap at hand, and where it lies from the first.
std::pair<std::string, std::string> WindowCopier::TapText() const {
  std::string tap = "0", offset = "0";
  int64_t below = 1;
  for (size_t p = 0; p + 1 < across_.size(); ++p) {
    AddTerm(&tap, fmt::format("j{}", p), below);
    AddTerm(&offset, fmt::format("j{}", p), across_[p].strides[0]);
    below *= across_[p].extent;
  }
  return {tap, offset};
}

void WindowCopier::WriteChannels(const Target& target, Prelude* prelude, SourceWriter* out) const {
  const int lanes = prelude->lanes();
  const int64_t taps = Taps();
  const auto [tap, offset] = TapText();
  out->Line("const long tap = {};", tap);
  auto channel = [&](const std::string& end) {               // the first channel whose index across is not below `end`
    return taps == 1 ? end : fmt::format("larger(0, ({} - tap + {}) / {})", end, taps - 1, taps);
  };
  out->Line("const long j = {}, j_end = {};", channel(target.across_begin), channel(target.across_end));
  out->Line("const {}* x = from + {} + j * {};", MemoryType(memory_), offset, across_.back().strides[0]);
  out->Line("{}* y = to_run + (tap + j * {} - {}) * {};", target.halves ? "unsigned short" : ScalarType(dtype_), taps,
            target.across_begin, target.step);
  const bool half = memory_ != dtype_;                       // bf16 or f16: their bits are loaded, then converted
  const std::string stored = target.halves ? "u16" : std::string(Name(dtype_));
  prelude->Use("store." + stored);
  prelude->Use("tail." + stored);
  std::string value = LoadText("x", "first", "last", prelude);
  if (half && !target.halves) {
    prelude->Use(Name(memory_));
    value = fmt::format("{}_value({})", Name(memory_), value);
  }
  for (bool narrow : {false, true}) {
    out->Open(fmt::runtime(narrow ? "else for (long n = j; n < j_end; ++n, x += {1}, y += {2} * {3})"
                                  : "if (room >= {0}) for (long n = j; n < j_end; ++n, x += {1}, y += {2} * {3})"),
              lanes, across_.back().strides[0], taps, target.step);
    out->Line(fmt::runtime(narrow ? "store_tail(y, {}, room);" : "store(y, {});"), value);
    out->Close();
  }
}

int64_t WindowCopier::Taps() const { return ProductOf(across_, across_.size() - 1); }

// Two steps of k are two taps, or the last tap of a channel and the first of the next: where the taps of a run lie and which of its
// pixels are inside the tensor is settled before, so that channels come one after the other.
void WindowCopier::WritePairs(const Target& target, Prelude* prelude, SourceWriter* out) const {
  const int lanes = prelude->lanes();
  const int64_t taps = Taps(), channel = across_.back().strides[0];
  for (const char* helper : {"bounds", "pairs", "tail.i32"}) prelude->Use(helper);
  OpenRuns(target, "int", out);
  out->Line("long offset[{0}], first[{0}], last[{0}];", taps);
  for (size_t p = across_.size() - 1; p-- > 0;) out->Open("for (long j{0} = 0; j{0} < {1}; ++j{0})", p, across_[p].extent);
  const auto [tap, address] = TapText();
  out->Line("const long tap = {};", tap);
  out->Line("offset[tap] = {}, first[tap] = 0, last[tap] = run;", address);
  WriteBounds("first[tap]", "last[tap]", out);
  for (size_t p = 0; p + 1 < across_.size(); ++p) out->Close();
  out->Line("const {}* x = from + {} / {} * {};", MemoryType(memory_), target.across_begin, taps, channel);
  out->Line("int* y = to_run;");
  out->Open("for (long k = {0}, low = {0} % {1}; k < {2}; k += 2, y += {3})", target.across_begin, taps, target.across_end, target.step);
  out->Comment("The tap above: its channel may be the next, and there is none behind an odd k.");
  out->Line("const long high = low + 1 == {0} ? 0 : low + 1, end = k + 1 < {1} ? last[high] : 0;", taps, target.across_end);
  out->Line("const {}* const next = low + 1 == {} ? x + {} : x;", MemoryType(memory_), taps, channel);
  out->Line("__builtin_prefetch(x + offset[low] + {0}), __builtin_prefetch(x + offset[low] + run * {1} + {0});", 2 * channel,
            along_[0].strides[0]);
  out->Open("for (long i = 0; i < run; i += {})", lanes);
  const std::string step = along_[0].strides[0] == 1 ? "i" : fmt::format("i * {}", along_[0].strides[0]);
  out->Line("const vi32 v = pair({}, {});", LoadText(fmt::format("x + offset[low] + {}", step), "first[low] - i", "last[low] - i", prelude),
            LoadText(fmt::format("next + offset[high] + {}", step), "first[high] - i", "end - i", prelude));
  out->Line("if (room - i >= {}) store(y + i, v); else store_tail(y + i, v, room - i);", lanes);
  out->Close();
  out->Line("x = high + 1 == {} ? next + {} : next;", taps, channel);
  out->Line("low = high + 1 == {} ? 0 : high + 1;", taps);
  out->Close();
  out->Line("i += run;");
  out->Close();
}

}  // namespace athanor
