#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ops/graph.h"
#include "ops/host_tensor.h"
#include "ops/layout.h"
#include "ops/scalar_fn.h"

namespace athanor {

// How the JIT treats an op. Composite ops are rewritten into core ops by their `decompose` rule; the others are core.
enum class OpKind : uint8_t {
  kComposite,
  kPointwise,   // one scalar function over operands that broadcast (inputs of equal dtype); see OpDef::fn
  kReduce,      // sum or amax over `dim` (list) with `keepdim`; an empty list means all dimensions
  kView,        // no arithmetic: see OpDef::view
  kConcat,      // cat along `dim`
  kWindow,      // _window: sliding windows over padded dimensions; read through, see ops/window.h
  kIota,        // the index along `dim` as a tensor of `shape`, dtype i64
  kRandom,      // _random: random words from a seed and an offset, one for each element of `shape`; see ops/dropout.h
  kContract,    // matmul of [batch..., M, K] by [batch..., K, N]; both inputs of equal rank >= 2 and equal batch extents
  kAttention,   // _attention and _attention_backward
  kGather,      // _gather_rows: table [V, D...], i64 indices [S...] -> [S..., D...]
  kScatter,     // _scatter_add_rows: rows [S..., D...], i64 indices [S...] -> [V, D...], the sum of rows per index;
                // _scatter_rows: the same and a table [V, D...] -> the table with these rows at their indices
};

struct AttrSpec {
  enum class Type : uint8_t { kBool, kInt, kFloat, kString, kInts };
  std::string_view name;
  Type type;
  std::optional<Attr> fallback = {};                         // absent: the attribute is required
};

// The argument of an op's rules: one node, existing or about to be added.
struct OpCall {
  const OpDef& op;
  const Graph& graph;
  std::span<const ValueId> inputs;
  const Attrs& attrs;

  bool has(int i) const { return i < static_cast<int>(inputs.size()) && inputs[i] != kNone; }
  const TensorDesc& in(int i) const { return graph.desc(inputs[i]); }
  template <typename T> const T& attr(std::string_view name) const { return Get<T>(attrs, name); }
};

// One operation: everything Athanor knows about it. Each op family's file registers its own.
struct OpDef {
  std::string_view name;
  OpKind kind = OpKind::kComposite;
  int min_inputs = 1;
  int max_inputs = 1;                                        // -1: any number (cat, adamw)
  std::vector<AttrSpec> attrs = {};
  bool internal = false;                                     // not allowed in fragment files; its name begins with '_'
  int named_outputs = -1;                                    // outputs that have to be named; -1: all (the others are optional)

  // Checks the inputs and attributes; returns the outputs' descs (contiguous). Throws Error naming op and argument.
  std::vector<TensorDesc> (*infer)(const OpCall&) = nullptr;
  // Computes the outputs (allocated by the caller, zeroed). An omitted optional input is an empty pointer.
  void (*reference)(const OpCall&, std::span<const HostTensor* const> in, std::span<HostTensor> out) = nullptr;
  // Appends to `graph` the nodes that compute d(loss)/d(input i) for each i with wanted[i]; returns one value an input
  // (kNone: zero or not wanted). outputs: this node's outputs; grads: their gradients (kNone: zero). Null: not differentiable.
  std::vector<ValueId> (*gradient)(Graph& graph, const Node& node, std::span<const ValueId> grads,
                                   const std::vector<bool>& wanted) = nullptr;
  // Composite ops: appends to `graph` simpler nodes with the same meaning; `node.inputs` are values of `graph`. A core op may have
  // one too, for calls that are not in core form (mixed dtypes, sums of bf16): it returns nothing where the node already is.
  std::vector<ValueId> (*decompose)(Graph& graph, const Node& node) = nullptr;
  // kPointwise only.
  Fn fn = Fn::kAdd;
  // kView only: the layouts of the outputs, given the layout of the input (rank and shape as in.desc). Nothing: not separable,
  // copy first.
  std::optional<std::vector<Layout>> (*view)(const OpCall&, const Layout& input) = nullptr;
};

void RegisterOp(OpDef op);
const OpDef* FindOp(std::string_view name);                  // null when unknown; also those of ops/backward.h
std::vector<const OpDef*> AllOps();                          // those that are registered, sorted by name

}  // namespace athanor
