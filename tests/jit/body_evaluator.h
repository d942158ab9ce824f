#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "jit/plan.h"

namespace athanor::testing {

// One argument of a kernel: elements of a dtype in 64-byte aligned memory with guard bytes behind the last element.
class Memory {
 public:
  Memory(DType dtype, int64_t elements) : dtype_(dtype), elements_(elements), bytes_(elements * SizeOf(dtype)) {
    data_.reset(static_cast<std::byte*>(std::aligned_alloc(64, (bytes_ + kGuard + 63) / 64 * 64)));
    std::memset(data_.get(), 0, bytes_);
    std::memset(data_.get() + bytes_, 0x5a, kGuard);
  }
  Memory(const Memory& other) : Memory(other.dtype_, other.elements_) { std::memcpy(data_.get(), other.data_.get(), bytes_); }

  DType dtype() const { return dtype_; }
  int64_t elements() const { return elements_; }
  char* data() { return reinterpret_cast<char*>(data_.get()); }
  bool SameBytes(const Memory& other) const {
    return bytes_ == other.bytes_ && std::memcmp(data_.get(), other.data_.get(), bytes_) == 0;
  }
  bool GuardIntact() const {
    for (int i = 0; i < kGuard; ++i) {
      if (data_.get()[bytes_ + i] != std::byte{0x5a}) return false;
    }
    return true;
  }

  double Get(int64_t i) const {
    switch (dtype_) {
      case DType::kF32:
        return At<float>(i);
      case DType::kF64:
        return At<double>(i);
      case DType::kI32:
        return At<int32_t>(i);
      case DType::kI64:
        return static_cast<double>(At<int64_t>(i));
      case DType::kBF16: {
        const uint32_t bits = static_cast<uint32_t>(At<uint16_t>(i)) << 16;
        float value;
        std::memcpy(&value, &bits, 4);
        return value;
      }
      case DType::kF16:
        return static_cast<double>(At<_Float16>(i));
      default:
        return At<uint8_t>(i);
    }
  }
  void Set(int64_t i, double value) {
    switch (dtype_) {
      case DType::kF32:
        Put(i, static_cast<float>(value));
        break;
      case DType::kF64:
        Put(i, value);
        break;
      case DType::kI32:
        Put(i, static_cast<int32_t>(value));
        break;
      case DType::kI64:
        Put(i, static_cast<int64_t>(value));
        break;
      case DType::kBF16: {
        const auto single = static_cast<float>(value);
        uint32_t bits;
        std::memcpy(&bits, &single, 4);
        Put(i, static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16));
        break;
      }
      case DType::kF16:
        Put(i, static_cast<_Float16>(value));
        break;
      case DType::kBool:
        Put(i, static_cast<uint8_t>(value != 0));
        break;
      case DType::kU8:
        Put(i, static_cast<uint8_t>(value));
        break;
    }
  }
  // Uniform in [low, high); integers are truncated.
  void Fill(std::mt19937* random, double low = -2, double high = 2) {
    std::uniform_real_distribution<double> uniform(low, high);
    for (int64_t i = 0; i < elements_; ++i)
      Set(i, dtype_ == DType::kBool ? uniform(*random) > (low + high) / 2 : uniform(*random));
  }

 private:
  static constexpr int kGuard = 256;
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  template <typename T>
  T At(int64_t i) const {
    T value;
    std::memcpy(&value, data_.get() + i * sizeof(T), sizeof(T));
    return value;
  }
  template <typename T>
  void Put(int64_t i, T value) {
    std::memcpy(data_.get() + i * sizeof(T), &value, sizeof(T));
  }
  DType dtype_;
  int64_t elements_, bytes_;
  std::unique_ptr<std::byte, Free> data_;
};

// The meaning of a Body, point by point in double: what generated kernels are compared with.
class BodyEvaluator {
 public:
  // `args` are addressed by Operand::arg and outlive the evaluator.
  BodyEvaluator(const Body& body, const std::vector<Memory>& args) : body_(body), args_(args), known_(body.exprs.size()) {}

  // The accumulator's value at a point (epilogues of contracts).
  void SetAccumulator(std::function<double(const std::vector<int64_t>&)> accumulator) { accumulator_ = std::move(accumulator); }

  double Value(int id, const std::vector<int64_t>& index) {
    const Expr& expr = body_.exprs[id];
    switch (expr.kind) {
      case Expr::Kind::kConstant:
        return expr.value;
      case Expr::Kind::kIndex:
        return static_cast<double>(index[expr.dim]);
      case Expr::Kind::kAccumulator:
        return accumulator_(index);
      case Expr::Kind::kLoad:
        return Load(body_.operands[expr.operand], index);
      case Expr::Kind::kReduce:
        return Reduce(id, index);
      case Expr::Kind::kApply:
        break;
    }
    double arg[3] = {};
    for (int i = 0; i < Arity(expr.fn); ++i) arg[i] = Value(expr.args[i], index);
    return Round(Apply(expr.fn, arg[0], arg[1], arg[2]), expr);
  }

  double Load(const Operand& operand, const std::vector<int64_t>& index) {
    for (const Bound& bound : operand.bounds) {
      const int64_t at = bound.coordinate.Address(index);
      if (at < 0 || at >= bound.extent) return operand.fill;
    }
    return args_[operand.arg].Get(Address(operand, index));
  }

  int64_t Address(const Operand& operand, std::vector<int64_t> index, int64_t begin = 0) {
    const int64_t row = operand.row >= 0 ? static_cast<int64_t>(Value(operand.row, index)) * operand.row_stride : 0;
    if (begin != 0) index.back() -= begin;
    return operand.map.Address(index) + row;
  }

  // Carries out the stores into `out`.
  void Store(std::vector<Memory>* out) {
    std::vector<int64_t> index(body_.rank(), 0);
    const int64_t points = Product(body_.extents);
    for (int64_t p = 0; p < points; ++p) {
      int64_t rest = p;
      for (int d = body_.rank() - 1; d >= 0; --d) index[d] = rest % body_.extents[d], rest /= body_.extents[d];
      for (const auto& store : body_.stores) {
        const int64_t begin = store.end < 0 ? 0 : store.begin;
        if (store.end >= 0 && (index.back() < store.begin || index.back() >= store.end)) continue;
        if (!FirstAlongUnstored(store, index)) continue;
        (*out)[store.operand.arg].Set(Address(store.operand, index, begin), Value(store.expr, index));
      }
    }
  }

 private:
  static double Round(double value, const Expr& expr) {
    if (expr.dtype == DType::kF32 || expr.dtype == DType::kF64) return value;
    if (expr.fn != Fn::kCast && IsFloat(expr.dtype)) return value;
    Memory one(expr.dtype, 1);
    one.Set(0, value);
    return one.Get(0);
  }
  // Written once along dimensions the map does not move in.
  bool FirstAlongUnstored(const athanor::Store& store, const std::vector<int64_t>& index) const {
    for (int d = 0; d < body_.rank(); ++d) {
      if (index[d] == 0) continue;
      bool moves = false;
      for (const Digit& digit : store.operand.map.dim(d)) moves |= digit.stride != 0;
      if (!moves) return false;
    }
    return true;
  }
  double Reduce(int id, const std::vector<int64_t>& at) {
    const Expr& expr = body_.exprs[id];
    std::vector<int64_t> index = at;
    int64_t key = 0, count = 1;
    for (int d = 0; d < body_.rank(); ++d) {
      if (expr.axes >> d & 1) index[d] = 0, count *= body_.extents[d];
      key = key * body_.extents[d] + index[d];
    }
    auto& known = known_[id];
    if (known.empty()) known.resize(Product(body_.extents));
    if (known[key]) return *known[key];
    double sum = expr.fn == Fn::kMax ? -INFINITY : 0;
    for (int64_t k = 0; k < count; ++k) {
      int64_t rest = k;
      for (int d = body_.rank() - 1; d >= 0; --d) {
        if (expr.axes >> d & 1) index[d] = rest % body_.extents[d], rest /= body_.extents[d];
      }
      sum = Apply(expr.fn, sum, Value(expr.args[0], index));
    }
    known[key] = sum;
    return sum;
  }

  const Body& body_;
  const std::vector<Memory>& args_;
  std::function<double(const std::vector<int64_t>&)> accumulator_;
  std::vector<std::vector<std::optional<double>>> known_;
};

}  // namespace athanor::testing
