#include "jit/loop_writer.h"

#include <charconv>
#include <numeric>
#include <optional>
#include <set>

#include "ops/error.h"

namespace athanor {
namespace {

std::optional<int64_t> Number(const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string Larger(const std::string& a, int64_t b) {
  if (const auto number = Number(a)) return std::to_string(std::max(*number, b));
  return b == 0 ? a : fmt::format("({0} > {1} ? {0} : {1})", a, b);
}

std::string Smaller(const std::string& a, int64_t b, int64_t extent) {
  if (const auto number = Number(a)) return std::to_string(std::min(*number, b));
  return b == extent ? a : fmt::format("({0} < {1} ? {0} : {1})", a, b);
}

bool Partial(const Store& store, const Body& body) {
  return store.end >= 0 && (store.begin != 0 || store.end != body.extents[store.along < 0 ? body.rank() - 1 : store.along]);
}

// Only a part of the last dimension is written.
bool PartialVectors(const Store& store, const Body& body) { return Partial(store, body) && store.HasRange(body.rank() - 1, body.rank()); }

}  // namespace

void LoopWriter::SplitIndex(const std::string& flat, int count) {
  const Body& body = emitter_->body();
  int64_t below = 1;
  for (int d = count - 1; d >= 0; --d) {
    std::string text = flat;
    if (body.extents[d] == 1) {
      emitter_->SetIndex(d, "0");
      continue;
    }
    const bool highest = Product(Shape(body.extents.begin(), body.extents.begin() + d)) == 1;
    if (!highest) {
      prelude_->Use("digit");
      text = fmt::format("digit({}, {}, {})", flat, below, body.extents[d]);
    } else if (below != 1) {
      prelude_->Use("digit");
      text = fmt::format("high_digit({}, {})", flat, below);
    }
    out_->Line("const long i{} = {};", d, text);
    emitter_->SetIndex(d, fmt::format("i{}", d));
    below *= body.extents[d];
  }
}

void LoopWriter::OpenLoop(int dim, const std::string& from, const std::string& to) {
  out_->Open("for (long i{0} = {1}; i{0} < {2}; ++i{0})", dim, from, to);
  emitter_->Push();
  emitter_->SetIndex(dim, fmt::format("i{}", dim));
}

void LoopWriter::CloseLoop() {
  emitter_->Pop();
  out_->Close();
}

void LoopWriter::HoistStores() {
  std::vector<int> roots;
  for (const Store& store : emitter_->body().stores) {
    if (!Partial(store, emitter_->body())) roots.push_back(store.expr);
  }
  emitter_->Hoist(roots);
}

void LoopWriter::Fence() {
  if (!streaming_) return;
  prelude_->Use("fence");
  out_->Line("fence();");
}

void LoopWriter::VectorLoop(int dim, const std::string& from, const std::string& to) {
  const Body& body = emitter_->body();
  const bool last = dim == body.rank() - 1;
  const int64_t extent = body.extents[dim];
  std::set<int64_t> borders = {0, extent};
  for (const Store& store : body.stores) {
    if (last && PartialVectors(store, body)) borders.insert({store.begin, store.end});
  }
  for (auto border = borders.begin(); std::next(border) != borders.end(); ++border) {
    const int64_t begin = *border, end = *std::next(border);
    std::vector<const Store*> active;
    for (const Store& store : body.stores) {
      if (!last || !PartialVectors(store, body) || (store.begin <= begin && end <= store.end)) active.push_back(&store);
    }
    if (active.empty()) continue;
    const int64_t multiple = std::gcd(begin, static_cast<int64_t>(prelude_->lanes()));
    const bool whole = whole_ && multiple == prelude_->lanes() && end % multiple == 0;
    WriteVectors(dim, Larger(from, begin), Smaller(to, end, extent), multiple, whole, chains_, [&](int chain, const std::string& live) {
      for (const Store* store : active) emitter_->EmitStore(*store, false, streaming_);
      if (after_) after_(chain, live);
    });
  }
}

void LoopWriter::WriteVectors(int dim, const std::string& from, const std::string& to, int64_t multiple, bool whole, int chains,
                              const std::function<void(int chain, const std::string& live)>& body) {
  const int lanes = prelude_->lanes();
  const std::string index = fmt::format("i{}", dim);
  auto point = [&](const std::string& at, const std::string& live, int chain = 0) {
    emitter_->Push();
    emitter_->SetVector(dim, at, multiple, live);
    if (before_) before_(at, live);
    body(chain, live);
    emitter_->Pop();
  };
  auto block = [&](const std::string& at, const std::string& live, int chain = 0) {
    out_->OpenBlock();
    point(at, live, chain);
    out_->Close();
  };
  auto all_chains = [&] {
    for (int chain = 0; chain < chains; ++chain) block(chain == 0 ? index : fmt::format("({} + {})", index, chain * lanes), "", chain);
  };
  auto unroll = [&] {
    if (unroll_ > 1) out_->Line("#pragma clang loop unroll_count({})", unroll_);
  };
  if (const auto first = Number(from), last = Number(to); first && last) {
    int64_t at = *first;
    auto loop = [&](int64_t step) {
      const int64_t end = at + (*last - at) / step * step;
      if (at >= end) return false;
      if (step == lanes) unroll();
      out_->Open("for (long {0} = {1}; {0} < {2}; {0} += {3})", index, at, end, step);
      at = end;
      return true;
    };
    if (chains > 1 && loop(chains * lanes)) {
      all_chains();
      out_->Close();
    }
    if (loop(lanes)) {
      point(index, "");
      out_->Close();
    }
    if (at < *last) block(std::to_string(at), std::to_string(*last - at));
    return;
  }
  out_->OpenBlock();
  out_->Line("long {} = {};", index, from);
  if (chains > 1) {
    out_->Open("for (; {0} + {1} <= {2}; {0} += {1})", index, chains * lanes, to);
    all_chains();
    out_->Close();
  }
  unroll();
  out_->Open("for (; {0} + {1} <= {2}; {0} += {1})", index, lanes, to);
  point(index, "");
  out_->Close();
  if (!whole) {
    out_->Open("if ({} < {})", index, to);
    point(index, fmt::format("({} - {})", to, index));
    out_->Close();
  }
  out_->Close();
}

}  // namespace athanor
