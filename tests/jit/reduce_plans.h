#pragma once

#include <cmath>
#include <utility>

#include "tests/jit/plan_builder.h"

namespace athanor::testing {

// Row loops that the generators of the reduce skeleton are tested with.

inline Layout PerRow(const PlanBuilder& b) { return Layout(0, {{{b.body.extents[0], 1}}, {{b.body.extents[1], 0}}}); }
inline Layout PerColumn(const PlanBuilder& b) { return Layout(0, {{{b.body.extents[0], 0}}, {{b.body.extents[1], 1}}}); }
inline Layout OneElement(const PlanBuilder& b) { return Layout(0, {{{b.body.extents[0], 0}}, {{b.body.extents[1], 0}}}); }

inline constexpr std::pair<int64_t, int64_t> kReduceShapes[] = {{1, 1}, {5, 1}, {7, 10}, {33, 49}, {3, 200}, {20, 777}, {1, 1000}};

inline PlanBuilder SoftmaxPlan(int64_t rows, int64_t cols, DType dtype) {
  PlanBuilder b({rows, cols});
  const int x = b.Load(dtype, b.Contiguous());
  const int e = b.Do(Fn::kExp, b.Do(Fn::kSub, x, b.Reduce(Fn::kMax, x, 2)));
  b.Store(b.Do(Fn::kDiv, e, b.Reduce(Fn::kAdd, e, 2)), b.Contiguous());
  return b;
}

inline PlanBuilder LayerNormPlan(int64_t rows, int64_t cols, DType dtype) {  // forward and backward
  PlanBuilder b({rows, cols});
  const int x = b.Load(dtype, b.Contiguous()), dy = b.Load(dtype, b.Contiguous());
  const int weight = b.Load(dtype, PerColumn(b)), bias = b.Load(dtype, PerColumn(b));
  const int inverse = b.Constant(1 / static_cast<double>(cols), dtype);
  const int mean = b.Do(Fn::kMul, b.Reduce(Fn::kAdd, x, 2), inverse);
  const int centered = b.Do(Fn::kSub, x, mean);
  const int variance = b.Do(Fn::kMul, b.Reduce(Fn::kAdd, b.Do(Fn::kMul, centered, centered), 2), inverse);
  const int scale = b.Do(Fn::kRsqrt, b.Do(Fn::kAdd, variance, b.Constant(1e-1, dtype)));
  const int normal = b.Do(Fn::kMul, centered, scale);
  b.Store(b.Do(Fn::kAdd, b.Do(Fn::kMul, normal, weight), bias), b.Contiguous());
  const int g = b.Do(Fn::kMul, dy, weight);
  const int g_mean = b.Do(Fn::kMul, b.Reduce(Fn::kAdd, g, 2), inverse);
  const int g_dot = b.Do(Fn::kMul, b.Reduce(Fn::kAdd, b.Do(Fn::kMul, g, normal), 2), inverse);
  b.Store(b.Do(Fn::kMul, scale, b.Do(Fn::kSub, b.Do(Fn::kSub, g, g_mean), b.Do(Fn::kMul, normal, g_dot))), b.Contiguous());
  b.Store(b.Reduce(Fn::kAdd, b.Do(Fn::kMul, dy, normal), 1), PerColumn(b));
  b.Store(b.Reduce(Fn::kAdd, dy, 1), PerColumn(b));
  b.Store(mean, PerRow(b));
  return b;
}

inline PlanBuilder SumOfEverythingPlan(int64_t rows, int64_t cols, DType dtype) {
  PlanBuilder b({rows, cols});
  const int x = b.Load(dtype, b.Contiguous());
  b.Store(b.Reduce(Fn::kAdd, b.Reduce(Fn::kAdd, x, 2), 1), OneElement(b));
  b.Store(b.Do(Fn::kNeg, x), b.Contiguous());
  return b;
}

inline PlanBuilder TurnedPlan(int64_t rows, int64_t cols, DType dtype) {  // rows lie along the other dimension of memory
  PlanBuilder b({rows, cols});
  const Layout turned(0, {{{rows, 1}}, {{cols, rows}}});
  const int x = b.Load(dtype, turned), factor = b.Load(dtype, PerColumn(b)), shift = b.Load(dtype, PerRow(b));
  const int e = b.Do(Fn::kExp, b.Do(Fn::kMul, x, factor));
  const int sum = b.Reduce(Fn::kAdd, e, 2), max = b.Reduce(Fn::kMax, b.Do(Fn::kAdd, x, shift), 2);
  b.Store(sum, PerRow(b));
  b.Store(b.Do(Fn::kMul, b.Do(Fn::kDiv, e, sum), max), turned);
  b.Store(b.Reduce(Fn::kAdd, factor, 2), PerRow(b));
  return b;
}

// Statistics of images in four parts, the pixels of even and odd rows and columns, as the gradient of a convolution of stride 2 leaves them: of `channels`
// images of 2 height x 2 width.
inline PlanBuilder PhasesPlan(int64_t channels, int64_t height, int64_t width, DType dtype) {
  const int64_t part = channels * height * width;
  PlanBuilder b({channels, 4 * height * width});
  const Layout phases(0, {{{channels, height * width}}, {{2, part}, {width, 1}, {2, 2 * part}, {height, width}}});
  const DType computed = dtype == DType::kBF16 ? DType::kF32 : dtype;
  const int x = b.Cast(b.Load(dtype, phases), computed);
  const int mean = b.Do(Fn::kMul, b.Reduce(Fn::kAdd, x, 2), b.Constant(0.25 / static_cast<double>(height * width), computed));
  b.Store(mean, PerRow(b));
  b.Store(b.Do(Fn::kSub, x, mean), b.Contiguous());
  return b;
}

inline PlanBuilder CrossEntropyPlan(int64_t rows, int64_t classes) {
  PlanBuilder b({rows, classes});
  const int x = b.Load(DType::kF32, b.Contiguous());
  const int target = b.Load(DType::kI64, PerRow(b), 0, static_cast<double>(classes)), dy = b.Load(DType::kF32, PerRow(b));
  const int max = b.Reduce(Fn::kMax, x, 2);
  const int shifted = b.Do(Fn::kSub, x, max);
  const int log_sum = b.Do(Fn::kLog, b.Reduce(Fn::kAdd, b.Do(Fn::kExp, shifted), 2));
  const int log_softmax = b.Do(Fn::kSub, shifted, log_sum);
  const int hit = b.Cast(b.Do(Fn::kEq, b.Index(1), target), DType::kF32);
  const int picked = b.Reduce(Fn::kAdd, b.Do(Fn::kMul, log_softmax, hit), 2);
  b.Store(b.Do(Fn::kNeg, picked), PerRow(b));
  b.Store(b.Do(Fn::kMul, b.Do(Fn::kSub, b.Do(Fn::kExp, log_softmax), hit), dy), b.Contiguous());
  return b;
}

inline PlanBuilder PickPlan(int64_t rows, int64_t cols) {    // a sum that is one column's value; needs 5 rows
  PlanBuilder b({rows, cols});
  const int x = b.Load(DType::kF32, b.Contiguous()), target = b.Load(DType::kI64, PerRow(b), 0, static_cast<double>(cols)), zero = b.Constant(0);
  b.memories[1].Set(3, -100);
  b.memories[1].Set(4, static_cast<double>(cols));
  const int e = b.Do(Fn::kExp, b.Do(Fn::kSub, x, b.Reduce(Fn::kMax, x, 2)));
  const int picked = b.Reduce(Fn::kAdd, b.Do(Fn::kWhere, b.Do(Fn::kEq, target, b.Index(1)), e, zero), 2);
  b.Store(b.Do(Fn::kDiv, picked, b.Reduce(Fn::kAdd, e, 2)), PerRow(b));
  b.Store(b.Do(Fn::kSub, e, picked), b.Contiguous());
  b.Store(b.Reduce(Fn::kAdd, picked, 1), OneElement(b));
  return b;
}

inline PlanBuilder IntegersNaNAndInfinityPlan() {
  PlanBuilder b({6, 37});
  const int x = b.Load(DType::kF32, b.Contiguous()), i = b.Load(DType::kI64, b.Contiguous(), -1000, 1000),
            k = b.Load(DType::kI32, b.Contiguous(), -9, 9);
  b.memories[0].Set(40, NAN);
  b.memories[0].Set(80, INFINITY);
  b.memories[0].Set(148, -INFINITY);
  b.Store(b.Reduce(Fn::kMax, x, 2), PerRow(b));
  b.Store(b.Reduce(Fn::kMax, i, 2), PerRow(b));
  b.Store(b.Reduce(Fn::kAdd, i, 2), PerRow(b));
  b.Store(b.Reduce(Fn::kAdd, k, 1), PerColumn(b));
  return b;
}

inline PlanBuilder HalfSoftmaxPlan(int64_t rows, int64_t cols, DType dtype) {
  PlanBuilder b({rows, cols});
  const int x = b.Cast(b.Load(dtype, b.Contiguous()), DType::kF32);
  const int e = b.Do(Fn::kExp, b.Do(Fn::kSub, x, b.Reduce(Fn::kMax, x, 2)));
  b.Store(b.Cast(b.Do(Fn::kDiv, e, b.Reduce(Fn::kAdd, e, 2)), dtype), b.Contiguous());
  b.Store(b.Cast(b.Reduce(Fn::kMax, x, 2), dtype), PerRow(b));
  return b;
}

// Sums of rows of nothing, or of no rows: zeros in arg 1.
inline PlanBuilder EmptyPlan(int64_t rows, int64_t cols) {
  PlanBuilder b({rows, cols});
  b.AddArg(DType::kF32, 1, false);
  const int x = b.LoadArg(0, Layout::Contiguous({rows, cols}));
  const int out = b.AddArg(DType::kF32, rows == 0 ? cols : rows, true);
  b.body.stores.push_back({b.Reduce(Fn::kAdd, x, rows == 0 ? 1 : 2), {.arg = out, .map = rows == 0 ? PerColumn(b) : PerRow(b)}});
  b.memories[out].Fill(&b.random);
  return b;
}

}  // namespace athanor::testing
