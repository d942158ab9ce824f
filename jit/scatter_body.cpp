#include "jit/scatter_body.h"

#include "jit/loop_space.h"
#include "ops/error.h"

namespace athanor {

Body ScatterZeros(const ScatterPlan& plan) {
  Body body{.extents = {plan.table_rows, plan.columns}};
  body.exprs.push_back({.kind = Expr::Kind::kConstant, .dtype = plan.dtype});
  body.stores.push_back({0, plan.out});
  return body;
}

// The table's row is a gather and, for the store, an offset of the base pointer.
Body ScatterRows(const ScatterPlan& plan) {
  Body body{.extents = {plan.rows, plan.columns}};
  const Layout index_map(plan.index.map.offset(), {plan.index.map.dim(0), {{plan.columns, 0}}});
  body.operands.push_back({plan.index.arg, index_map});
  body.exprs.push_back({.kind = Expr::Kind::kLoad, .dtype = plan.index_dtype, .operand = 0});
  body.exprs.push_back({.kind = Expr::Kind::kApply, .dtype = DType::kI64, .fn = Fn::kCast, .args = {0, -1, -1}});
  const auto row_stride = StrideAlong(plan.out.map, 0);
  ATHANOR_CHECK(row_stride.has_value());
  const Operand target{plan.out.arg, Layout(plan.out.map.offset(), {{{plan.rows, 0}}, plan.out.map.dim(1)}), kScatterTableRow, *row_stride,
                       plan.table_rows};
  body.operands.push_back(plan.source);
  body.exprs.push_back({.kind = Expr::Kind::kLoad, .dtype = plan.dtype, .operand = 1});
  if (!plan.adds) {
    body.stores.push_back({2, target});
    return body;
  }
  body.operands.push_back(target);
  body.exprs.push_back({.kind = Expr::Kind::kLoad, .dtype = plan.dtype, .operand = 2});
  body.exprs.push_back({.kind = Expr::Kind::kApply, .dtype = plan.dtype, .fn = Fn::kAdd, .args = {3, 2, -1}});
  body.stores.push_back({4, target});
  return body;
}

}  // namespace athanor
