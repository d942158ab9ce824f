#pragma once

#include <span>
#include <vector>

#include "ops/graph.h"

namespace athanor {

// Shorthand for the `decompose` and `gradient` rules: each method appends the node of that name and returns its output.
// Whatever changes nothing (a reshape to the same shape, a cast to the same dtype, a sum over no dimension) appends nothing.
class Emit {
 public:
  explicit Emit(Graph& graph) : graph_(graph) {}

  const TensorDesc& desc(ValueId x) const { return graph_.desc(x); }
  const Shape& shape(ValueId x) const { return graph_.desc(x).shape; }

  ValueId Scalar(double value, DType dtype) { return graph_.AddConstant(value, dtype); }
  ValueId Cast(ValueId x, DType dtype);
  ValueId Neg(ValueId x) { return graph_.Add1("neg", {x}); }
  ValueId Exp(ValueId x) { return graph_.Add1("exp", {x}); }
  ValueId Log(ValueId x) { return graph_.Add1("log", {x}); }
  ValueId Sqrt(ValueId x) { return graph_.Add1("sqrt", {x}); }
  ValueId Rsqrt(ValueId x) { return graph_.Add1("rsqrt", {x}); }
  ValueId Tanh(ValueId x) { return graph_.Add1("tanh", {x}); }
  ValueId Erf(ValueId x) { return graph_.Add1("erf", {x}); }
  ValueId Sigmoid(ValueId x) { return graph_.Add1("sigmoid", {x}); }
  ValueId Add(ValueId a, ValueId b) { return graph_.Add1("add", {a, b}); }
  ValueId Sub(ValueId a, ValueId b) { return graph_.Add1("sub", {a, b}); }
  ValueId Mul(ValueId a, ValueId b) { return graph_.Add1("mul", {a, b}); }
  ValueId Div(ValueId a, ValueId b) { return graph_.Add1("div", {a, b}); }
  ValueId Eq(ValueId a, ValueId b) { return graph_.Add1("eq", {a, b}); }
  ValueId Lt(ValueId a, ValueId b) { return graph_.Add1("lt", {a, b}); }
  ValueId Gt(ValueId a, ValueId b) { return graph_.Add1("gt", {a, b}); }
  ValueId Not(ValueId a) { return graph_.Add1("_not", {a}); }
  ValueId And(ValueId a, ValueId b) { return graph_.Add1("_and", {a, b}); }
  ValueId Pow(ValueId a, ValueId b) { return graph_.Add1("pow", {a, b}); }
  ValueId Maximum(ValueId a, ValueId b) { return graph_.Add1("maximum", {a, b}); }
  ValueId Minimum(ValueId a, ValueId b) { return graph_.Add1("minimum", {a, b}); }
  ValueId Where(ValueId condition, ValueId a, ValueId b) { return graph_.Add1("where", {condition, a, b}); }
  // The same with a literal of the tensor operand's dtype.
  ValueId Add(ValueId a, double b) { return Add(a, Scalar(b, desc(a).dtype)); }
  ValueId Sub(ValueId a, double b) { return Sub(a, Scalar(b, desc(a).dtype)); }
  ValueId Sub(double a, ValueId b) { return Sub(Scalar(a, desc(b).dtype), b); }
  ValueId Mul(ValueId a, double b) { return Mul(a, Scalar(b, desc(a).dtype)); }
  ValueId Div(ValueId a, double b) { return Div(a, Scalar(b, desc(a).dtype)); }
  ValueId Div(double a, ValueId b) { return Div(Scalar(a, desc(b).dtype), b); }

  ValueId Sum(ValueId x, std::vector<int64_t> dims, bool keepdim);
  ValueId Amax(ValueId x, std::vector<int64_t> dims, bool keepdim);
  // Sums a gradient over the dimensions that broadcasting `shape` to its shape added or stretched.
  ValueId SumTo(ValueId x, const Shape& shape);
  ValueId Iota(Shape shape, int64_t dim);                    // i64
  ValueId Zeros(const TensorDesc& desc) { return Expand(Scalar(0, desc.dtype), desc.shape); }
  ValueId Cat(std::vector<ValueId> parts, int64_t dim);      // of one part: that part
  ValueId Slice(ValueId x, int64_t dim, int64_t start, int64_t end);

  ValueId Reshape(ValueId x, Shape shape);
  ValueId Permute(ValueId x, std::vector<int64_t> dims);
  ValueId Transpose(ValueId x);                              // swaps the last two dimensions
  ValueId Expand(ValueId x, Shape shape);
  // Windows over dimension `dim` and the ones behind it, one entry each (ops/window.h). Each becomes two, [extent, kernel].
  struct Slide {
    int64_t extent, kernel, start, stride, dilation;
  };
  ValueId Window(ValueId x, int64_t dim, const std::vector<Slide>& slides, double fill = 0);
  ValueId Contract(ValueId a, ValueId b);                    // [batch..., M, K] by [batch..., K, N]

 private:
  Graph& graph_;
};

// The dtype sums and statistics are computed in: f32 for bf16 and f16, else the dtype itself.
DType ComputeType(DType dtype);

// An output of a rule that is not computed or an input that gets no gradient.
inline std::vector<ValueId> NoValues(size_t n) { return std::vector<ValueId>(n, kNone); }

// Dimensions [begin, end).
std::vector<int64_t> DimRange(int64_t begin, int64_t end);

}  // namespace athanor
