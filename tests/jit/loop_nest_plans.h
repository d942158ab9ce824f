#pragma once

#include <vector>

#include "tests/jit/plan_builder.h"

namespace athanor::testing {

// Loops over several dimensions that the generators of the loop_nest skeleton are tested with.

// The layout that moves along the dimensions in `dims` only.
inline Layout Along(const Shape& extents, uint32_t dims) {
  std::vector<Digits> digits(extents.size());
  int64_t stride = 1;
  for (int d = static_cast<int>(extents.size()) - 1; d >= 0; --d) {
    digits[d] = {{extents[d], dims >> d & 1 ? stride : 0}};
    if (dims >> d & 1) stride *= extents[d];
  }
  return Layout(0, digits);
}

inline PlanBuilder AnyAxesPlan(DType dtype, uint32_t axes, Fn fn) {
  const Shape extents = {3, 4, 35};
  PlanBuilder b(extents, axes);
  const int x = b.Load(dtype, b.Contiguous()), y = b.Load(dtype, Along(extents, 5));
  b.Store(b.Do(Fn::kTanh, b.Reduce(fn, b.Do(Fn::kMul, x, y), axes)), Along(extents, 7 & ~axes));
  return b;
}

inline PlanBuilder BatchNormPlan() {                         // normalised over dimensions 0 and 2
  const Shape extents = {4, 6, 40};
  PlanBuilder b(extents);
  const int x = b.Load(DType::kF32, b.Contiguous()), inverse = b.Constant(1.0 / 160);
  const int mean = b.Do(Fn::kMul, b.Reduce(Fn::kAdd, x, 5), inverse), centered = b.Do(Fn::kSub, x, mean);
  const int variance = b.Do(Fn::kMul, b.Reduce(Fn::kAdd, b.Do(Fn::kMul, centered, centered), 5), inverse);
  b.Store(b.Do(Fn::kMul, centered, b.Do(Fn::kRsqrt, variance)), b.Contiguous());
  b.Store(mean, Along(extents, 2));
  return b;
}

inline PlanBuilder ReductionOfReductionsPlan() {
  const Shape extents = {5, 6, 7};
  PlanBuilder b(extents);
  const int x = b.Load(DType::kF32, b.Contiguous());
  const int rows = b.Reduce(Fn::kAdd, x, 4);                 // varies along 0 and 1
  b.Store(b.Reduce(Fn::kMax, b.Do(Fn::kMul, rows, rows), 2), Along(extents, 1));
  return b;
}

inline PlanBuilder AcrossPointsPlan(DType dtype, int64_t inner) {
  const Shape extents = {3, 7, inner};
  PlanBuilder b(extents);
  const int x = b.Load(dtype, b.Contiguous()), shared = b.Load(dtype, Along(extents, 2));
  const int sum = b.Reduce(Fn::kAdd, x, 2), max = b.Reduce(Fn::kMax, b.Do(Fn::kMul, x, shared), 2);
  b.Store(b.Do(Fn::kMul, sum, b.Reduce(Fn::kAdd, shared, 2)), Along(extents, 5));
  b.Store(b.Do(Fn::kSub, x, max), b.Contiguous());
  return b;
}

inline PlanBuilder TallPlan() {
  PlanBuilder b({3000, 20});
  b.Store(b.Reduce(Fn::kAdd, b.Load(DType::kF32, b.Contiguous(), 0.5, 1), 1), Along({3000, 20}, 2));
  return b;
}

inline PlanBuilder LongSumPlan() {                           // strided
  PlanBuilder b({1, 300000});
  const int x = b.Load(DType::kF32, Layout(0, {{{1, 0}}, {{300000, 2}}}), 0.5, 1);
  b.Store(b.Reduce(Fn::kAdd, x, 2), Along({1, 300000}, 1));
  return b;
}

}  // namespace athanor::testing
