#include "jit/loop_space.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <set>

#include "ops/error.h"

namespace athanor {
namespace {

// Applies `fn` to the access map of every load and store.
template <typename BodyType>
void ForEachMap(BodyType& body, const auto& fn) {
  for (auto& operand : body.operands) operand.ForEachMap(fn);
  for (auto& store : body.stores) store.operand.ForEachMap(fn);
}

std::vector<bool> NamedDims(const Body& body) {
  std::vector<bool> named(body.rank(), false);
  for (const Expr& expr : body.exprs) {
    if (expr.kind == Expr::Kind::kReduce) {
      for (int d = 0; d < body.rank(); ++d) named[d] = named[d] || (expr.axes >> d & 1);
    }
  }
  if (HasPartialRange(body)) named.back() = true;
  return named;
}

// The extents, least significant first, that dimension `d` splits into; one entry when it stays whole.
std::vector<int64_t> SplitExtents(const Body& body, int d) {
  std::vector<Digits> functions;
  ForEachMap(body, [&](const Layout& map) { functions.push_back(map.dim(d)); });
  return CommonRadix(functions).value_or(std::vector<int64_t>{body.extents[d]});
}

// Rewrites expressions with indices: `index` gives the replacement of a kIndex over a dimension.
void ReplaceIndices(Body* body, const std::function<int(int dim, DType dtype, std::vector<Expr>* exprs)>& index) {
  std::vector<Expr> exprs;
  std::vector<int> renamed;
  for (Expr expr : body->exprs) {
    for (int& arg : expr.args) arg = arg >= 0 ? renamed[arg] : arg;
    if (expr.kind == Expr::Kind::kIndex) {
      renamed.push_back(index(expr.dim, expr.dtype, &exprs));
    } else {
      exprs.push_back(expr);
      renamed.push_back(static_cast<int>(exprs.size()) - 1);
    }
  }
  body->exprs = std::move(exprs);
  for (Operand& operand : body->operands) operand.row = operand.row >= 0 ? renamed[operand.row] : -1;
  for (Store& store : body->stores) store.expr = renamed[store.expr];
}

int Append(std::vector<Expr>* exprs, const Expr& expr) {
  exprs->push_back(expr);
  return static_cast<int>(exprs->size()) - 1;
}

int AppendIndex(std::vector<Expr>* exprs, int dim, DType dtype) {
  return Append(exprs, {.kind = Expr::Kind::kIndex, .dtype = dtype, .dim = dim});
}

uint32_t MoveBits(uint32_t bits, const std::vector<int>& new_dim) {
  uint32_t moved = 0;
  for (size_t d = 0; d < new_dim.size(); ++d) {
    if (new_dim[d] >= 0 && (bits >> d & 1)) moved |= 1u << new_dim[d];
  }
  return moved;
}

// A single point as one dimension of extent 1.
Body AtLeastOneDim(Body body) {
  if (body.rank() > 0) return body;
  body.extents = {1};
  ForEachMap(body, [](Layout& map) { map = Layout(map.offset(), {{{1, 0}}}); });
  return body;
}

int64_t Strength(const Body& body, int dim) {
  int64_t strength = 0;
  for (const Store& store : body.stores) strength += StrideAlong(store.operand.map, dim) == 1 ? 3 : 0;
  for (const Operand& operand : body.operands) strength += operand.row < 0 && StrideAlong(operand.map, dim) == 1 ? 1 : 0;
  return strength;
}

// The dimension that lanes run along: the one most accesses are contiguous along, stores first.
int VectorDim(const Body& body) {
  const int last = body.rank() - 1;
  if (HasPartialRange(body)) return last;
  int best = last;
  for (int d = last - 1; d >= 0; --d) {
    if (body.extents[d] > 1 && Strength(body, d) > Strength(body, best)) best = d;
  }
  return best;
}

// The access that touches most elements decides the order of the other loops: its addresses should go up steadily. Reads before
// writes, because the hardware fetches ahead for reads, and stores of whole lines can wait.
const Layout& LeadingMap(const Body& body) {
  auto footprint = [&](const Layout& map) {
    int64_t elements = 1;
    for (int d = 0; d < body.rank(); ++d) {
      for (const Digit& digit : map.dim(d)) elements *= digit.stride != 0 ? digit.extent : 1;
    }
    return elements;
  };
  const Layout* best = &body.stores[0].operand.map;
  for (const Operand& operand : body.operands) {
    const int64_t needed = footprint(*best) + (best == &body.stores[0].operand.map ? 0 : 1);
    if (operand.row < 0 && footprint(operand.map) >= needed) best = &operand.map;
  }
  return *best;
}

}  // namespace

std::optional<int64_t> StrideAlong(const Layout& map, int dim) {
  const Digits digits = Coalesce(map.dim(dim));
  if (digits.empty()) return 0;
  if (digits.size() > 1) return std::nullopt;
  return digits[0].stride;
}

bool HasPartialRange(const Body& body) {
  return std::any_of(body.stores.begin(), body.stores.end(), [&](const Store& store) {
    return store.end >= 0 && (store.begin != 0 || store.end != body.extents.back());
  });
}

Body SplitDims(const Body& body) {
  const std::vector<bool> named = NamedDims(body);
  std::vector<std::vector<int64_t>> parts;  // by old dimension, least significant first
  std::vector<int> first;                   // new dimension of the most significant part
  Body result = body;
  result.extents.clear();
  for (int d = 0; d < body.rank(); ++d) {
    parts.push_back(named[d] || body.extents[d] <= 0 ? std::vector<int64_t>{body.extents[d]} : SplitExtents(body, d));
    first.push_back(static_cast<int>(result.extents.size()));
    result.extents.insert(result.extents.end(), parts[d].rbegin(), parts[d].rend());
  }
  ForEachMap(result, [&](Layout& map) { map = map.Split(parts); });
  for (Expr& expr : result.exprs) expr.axes = expr.kind == Expr::Kind::kReduce ? MoveBits(expr.axes, first) : expr.axes;
  ReplaceIndices(&result, [&](int d, DType dtype, std::vector<Expr>* exprs) {
    int index = AppendIndex(exprs, first[d], dtype);
    for (size_t k = 1; k < parts[d].size(); ++k) {  // Horner over the parts
      const int extent = Append(exprs, {.dtype = dtype, .value = static_cast<double>(parts[d][parts[d].size() - 1 - k])});
      const int scaled = Append(exprs, {.kind = Expr::Kind::kApply, .dtype = dtype, .fn = Fn::kMul, .args = {index, extent, -1}});
      const int low = AppendIndex(exprs, first[d] + static_cast<int>(k), dtype);
      index = Append(exprs, {.kind = Expr::Kind::kApply, .dtype = dtype, .fn = Fn::kAdd, .args = {scaled, low, -1}});
    }
    return index;
  });
  return result;
}

Body PermuteDims(const Body& body, const std::vector<int>& order) {
  Body result = body;
  std::vector<int> new_dim(body.rank(), -1);
  for (size_t i = 0; i < order.size(); ++i) {
    new_dim[order[i]] = static_cast<int>(i);
    result.extents[i] = body.extents[order[i]];
  }
  ForEachMap(result, [&](Layout& map) { map = map.Permute(order); });
  for (Expr& expr : result.exprs) {
    if (expr.kind == Expr::Kind::kIndex) expr.dim = new_dim[expr.dim];
    if (expr.kind == Expr::Kind::kReduce) expr.axes = MoveBits(expr.axes, new_dim);
  }
  return result;
}

Body CoalesceDims(const Body& body) {
  std::vector<bool> fixed = NamedDims(body);
  for (const Expr& expr : body.exprs) {
    if (expr.kind == Expr::Kind::kIndex) fixed[expr.dim] = true;
  }
  auto joinable = [&](int d) {  // d with d + 1
    if (fixed[d] || fixed[d + 1]) return false;
    bool even = true;
    ForEachMap(body, [&](const Layout& map) {
      const auto high = StrideAlong(map, d), low = StrideAlong(map, d + 1);
      even = even && high && low && (body.extents[d] == 1 || body.extents[d + 1] == 1 || *high == *low * body.extents[d + 1]);
    });
    return even;
  };
  std::vector<std::vector<int>> groups;  // old dimensions of each new one
  for (int d = 0; d < body.rank(); ++d) {
    if (!groups.empty() && joinable(d - 1)) {
      groups.back().push_back(d);
    } else {
      groups.push_back({d});
    }
  }
  Body result = body;
  result.extents.clear();
  std::vector<int> new_dim(body.rank(), -1);
  for (size_t g = 0; g < groups.size(); ++g) {
    int64_t extent = 1;
    for (int d : groups[g]) extent *= body.extents[d], new_dim[d] = static_cast<int>(g);
    result.extents.push_back(extent);
  }
  ForEachMap(result, [&](Layout& map) {
    std::vector<Digits> dims;
    for (const std::vector<int>& group : groups) {
      Digits digits;
      for (auto d = group.rbegin(); d != group.rend(); ++d) digits.insert(digits.end(), map.dim(*d).begin(), map.dim(*d).end());
      dims.push_back(group.size() == 1 ? map.dim(group[0]) : Coalesce(digits));
      if (dims.back().empty()) dims.back() = {{1, 0}};
    }
    map = Layout(map.offset(), std::move(dims));
  });
  for (Expr& expr : result.exprs) {
    if (expr.kind == Expr::Kind::kIndex) expr.dim = new_dim[expr.dim];
    if (expr.kind == Expr::Kind::kReduce) expr.axes = MoveBits(expr.axes, new_dim);
  }
  return result;
}

Body LoopOrder(const Body& original) {
  Body body = SplitDims(AtLeastOneDim(original));
  const int vector_dim = VectorDim(body);
  const Layout& leading = LeadingMap(body);
  auto weight = [&](int d) {
    int64_t stride = 0;
    for (const Digit& digit : leading.dim(d)) stride = std::max(stride, digit.stride);
    return stride;
  };
  std::vector<int> order(body.rank());
  std::iota(order.begin(), order.end(), 0);
  order.erase(order.begin() + vector_dim);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return weight(a) > weight(b); });
  order.push_back(vector_dim);
  return CoalesceDims(PermuteDims(body, order));
}

}  // namespace athanor
