#include "jit/body_emitter.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "ops/error.h"

namespace athanor {
namespace {

bool StrideVaries(const Digits& digits) {
  return std::any_of(digits.begin(), digits.end(), [](const Digit& d) { return d.extent > 1 && d.stride != 0; });
}

// Of an element of VectorType(dtype).
DType LaneType(DType dtype) { return dtype == DType::kBool ? DType::kI32 : ValueType(dtype); }

std::string Plus(const std::string& a, const std::string& b) { return a.empty() ? b : b.empty() ? a : a + " + " + b; }

}  // namespace

BodyEmitter::BodyEmitter(const Body& body, const std::vector<KernelArg>& args, Prelude* prelude, SourceWriter* out,
                         std::string prefix)
    : body_(body), args_(args), prelude_(prelude), out_(out), prefix_(std::move(prefix)), varies_(body.Varies()) {
  state_.index.resize(body.rank());
}

void BodyEmitter::Push() { saved_.push_back(state_); }

void BodyEmitter::Pop() {
  ATHANOR_CHECK(!saved_.empty());
  state_ = std::move(saved_.back());
  saved_.pop_back();
}

void BodyEmitter::SetIndex(int dim, std::string index) { state_.index[dim] = std::move(index); }

void BodyEmitter::SetVector(int dim, std::string index, int64_t multiple, std::string live) {
  state_.index[dim] = std::move(index);
  state_.vector_dim = dim;
  state_.multiple = multiple;
  state_.live = std::move(live);
  state_.borders.clear();
}

void BodyEmitter::Bind(int expr, std::string name, bool vector) { state_.values[expr] = {std::move(name), vector}; }

std::string BodyEmitter::NewName(int id) {
  std::string name = fmt::format("{}{}", prefix_, id);
  if (const int uses = used_names_[name]++; uses > 0) name += fmt::format("_{}", uses);
  return name;
}

std::string BodyEmitter::Define(int id, DType dtype, bool vector, const std::string& text) {
  const std::string name = NewName(id);
  out_->Line("const {} {} = {};", vector ? VectorType(dtype) : ScalarType(dtype), name, text);
  return name;
}

std::string BodyEmitter::Lanes() const { return state_.live.empty() ? std::to_string(prelude_->lanes()) : state_.live; }

// --- values

BodyEmitter::Value BodyEmitter::Get(int id) {
  if (auto known = state_.values.find(id); known != state_.values.end()) return known->second;
  const Expr& expr = body_.exprs[id];
  Value value;
  switch (expr.kind) {
    case Expr::Kind::kConstant:
      return {Literal(expr.value, expr.dtype), false};
    case Expr::Kind::kLoad:
      value = Load(expr, id);
      break;
    case Expr::Kind::kIndex: {
      ATHANOR_CHECK(!state_.index[expr.dim].empty());
      if (expr.dim != state_.vector_dim) {
        value = {Convert(state_.index[expr.dim], DType::kI64, expr.dtype, false), false};
        break;
      }
      prelude_->Use("iota", DType::kI64);
      const std::string lanes = fmt::format("iota_i64() + {}", state_.index[expr.dim]);
      value = {Define(id, expr.dtype, true, Convert(lanes, DType::kI64, expr.dtype, true)), true};
      break;
    }
    case Expr::Kind::kApply:
      value = Apply(expr, id);
      break;
    case Expr::Kind::kReduce:
    case Expr::Kind::kAccumulator:
      throw InternalError(fmt::format("body emitter: expression {} is not bound", id));
  }
  return state_.values[id] = value;
}

std::string BodyEmitter::Scalar(int expr) {
  const Value value = Get(expr);
  ATHANOR_CHECK(!value.vector);
  return value.text;
}

std::string BodyEmitter::Vector(int expr) { return Widen(Get(expr), body_.exprs[expr].dtype); }

std::string BodyEmitter::Widen(const Value& value, DType dtype) {
  if (value.vector) return value.text;
  prelude_->Use("splat", dtype);
  if (dtype != DType::kBool) return fmt::format("splat({})", value.text);
  prelude_->Use("splat_mask");
  return fmt::format("splat_mask({})", value.text);
}

void BodyEmitter::Hoist(std::span<const int> roots) {
  uint32_t known = 0;
  for (int d = 0; d < body_.rank(); ++d) known |= state_.index[d].empty() ? 0 : 1u << d;
  const int count = static_cast<int>(body_.exprs.size());
  std::vector<char> needed(count, 0), computable(count, 0);
  for (int root : roots) needed[root] = 1;
  for (int e = count - 1; e >= 0; --e) {
    if (!needed[e] || state_.values.contains(e)) continue;
    const Expr& expr = body_.exprs[e];
    if (expr.kind == Expr::Kind::kLoad && body_.operands[expr.operand].row >= 0) needed[body_.operands[expr.operand].row] = 1;
    if (expr.kind != Expr::Kind::kApply) continue;  // a reduction's argument lives inside its own loop
    for (int i = 0; i < Arity(expr.fn); ++i) needed[expr.args[i]] = 1;
  }
  for (int e = 0; e < count; ++e) {
    const Expr& expr = body_.exprs[e];
    if (state_.values.contains(e)) {
      computable[e] = 1;
      continue;
    }
    computable[e] = (varies_[e] & ~known) == 0 && expr.kind != Expr::Kind::kReduce && expr.kind != Expr::Kind::kAccumulator;
    if (expr.kind == Expr::Kind::kLoad && body_.operands[expr.operand].row >= 0)
      computable[e] &= computable[body_.operands[expr.operand].row];
    if (expr.kind == Expr::Kind::kApply) {
      for (int i = 0; i < Arity(expr.fn); ++i) computable[e] &= computable[expr.args[i]];
    }
    const bool worthwhile = expr.kind == Expr::Kind::kLoad || expr.kind == Expr::Kind::kApply;
    if (needed[e] && computable[e] && worthwhile) Get(e);
  }
}

// --- addresses

std::string BodyEmitter::OffsetText(const Digits& digits, const std::string& index) {
  std::string text;
  int64_t below = 1;
  for (size_t k = 0; k < digits.size(); ++k) {
    const Digit& digit = digits[k];
    if (digit.stride != 0 && digit.extent != 1 && index != "0") {
      ATHANOR_CHECK(!index.empty());
      std::string part = index;
      if (digits.size() > 1) {
        prelude_->Use("digit");
        part = k + 1 < digits.size() ? fmt::format("digit({}, {}, {})", index, below, digit.extent)
                                     : fmt::format("high_digit({}, {})", index, below);
      }
      text = Plus(text, digit.stride == 1 ? part : fmt::format("{} * {}", part, Size(digit.stride)));
    }
    below *= digit.extent;
  }
  return text;
}

bool BodyEmitter::Uniform(const Digits& digits, int64_t begin) const {
  const int lanes = prelude_->lanes();
  return digits.size() <= 1 || (digits[0].extent % lanes == 0 && state_.multiple % lanes == 0 && begin % lanes == 0);
}

BodyEmitter::Access BodyEmitter::Address(const Operand& operand, int64_t begin, int ranged) {
  if (!operand.pieces.empty()) return PiecedAddress(operand);
  Access access;
  std::string offset;
  bool lanes = false;
  for (int d = 0; d < operand.map.rank(); ++d) {
    const Digits digits = Coalesce(operand.map.dim(d));
    std::string index = state_.index[d];
    const int64_t first = d == ranged ? begin : 0;
    if (first != 0) index = fmt::format("({} - {})", index, first);
    if (d == state_.vector_dim && !Uniform(digits, first)) {
      lanes = true;
      index = fmt::format("({} + l)", index);
    } else if (d == state_.vector_dim && !digits.empty()) {
      access.stride = digits[0].extent == 1 ? 0 : digits[0].stride;
    }
    offset = Plus(offset, OffsetText(digits, index));
  }
  if (operand.row >= 0) {
    const Value row = Get(operand.row);
    lanes |= row.vector;
    offset = Plus(offset, fmt::format("{}{} * {}", row.text, row.vector ? "[l]" : "", Size(operand.row_stride)));
  }
  if (lanes && access.stride != 0) offset = Plus(offset, fmt::format("l * {}", access.stride));
  access.kind = lanes                ? Access::Kind::kLanes
                : access.stride == 0 ? Access::Kind::kScalar
                : access.stride == 1 ? Access::Kind::kUnit
                                     : Access::Kind::kStrided;
  access.pointer = fmt::format("a{}{}", operand.arg, offset.empty() ? "" : " + " + offset);
  // Last, so that loads which differ in it alone share the rest.
  if (const int64_t constant = operand.map.offset(); constant != 0) {
    const bool negative = constant < 0 && sizes_ == nullptr;
    access.pointer += fmt::format(" {} {}", negative ? '-' : '+', Size(negative ? -constant : constant));
  }
  return access;
}

bool BodyEmitter::WithinPiece(const Operand& operand) const {
  if (state_.vector_dim < 0 || !StrideVaries(operand.coordinate.dim(state_.vector_dim))) return true;
  const int lanes = prelude_->lanes();
  const auto whole = [&](int64_t steps) { return steps % lanes == 0; };
  const Digits along = Coalesce(operand.coordinate.dim(state_.vector_dim));
  if (along[0].stride == 0) return whole(along[0].extent) && whole(state_.multiple);  // pieces one step apart: their number is a higher digit
  if (along[0].stride != 1 || (along.size() > 1 && !whole(along[0].extent)) || !whole(state_.multiple)) return false;
  for (int d = 0; d < operand.coordinate.rank(); ++d) {
    for (const Digit& digit : operand.coordinate.dim(d)) {
      const bool lowest = d == state_.vector_dim && digit.stride == 1;
      if (digit.extent > 1 && !lowest && !whole(digit.stride)) return false;
    }
  }
  return whole(operand.coordinate.offset()) &&
         std::all_of(operand.pieces.begin(), operand.pieces.end(), [&](const Piece& piece) { return whole(piece.begin); });
}

BodyEmitter::Access BodyEmitter::AddressOf(int arg, const Layout& map, bool by_lanes) {
  Operand plain;
  plain.arg = arg, plain.map = map;
  if (!by_lanes) return Address(plain);
  const int dim = std::exchange(state_.vector_dim, -1);
  const std::string index = std::exchange(state_.index[dim], fmt::format("({} + l)", state_.index[dim]));
  Access access = Address(plain);
  access.kind = Access::Kind::kLanes;
  state_.vector_dim = dim, state_.index[dim] = index;
  return access;
}

// The first piece whose end is not reached. Where lanes may differ, or steps do, each lane looks for itself.
BodyEmitter::Access BodyEmitter::PiecedAddress(const Operand& operand) {
  Access access = AddressOf(operand.arg, operand.map, false);
  bool by_lanes = !WithinPiece(operand) || access.kind == Access::Kind::kLanes;
  for (const Piece& piece : operand.pieces) {
    const Access other = AddressOf(piece.arg, piece.map, false);
    by_lanes |= other.kind != access.kind || other.stride != access.stride;
  }
  if (by_lanes) access = AddressOf(operand.arg, operand.map, true);
  const std::string coordinate = Coordinate(operand.coordinate, by_lanes);
  std::string text;
  for (const Piece& piece : operand.pieces) {
    text += fmt::format("{} < {} ? {} : ", coordinate, piece.begin, access.pointer);
    access.pointer = AddressOf(piece.arg, piece.map, by_lanes).pointer;
  }
  access.pointer = fmt::format("({}{})", text, access.pointer);
  return access;
}

std::string BodyEmitter::Pointer(const Operand& operand) {
  const int vector_dim = std::exchange(state_.vector_dim, -1);
  const std::string pointer = Address(operand).pointer;
  state_.vector_dim = vector_dim;
  return pointer;
}

// --- loads

std::string BodyEmitter::LoadScalar(const std::string& pointer, DType dtype) {
  if (dtype == DType::kBool) return fmt::format("(*({}) != 0)", pointer);
  if (MemorySuffix(dtype).empty()) return fmt::format("*({})", pointer);
  prelude_->Use(Name(dtype));
  return fmt::format("{}_value(*({}))", Name(dtype), pointer);
}

std::string BodyEmitter::DeclareLanes(const std::string& name, DType dtype, std::string_view initial) {
  out_->Line("{} {}_lanes[{}]{};", ScalarType(LaneType(dtype)), name, prelude_->lanes(), initial);
  return name + "_lanes";
}

std::string BodyEmitter::StoreLanes(const std::string& name, const std::string& vector, DType memory) {
  const std::string lanes = DeclareLanes(name, memory);
  prelude_->Use("store", LaneType(memory));
  out_->Line("store({}, {});", lanes, vector);
  if (memory == DType::kBool) return lanes + "[l] & 1";
  if (MemorySuffix(memory).empty()) return lanes + "[l]";
  prelude_->Use(Name(memory));
  return fmt::format("{}_bits({}[l])", Name(memory), lanes);
}

BodyEmitter::Value BodyEmitter::Load(const Expr& expr, int id) {
  const Operand& operand = body_.operands[expr.operand];
  const DType memory = args_[operand.arg].dtype;
  const Access access = Address(operand);
  if (!operand.bounds.empty()) return BoundedLoad(expr, id, access);
  if (access.kind == Access::Kind::kScalar) {
    return {Define(id, expr.dtype, false, Convert(LoadScalar(access.pointer, memory), memory, expr.dtype, false)), false};
  }
  if (const std::string zipped = access.kind == Access::Kind::kLanes ? ZippedText(operand, memory) : ""; !zipped.empty()) {
    return {Define(id, expr.dtype, true, Convert(zipped, memory, expr.dtype, true)), true};
  }
  if (const auto split = access.kind == Access::Kind::kLanes ? SplitOf(operand) : std::nullopt) {
    UseWords("split", memory);
    const std::string text = fmt::format("load_split{}({}, {}, {}{})", state_.live.empty() ? "" : "_tail", split->first, split->second, split->border,
                                         state_.live.empty() ? "" : ", " + state_.live);
    return {Define(id, expr.dtype, true, Convert(FromWords(text, memory), memory, expr.dtype, true)), true};
  }
  if (access.kind == Access::Kind::kLanes) {
    const std::string name = NewName(id), lanes = DeclareLanes(name, memory, state_.live.empty() ? "" : " = {}");
    out_->Line("for (long l = 0; l < {}; ++l) {}[l] = {}{};", Lanes(), lanes, memory == DType::kBool ? "-" : "", LoadScalar(access.pointer, memory));
    prelude_->Use("load", LaneType(memory));
    out_->Line("const {} {} = load({});", VectorType(memory), name, lanes);
    if (ValueType(memory) == ValueType(expr.dtype)) return {name, true};
    return {Define(id, expr.dtype, true, Convert(name, memory, expr.dtype, true)), true};
  }
  const std::string suffix = MemorySuffix(memory);
  const bool strided = access.kind == Access::Kind::kStrided, tail = !strided && !state_.live.empty();
  const bool second = strided && access.stride == 2 && suffix.empty();
  if (suffix.empty()) {
    prelude_->Use(second ? "second" : strided ? "strided" : tail ? "tail" : "load", memory);
  } else {
    prelude_->Use(Name(memory));
  }
  const std::string text = second && state_.live.empty() ? fmt::format("load_second({})", access.pointer)
                           : second  ? fmt::format("load_second_tail({}, {})", access.pointer, state_.live)
                           : strided ? fmt::format("load{}_strided({}, {}, {})", suffix, access.pointer, access.stride, Lanes())
                           : tail    ? fmt::format("load{}_tail({}, {})", suffix, access.pointer, state_.live)
                                     : fmt::format("load{}({})", suffix, access.pointer);
  return {Define(id, expr.dtype, true, Convert(text, memory, expr.dtype, true)), true};
}

std::string BodyEmitter::ZippedText(const Operand& operand, DType memory) {
  const int dim = state_.vector_dim, lanes = prelude_->lanes();
  const Digits digits = Coalesce(operand.map.dim(dim));
  if (memory == DType::kBool || !state_.live.empty() || operand.row >= 0 || !operand.pieces.empty()) return "";
  if (digits.size() < 2 || digits[0].extent != 2 || digits[1].stride != 1) return "";
  const int64_t row = digits.size() == 2 ? lanes : 2 * digits[1].extent;
  const int64_t piece = std::gcd(std::gcd<int64_t>(row, lanes), state_.multiple);
  if (piece < 4 || lanes / piece > 4) return "";
  std::vector<Digits> dims = operand.map.dims();
  dims[dim] = digits;
  dims[dim][0].stride = 0;
  Operand first;                                             // of the two places
  first.arg = operand.arg, first.map = Layout(operand.map.offset(), std::move(dims));
  const std::string index = state_.index[dim];
  std::string pointers;
  for (int64_t at = 0; at < lanes; at += piece) {
    if (at > 0) state_.index[dim] = fmt::format("({} + {})", index, at);
    pointers += Pointer(first) + ", ";
  }
  state_.index[dim] = index;
  UseWords("zipped", memory);
  return FromWords(fmt::format("load_zipped({}{})", pointers, digits[0].stride), memory);
}

void BodyEmitter::UseWords(std::string_view unit, DType memory) {
  prelude_->Use(fmt::format("{}.{}", unit, IsHalf(memory) ? "u16" : Name(memory)));
  if (IsHalf(memory)) prelude_->Use(Name(memory));
}

std::string BodyEmitter::FromWords(const std::string& text, DType memory) { return IsHalf(memory) ? fmt::format("{}_value({})", Name(memory), text) : text; }

std::string BodyEmitter::ToWords(const std::string& text, DType memory) { return IsHalf(memory) ? fmt::format("{}_bits({})", Name(memory), text) : text; }

std::optional<BodyEmitter::Split> BodyEmitter::SplitOf(const Operand& operand) {
  const int dim = state_.vector_dim;
  std::vector<Digits> dims = operand.map.dims();
  dims[dim] = Coalesce(dims[dim]);
  const int64_t row = dims[dim].size() < 2 ? 0 : dims[dim][0].extent;
  if (row < prelude_->lanes() || dims[dim][0].stride != 1 || operand.row >= 0 || !operand.pieces.empty() || args_[operand.arg].dtype == DType::kBool) return std::nullopt;
  const std::string index = state_.index[dim];
  std::string& border = state_.borders[row];
  if (border.empty()) {
    border = fmt::format("{}_border{}", prefix_, row);
    if (const int uses = used_names_[border]++; uses > 0) border += fmt::format("_{}", uses);
    prelude_->Use("digit");
    out_->Line("const long {} = {} - digit({}, 1, {});", border, row, index, row);
  }
  const std::string first = Pointer(operand);
  dims[dim][0].stride = 0;                                   // the next row begins there
  Operand next;
  next.arg = operand.arg, next.map = Layout(operand.map.offset(), std::move(dims));
  state_.index[dim] = fmt::format("({} + {})", index, border);
  const std::string second = Pointer(next);
  state_.index[dim] = index;
  return Split{first, fmt::format("{} - {}", second, border), border};
}

std::string BodyEmitter::Coordinate(const Layout& coordinate, bool lane) {
  std::string text = std::to_string(coordinate.offset());
  for (int d = 0; d < coordinate.rank(); ++d) {
    const bool along = lane && d == state_.vector_dim;
    text = Plus(text, OffsetText(Coalesce(coordinate.dim(d)), along ? fmt::format("({} + l)", state_.index[d]) : state_.index[d]));
  }
  return text;
}

BodyEmitter::Value BodyEmitter::BoundedLoad(const Expr& expr, int id, const Access& access) {
  const Operand& operand = body_.operands[expr.operand];
  const DType memory = args_[operand.arg].dtype, value = ValueType(expr.dtype);
  const std::string fill = Literal(operand.fill, value), name = NewName(id);
  auto conjunction = [&](bool lane, bool varying) {          // of the bounds that vary along the lanes, or of the others
    std::string text;
    for (const Bound& bound : operand.bounds) {
      if ((state_.vector_dim >= 0 && StrideVaries(bound.coordinate.dim(state_.vector_dim))) != varying) continue;
      text += fmt::format("{}(unsigned long)({}) < {}", text.empty() ? "" : " && ", Coordinate(bound.coordinate, lane), bound.extent);
    }
    return text.empty() ? "1" : text;
  };
  const bool varying = conjunction(false, true) != "1";
  auto element = [&](const std::string& pointer) { return Convert(LoadScalar(pointer, memory), memory, expr.dtype, false); };
  if (access.kind == Access::Kind::kScalar && !varying) {
    out_->Line("const {} {} = {} ? {} : {};", ScalarType(value), name, conjunction(false, false), element(access.pointer), fill);
    return {name, false};
  }
  prelude_->Use("splat", value);
  out_->Line("{} {} = splat({});", VectorType(value), name, fill);
  const bool half = IsHalf(memory);
  const bool unit = access.kind == Access::Kind::kUnit && (memory == value || (half && operand.fill == 0));
  const bool second = access.kind == Access::Kind::kStrided && access.stride == 2 && memory == value;
  bool steps = true;                                         // the varying coordinates go up as addresses do, by one or two a lane
  for (const Bound& bound : operand.bounds) {
    const Digits along = state_.vector_dim < 0 ? Digits{} : Coalesce(bound.coordinate.dim(state_.vector_dim));
    steps &= !StrideVaries(along) || (along[0].stride == (second ? 2 : 1) && Uniform(along, 0));
  }
  out_->Open("if ({})", conjunction(false, false));
  if ((unit || second) && steps) {
    prelude_->Use(half ? "window.u16" : fmt::format("{}.{}", second ? "window_strided" : "window", Name(memory)));
    if (half) prelude_->Use(Name(memory));
    std::string first = "0", last = Lanes();
    for (const Bound& bound : operand.bounds) {
      if (!StrideVaries(bound.coordinate.dim(state_.vector_dim))) continue;
      const std::string at = Coordinate(bound.coordinate, false);
      const auto lanes = [&](const std::string& distance) { return second ? fmt::format("({} + 1) / 2", distance) : distance; };
      first = fmt::format("larger({}, {})", first, lanes(fmt::format("-({})", at)));
      last = fmt::format("smaller({}, {})", last, lanes(fmt::format("{} - ({})", bound.extent, at)));
    }
    const std::string window = fmt::format("load_window{}({}, {}{}, {}, {})", second ? "_strided" : "", access.pointer, second ? "2, " : "", first, last,
                                           half ? "vu16{}" : name);
    out_->Line("{} = {};", name, half ? fmt::format("{}_value({})", Name(memory), window) : window);
  } else {
    const std::string pointer = access.kind == Access::Kind::kLanes || access.stride == 0
                                    ? access.pointer
                                    : fmt::format("{} + l * {}", access.pointer, access.stride);
    const std::string lanes = DeclareLanes(name, value);
    for (const char* helper : {"load", "store"}) prelude_->Use(helper, LaneType(value));
    out_->Line("store({}, {});", lanes, name);
    out_->Open("for (long l = 0; l < {}; ++l)", Lanes());
    out_->Line("if ({}) {}[l] = {}{};", conjunction(true, true), lanes, memory == DType::kBool ? "-" : "", element(pointer));
    out_->Close();
    out_->Line("{} = load({});", name, lanes);
  }
  out_->Close();
  return {name, true};
}

// --- stores

void BodyEmitter::EmitStores(bool streaming) {
  for (const Store& store : body_.stores) EmitStore(store, true, streaming);
}

void BodyEmitter::EmitStore(const Store& store, bool check, bool streaming) {
  const int last = body_.rank() - 1, ranged = store.along < 0 ? last : store.along;
  const bool whole = store.end < 0 || (store.begin == 0 && store.end == body_.extents[ranged]);
  if (whole || (!check && ranged == last)) return StoreValue(store, Address(store.operand, whole ? 0 : store.begin, ranged), streaming, whole);
  const int lanes = prelude_->lanes();
  const bool whole_vectors =
      store.begin % lanes == 0 && state_.multiple % lanes == 0 && (store.end % lanes == 0 || store.end == body_.extents[ranged]);
  const std::string& index = state_.index[ranged];
  if (state_.vector_dim != ranged || whole_vectors) {
    out_->Open("if ({0} >= {1} && {0} < {2})", index, store.begin, store.end);
    Push();
    StoreValue(store, Address(store.operand, store.begin, ranged), streaming);
    Pop();
    out_->Close();
    return;
  }
  // The range's border may lie inside a vector: element by element there.
  out_->Open("if ({0} + {1} > {2} && {0} < {3})", index, lanes, store.begin, store.end);
  Push();
  const std::string value =
      Widen({Convert(Vector(store.expr), body_.exprs[store.expr].dtype, args_[store.operand.arg].dtype, true), true},
            args_[store.operand.arg].dtype);
  const Access access = Address(store.operand, store.begin, ranged);
  const DType memory = args_[store.operand.arg].dtype;
  const std::string lane = StoreLanes(NewName(store.expr), value, memory);
  out_->Open("for (long l = 0; l < {}; ++l)", Lanes());
  out_->Line("if ({0} + l < {1} || {0} + l >= {2}) continue;", index, store.begin, store.end);
  const std::string pointer =
      access.kind == Access::Kind::kLanes ? access.pointer : fmt::format("{} + l * {}", access.pointer, access.stride);
  out_->Line("*({}) = {};", pointer, lane);
  out_->Close();
  Pop();
  out_->Close();
}

void BodyEmitter::StoreValue(const Store& store, const Access& access, bool streaming, bool from_start) {
  const DType memory = args_[store.operand.arg].dtype, dtype = body_.exprs[store.expr].dtype;
  const std::string suffix = MemorySuffix(memory);
  const Value got = Get(store.expr);
  if (access.kind == Access::Kind::kScalar) {
    ATHANOR_CHECK(!got.vector);
    const std::string value = Convert(got.text, dtype, memory, false);
    if (!suffix.empty() && memory != DType::kBool) prelude_->Use(Name(memory));
    out_->Line("*({}) = {};", access.pointer,
               suffix.empty() || memory == DType::kBool ? value : fmt::format("{}_bits({})", Name(memory), value));
    return;
  }
  const std::string value = Convert(Widen(got, dtype), dtype, memory, true);
  if (const auto split = from_start && access.kind == Access::Kind::kLanes ? SplitOf(store.operand) : std::nullopt) {
    UseWords("split", memory);
    out_->Line("store_split{}({}, {}, {}, {}{});", state_.live.empty() ? "" : "_tail", split->first, split->second, ToWords(value, memory), split->border,
               state_.live.empty() ? "" : ", " + state_.live);
    return;
  }
  if (access.kind == Access::Kind::kLanes) {
    const std::string lane = StoreLanes(NewName(store.expr), value, memory);
    out_->Line("for (long l = 0; l < {}; ++l) *({}) = {};", Lanes(), access.pointer, lane);
    return;
  }
  if (!suffix.empty()) prelude_->Use(Name(memory));
  const bool strided = access.kind == Access::Kind::kStrided, tail = !strided && !state_.live.empty();
  streaming &=
      !strided && !tail && suffix.empty() && SizeOf(memory) * prelude_->lanes() >= (prelude_->isa() == Isa::kAvx512 ? 64 : 32);
  if (suffix.empty()) prelude_->Use(strided ? "strided" : tail ? "tail" : streaming ? "stream" : "store", memory);
  if (strided) {
    out_->Line("store{}_strided({}, {}, {}, {});", suffix, access.pointer, value, access.stride, Lanes());
  } else if (tail) {
    out_->Line("store{}_tail({}, {}, {});", suffix, access.pointer, value, state_.live);
  } else {
    out_->Line("{}{}({}, {});", streaming ? "stream" : "store", suffix, access.pointer, value);
  }
}

// --- declarations

void DeclareArgs(const std::vector<KernelArg>& args, SourceWriter* out) {
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string type = fmt::format("{}{}*", args[i].written ? "" : "const ", MemoryType(args[i].dtype));
    out->Define(fmt::format("a{}", i), "{0} const a{1} = ({0})args[{1}];", type, i);
  }
}

int LanesFor(const Body& body, const CpuTarget& cpu) {
  bool wide = false;
  for (const Expr& expr : body.exprs) wide |= expr.dtype == DType::kF64;
  return cpu.vector_bytes() / (wide ? 8 : 4);
}

}  // namespace athanor
