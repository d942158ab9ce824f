#pragma once

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "jit/plan.h"
#include "tests/jit/body_evaluator.h"

namespace athanor::testing {

// Puts loop plans together for tests, with random inputs in `memories`.
class PlanBuilder {
 public:
  PlanBuilder(std::vector<int64_t> extents, uint32_t seed = 1) : random(seed) { body.extents = std::move(extents); }

  static int64_t Storage(const Layout& map) {
    int64_t last = map.offset();
    for (int d = 0; d < map.rank(); ++d) {
      for (const Digit& digit : map.dim(d)) last += std::max<int64_t>(0, (digit.extent - 1) * digit.stride);
    }
    return last + 1;
  }
  int AddArg(DType dtype, int64_t elements, bool written, double low = -2, double high = 2) {
    args.push_back({.dtype = dtype, .written = written, .elements = elements});
    memories.emplace_back(dtype, elements);
    if (!written) memories.back().Fill(&random, low, high);
    return static_cast<int>(args.size()) - 1;
  }
  int Push(Expr expr) {
    body.exprs.push_back(expr);
    return static_cast<int>(body.exprs.size()) - 1;
  }
  int LoadArg(int arg, Layout map, int row = -1, int64_t row_stride = 0, int64_t row_count = 0) {
    body.operands.push_back({arg, std::move(map), row, row_stride, row_count});
    return Push({.kind = Expr::Kind::kLoad, .dtype = args[arg].dtype, .operand = static_cast<int>(body.operands.size()) - 1});
  }
  int Load(DType dtype, const Layout& map, double low = -2, double high = 2) {
    return LoadArg(AddArg(dtype, Storage(map), false, low, high), map);
  }
  int Constant(double value, DType dtype = DType::kF32) { return Push({.dtype = dtype, .value = value}); }
  int Index(int dim) { return Push({.kind = Expr::Kind::kIndex, .dtype = DType::kI64, .dim = dim}); }
  int Reduce(Fn fn, int arg, uint32_t axes) {
    return Push({.kind = Expr::Kind::kReduce, .dtype = body.exprs[arg].dtype, .fn = fn, .args = {arg, -1, -1}, .axes = axes});
  }
  int Do(Fn fn, int a, int b = -1, int c = -1) {
    const bool boolean = fn == Fn::kEq || fn == Fn::kLt || fn == Fn::kGt || fn == Fn::kAnd || fn == Fn::kNot;
    const DType dtype = boolean ? DType::kBool : body.exprs[fn == Fn::kWhere ? b : a].dtype;
    return Push({.kind = Expr::Kind::kApply, .dtype = dtype, .fn = fn, .args = {a, b, c}});
  }
  int Cast(int a, DType to) { return Push({.kind = Expr::Kind::kApply, .dtype = to, .fn = Fn::kCast, .args = {a, -1, -1}}); }
  int Store(int expr, const Layout& map, int64_t begin = 0, int64_t end = -1) {
    const int arg = AddArg(body.exprs[expr].dtype, Storage(map), true);
    body.stores.push_back({expr, {.arg = arg, .map = map}, begin, end});
    return arg;
  }
  Layout Contiguous() const { return Layout::Contiguous(body.extents); }

  KernelPlan Plan(Skeleton skeleton, std::vector<int64_t> instance_elements = {}) const {
    KernelPlan plan;
    plan.skeleton = skeleton;
    plan.detail = LoopPlan{body, std::move(instance_elements)};
    plan.args = args;
    plan.nodes = {"test"};
    return plan;
  }

  Body body;
  std::vector<KernelArg> args;
  std::vector<Memory> memories;
  std::mt19937 random;
};

}  // namespace athanor::testing
