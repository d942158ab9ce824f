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

std::optional<std::vector<WindowCopier::Piece>> WindowCopier::PiecesOf(const Operand& operand, int dim) {
  std::vector<Digits> functions;
  operand.ForEachMap([&](const Layout& map) { functions.push_back(map.dim(dim)); });
  const std::optional<std::vector<int64_t>> extents = CommonRadix(functions);
  if (!extents) return std::nullopt;
  std::vector<Piece> pieces;
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
  auto along_pieces = PiecesOf(operand, along), across_pieces = PiecesOf(operand, across), batch_pieces = PiecesOf(operand, 0);
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
    for (const Piece& piece : batch_) {
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
  out->Line("{}* to_run = {};", ScalarType(dtype_), target.at);
  WriteRun(target, prelude, out);
  out->Line("i += run;");
  out->Close();
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

// Which lanes of a tap lie inside the tensor: [first, last).
void WindowCopier::WriteTap(const Target& target, Prelude* prelude, SourceWriter* out) const {
  prelude->Use("bounds");
  out->Line("long first = 0, last = live;");
  for (int f = 1; f < functions_; ++f) {
    std::string at = fmt::format("c{}", f - 1);
    for (size_t p = 0; p + 1 < across_.size(); ++p) AddTerm(&at, fmt::format("j{}", p), across_[p].strides[f]);
    const int64_t extent = operand_->bounds[f - 1].extent, stride = along_[0].strides[f];
    out->Line("const long at{} = {};", f - 1, at);
    if (stride == 0) {
      out->Line("if ((unsigned long)at{} >= {}) last = 0;", f - 1, extent);
    } else if (stride == 1) {
      out->Line("first = larger(first, -at{0}), last = smaller(last, {1} - at{0});", f - 1, extent);
    } else {
      out->Line("first = larger(first, ({1} - at{0}) / {2}), last = smaller(last, ({3} - at{0} + {1}) / {2});", f - 1, stride - 1, stride, extent);
    }
  }
  WriteChannels(target, prelude, out);
}

void WindowCopier::WriteChannels(const Target& target, Prelude* prelude, SourceWriter* out) const {
  const int lanes = prelude->lanes();
  const int64_t taps = ProductOf(across_, across_.size() - 1), run_stride = along_[0].strides[0];
  std::string tap = "0", offset = "0";
  int64_t below = 1;
  for (size_t p = 0; p + 1 < across_.size(); ++p) {
    AddTerm(&tap, fmt::format("j{}", p), below);
    AddTerm(&offset, fmt::format("j{}", p), across_[p].strides[0]);
    below *= across_[p].extent;
  }
  out->Line("const long tap = {};", tap);
  auto channel = [&](const std::string& end) {               // the first channel whose index across is not below `end`
    return taps == 1 ? end : fmt::format("larger(0, ({} - tap + {}) / {})", end, taps - 1, taps);
  };
  out->Line("const long j = {}, j_end = {};", channel(target.across_begin), channel(target.across_end));
  out->Line("const {}* x = from + {} + j * {};", MemoryType(memory_), offset, across_.back().strides[0]);
  out->Line("{}* y = to_run + (tap + j * {} - {}) * {};", ScalarType(dtype_), taps, target.across_begin, target.step);
  prelude->Use("store", dtype_);
  prelude->Use("tail", dtype_);
  const bool half = memory_ != dtype_;                       // bf16 or f16: their bits are loaded, then converted
  const std::string tag = half ? "u16" : std::string(Name(dtype_)), arguments = fmt::format("first, last, v{}{{}}", tag);
  prelude->Use((run_stride == 1 ? "window." : "window_strided.") + tag);
  std::string value = run_stride == 1 ? fmt::format("load_window(x, {})", arguments)
                                      : fmt::format("load_window_strided(x, {}, {})", run_stride, arguments);
  if (half) {
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

}  // namespace athanor
