#include "ops/op.h"

#include "tests/ops/testing.h"

namespace athanor {
namespace {

TEST(Op, EveryOpIsWellFormed) {
  EXPECT_GE(AllOps().size(), 60u);
  std::string_view last;
  for (const OpDef* op : AllOps()) {
    EXPECT_LT(last, op->name);
    last = op->name;
    EXPECT_EQ(FindOp(op->name), op);
    EXPECT_NE(op->infer, nullptr) << op->name;
    EXPECT_NE(op->reference, nullptr) << op->name;
    if (op->kind == OpKind::kComposite) {
      EXPECT_NE(op->decompose, nullptr) << op->name;
    }
    if (op->kind == OpKind::kPointwise) {
      EXPECT_EQ(op->min_inputs, Arity(op->fn)) << op->name;
    }
    if (op->kind == OpKind::kView) {
      EXPECT_EQ(op->max_inputs, 1) << op->name;
    }
    EXPECT_EQ(op->internal, op->name[0] == '_') << op->name;
  }
  EXPECT_EQ(FindOp("no such op"), nullptr);
}

TEST(Op, NamesAreTakenOnce) {
  EXPECT_THROW(RegisterOp(*FindOp("add")), InternalError);
}

}  // namespace
}  // namespace athanor
