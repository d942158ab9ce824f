#include "ops/op.h"

#include <map>

#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/backward.h"
#include "ops/channel_norm.h"
#include "ops/construct.h"
#include "ops/contract.h"
#include "ops/conv.h"
#include "ops/dropout.h"
#include "ops/embedding.h"
#include "ops/error.h"
#include "ops/flash_attention.h"
#include "ops/kv_cache.h"
#include "ops/loss.h"
#include "ops/norm.h"
#include "ops/optimizer.h"
#include "ops/pad.h"
#include "ops/pointwise.h"
#include "ops/pool.h"
#include "ops/reduce.h"
#include "ops/rope.h"
#include "ops/unfold.h"
#include "ops/view.h"
#include "ops/window.h"

namespace athanor {
namespace {

std::map<std::string_view, OpDef>& Table() {
  static std::map<std::string_view, OpDef> table;
  return table;
}

const std::map<std::string_view, OpDef>& Ops() {
  static const bool registered = [] {
    RegisterPointwiseOps();
    RegisterActivationOps();
    RegisterReduceOps();
    RegisterViewOps();
    RegisterConstructOps();
    RegisterNormOps();
    RegisterChannelNormOps();
    RegisterContractOps();
    RegisterConvOps();
    RegisterWindowOps();
    RegisterPoolOps();
    RegisterPadOps();
    RegisterUnfoldOps();
    RegisterRopeOps();
    RegisterKvCacheOps();
    RegisterAttentionOps();
    RegisterFlashAttentionOps();
    RegisterDropoutOps();
    RegisterEmbeddingOps();
    RegisterLossOps();
    RegisterOptimizerOps();
    return true;
  }();
  ATHANOR_CHECK(registered);
  return Table();
}

}  // namespace

void RegisterOp(OpDef op) {
  ATHANOR_CHECK(op.infer != nullptr && op.reference != nullptr);
  ATHANOR_CHECK(op.kind != OpKind::kComposite || op.decompose != nullptr);
  ATHANOR_CHECK((op.kind == OpKind::kView) == (op.view != nullptr));
  ATHANOR_CHECK(op.internal == op.name.starts_with('_'));
  const std::string_view name = op.name;
  ATHANOR_CHECK(Table().emplace(name, std::move(op)).second);
}

const OpDef* FindOp(std::string_view name) {
  const auto found = Ops().find(name);
  return found == Ops().end() ? FindBackwardOp(name) : &found->second;
}

std::vector<const OpDef*> AllOps() {
  std::vector<const OpDef*> all;
  for (const auto& [name, op] : Ops()) all.push_back(&op);
  return all;
}

}  // namespace athanor
