#include "ops/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "ops/attention_reference.h"
#include "ops/broadcast.h"
#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

constexpr double kUnsetScale = std::numeric_limits<double>::infinity();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
enum PublicInput { kQuery, kKey, kValue, kMask, kLengths, kSeed, kOffset };

double Scale(const Attrs& attrs, const Shape& q) {
  const double scale = Get<double>(attrs, "scale");
  return scale == kUnsetScale ? 1 / std::sqrt(static_cast<double>(q.back())) : scale;
}

Shape Join(Shape lead, std::initializer_list<int64_t> rest) {
  lead.insert(lead.end(), rest);
  return lead;
}

Shape Lead(const Shape& shape) { return {shape.begin(), shape.end() - 2}; }

// --- the public op's problem -----------------------------------------------------------------------------------------

// The problem of a call, and the leading dimensions that its operands are broadcast to.
struct Problem {
  AttentionForm form;
  Shape lead, kv_lead;  // of queries (and results), of keys and values

  Shape QueryShape() const { return Join(lead, {form.lq, form.d}); }
  Shape KeyShape() const { return Join(kv_lead, {form.lk, form.d}); }
  Shape ValueShape() const { return Join(kv_lead, {form.lk, form.dv}); }
  Shape ResultShape() const { return Join(lead, {form.lq, form.dv}); }
  Shape MaskShape() const { return Join(lead, {form.lq, form.lk}); }
};

// Heads of keys and values that several heads of queries share: asked for, or a single one.
bool Grouped(std::string_view op, const Attrs& attrs, const Shape& q, const Shape& k, const Shape& v) {
  const bool asked = Get<bool>(attrs, "enable_gqa");
  if (std::min({q.size(), k.size(), v.size()}) < 3) {
    if (asked) Fail("{}: enable_gqa is set, but an operand has no dimension of heads", op);
    return false;
  }
  const int64_t heads = q[q.size() - 3], k_heads = k[k.size() - 3], v_heads = v[v.size() - 3];
  if (!asked) return k_heads == 1 && v_heads == 1 && heads > 1;
  if (k_heads != v_heads || (k_heads == 0 ? heads != 0 : heads % k_heads != 0)) {
    Fail(
        "{}: enable_gqa is set; query, key and value have {}, {} and {} heads, expected key and value to have as many, and query "
        "a "
        "multiple of that",
        op, heads, k_heads, v_heads);
  }
  return true;
}

void CheckExtents(std::string_view op, const Shape& q, const Shape& k, const Shape& v) {
  const bool fits = std::min({q.size(), k.size(), v.size()}) >= 2 && k.back() == q.back() && k[k.size() - 2] == v[v.size() - 2];
  if (!fits) {
    Fail(
        "{}: query, key and value have shapes {}, {} and {}, expected [..., heads, Lq, D], [..., heads, Lk, D] and [..., heads, "
        "Lk, DV]",
        op, ToString(q), ToString(k), ToString(v));
  }
}

Problem ProblemOf(std::string_view op, const Attrs& attrs, const Shape& q, const Shape& k, const Shape& v) {
  CheckExtents(op, q, k, v);
  const bool grouped = Grouped(op, attrs, q, k, v);
  Problem problem;
  AttentionForm& form = problem.form;
  form.lq = q[q.size() - 2], form.d = q.back(), form.lk = k[k.size() - 2], form.dv = v.back();
  Shape k_lead = Lead(k), v_lead = Lead(v);
  if (grouped) k_lead.back() = v_lead.back() = q[q.size() - 3];
  problem.lead = BroadcastShapes(op, BroadcastShapes(op, Lead(q), k_lead), v_lead);
  problem.kv_lead = problem.lead;
  if (grouped) problem.kv_lead.back() = k[k.size() - 3];
  if (!problem.lead.empty()) {
    form.heads = problem.lead.back(), form.kv_heads = problem.kv_lead.back();
    form.batch = Product({problem.lead.begin(), problem.lead.end() - 1});
  }
  const std::vector<int64_t>& window = Get<std::vector<int64_t>>(attrs, "window");
  if (window.size() != 2 || window[0] < -1 || window[1] < -1) {
    Fail("{}: window is {}, expected [left, right]: how many keys before and after its own place a query sees, -1 for no bound",
         op, ToString(window));
  }
  form.left = window[0], form.right = window[1];
  if (Get<bool>(attrs, "is_causal")) form.right = 0;
  form.scale = Scale(attrs, q);
  form.dropout_p = Get<double>(attrs, "dropout_p");
  if (!(form.dropout_p >= 0 && form.dropout_p <= 1)) Fail("{}: dropout_p is {}, expected a probability", op, form.dropout_p);
  return problem;
}

Problem ProblemOf(const Graph& graph, const Node& node) {
  return ProblemOf(node.op->name, node.attrs, graph.desc(node.inputs[kQuery]).shape, graph.desc(node.inputs[kKey]).shape,
                   graph.desc(node.inputs[kValue]).shape);
}

void CheckDTypes(std::string_view op, const TensorDesc& q, const TensorDesc& k, const TensorDesc& v) {
  if (!IsFloat(q.dtype)) Fail("{}: query has dtype {}, expected a floating-point one", op, Name(q.dtype));
  if (k.dtype != q.dtype || v.dtype != q.dtype) {
    Fail("{}: query, key and value have dtypes {}, {} and {}, expected equal ones", op, Name(q.dtype), Name(k.dtype),
         Name(v.dtype));
  }
}

void CheckMask(const OpCall& call, const Problem& problem) {
  const TensorDesc& mask = call.in(kMask);
  if (call.attr<bool>("is_causal")) Fail("{}: attn_mask and is_causal are both given, expected at most one", call.op.name);
  if (mask.dtype != DType::kBool && mask.dtype != DType::kF32 && mask.dtype != call.in(kQuery).dtype) {
    Fail("{}: attn_mask has dtype {}, expected bool, f32 or the query's, {}", call.op.name, Name(mask.dtype),
         Name(call.in(kQuery).dtype));
  }
  const Shape whole = problem.MaskShape();
  if (BroadcastShapes(call.op.name, mask.shape, whole) != whole) {
    Fail("{}: attn_mask has shape {}, which does not broadcast to {}", call.op.name, ToString(mask.shape), ToString(whole));
  }
}

std::vector<TensorDesc> InferPublic(const OpCall& call) {
  CheckDTypes(call.op.name, call.in(kQuery), call.in(kKey), call.in(kValue));
  const Problem problem = ProblemOf(call.op.name, call.attrs, call.in(kQuery).shape, call.in(kKey).shape, call.in(kValue).shape);
  if (call.has(kMask)) CheckMask(call, problem);
  if (call.has(kLengths)) {
    const TensorDesc& lengths = call.in(kLengths);
    if ((lengths.dtype != DType::kI32 && lengths.dtype != DType::kI64) || lengths.shape != Shape{problem.form.batch}) {
      Fail("{}: key_lengths is {}, expected i32 or i64 of shape [{}]", call.op.name, ToString(lengths), problem.form.batch);
    }
  }
  for (int i : {kSeed, kOffset}) {
    const TensorDesc scalar = {DType::kI64, {}};
    if (call.has(i) && (call.in(i).dtype != scalar.dtype || call.in(i).shape != scalar.shape)) {
      Fail("{}: {} is {}, expected {}", call.op.name, i == kSeed ? "seed" : "offset", ToString(call.in(i)), ToString(scalar));
    }
  }
  if (problem.form.dropout_p != 0 && !call.has(kSeed)) {
    Fail("{}: dropout_p is {}, but there is no seed", call.op.name, problem.form.dropout_p);
  }
  return {{call.in(kQuery).dtype, problem.ResultShape()}};
}

uint64_t Word(const HostTensor& scalar) {
  int64_t word;
  std::memcpy(&word, scalar.data(), sizeof(word));
  return static_cast<uint64_t>(word);
}

std::vector<double> AdditiveMask(const HostTensor& mask, const Shape& shape) {
  std::vector<double> values = ReadBroadcast(mask, shape);
  if (mask.desc().dtype == DType::kBool) {
    for (double& x : values) x = x != 0 ? 0 : -kInfinity;
  }
  return values;
}

void ReferencePublic(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const Problem problem =
      ProblemOf(call.op.name, call.attrs, in[kQuery]->desc().shape, in[kKey]->desc().shape, in[kValue]->desc().shape);
  AttentionOperands operands;
  operands.q = ReadBroadcast(*in[kQuery], problem.QueryShape());
  operands.k = ReadBroadcast(*in[kKey], problem.KeyShape());
  operands.v = ReadBroadcast(*in[kValue], problem.ValueShape());
  if (call.has(kMask)) operands.mask = AdditiveMask(*in[kMask], problem.MaskShape());
  if (call.has(kLengths)) operands.lengths = in[kLengths]->ToDoubles();
  if (call.has(kSeed)) operands.seed = Word(*in[kSeed]);
  if (call.has(kOffset)) operands.offset = Word(*in[kOffset]);
  out[0].Assign(AttentionForward(problem.form, operands).y);
}

// --- the core ops ----------------------------------------------------------------------------------------------------

AttentionForm CoreForm(const Attrs& attrs, const Shape& q, const Shape& k, const Shape& v) {
  return {.batch = q[0],
          .heads = q[1],
          .kv_heads = k[1],
          .lq = q[2],
          .lk = k[2],
          .d = q[3],
          .dv = v[3],
          .left = Get<int64_t>(attrs, "left"),
          .right = Get<int64_t>(attrs, "right"),
          .scale = Get<double>(attrs, "scale"),
          .dropout_p = Get<double>(attrs, "dropout_p")};
}

AttentionForm CoreForm(const OpCall& call, const AttentionInputs& at) {
  return CoreForm(call.attrs, call.in(at.q).shape, call.in(at.q + 1).shape, call.in(at.q + 2).shape);
}

void CheckCore(const OpCall& call, std::string_view name, int input, const TensorDesc& expected) {
  const TensorDesc& got = call.in(input);
  if (got.dtype != expected.dtype || got.shape != expected.shape) {
    Fail("{}: {} is {}, expected {}", call.op.name, name, ToString(got), ToString(expected));
  }
}

// The inputs that both core ops share.
AttentionForm CheckShared(const OpCall& call, const AttentionInputs& at) {
  const TensorDesc &q = call.in(at.q), &k = call.in(at.q + 1), &v = call.in(at.q + 2);
  if (static_cast<int>(call.inputs.size()) != at.count) {
    Fail("{}: {} inputs given, its attributes ask for {}", call.op.name, call.inputs.size(), at.count);
  }
  CheckDTypes(call.op.name, q, k, v);
  const bool ranks = q.shape.size() == 4 && k.shape.size() == 4 && v.shape.size() == 4;
  const bool fits = ranks && k.shape[0] == q.shape[0] && v.shape[0] == q.shape[0] && k.shape[1] == v.shape[1] &&
                    (k.shape[1] == 0 ? q.shape[1] == 0 : q.shape[1] % k.shape[1] == 0) && k.shape[2] == v.shape[2] &&
                    k.shape[3] == q.shape[3];
  if (!fits) {
    Fail(
        "{}: query, key and value have shapes {}, {} and {}, expected [batch, heads, Lq, D], [batch, H, Lk, D] and [batch, H, "
        "Lk, DV], "
        "heads a multiple of H",
        call.op.name, ToString(q.shape), ToString(k.shape), ToString(v.shape));
  }
  const AttentionForm form = CoreForm(call, at);
  if (at.mask >= 0) {
    const DType dtype = call.in(at.mask).dtype;
    CheckCore(call, "mask", at.mask,
              {dtype == DType::kBool || ComputeType(dtype) == ComputeType(q.dtype) ? dtype : ComputeType(q.dtype),
               {form.batch, form.heads, form.lq, form.lk}});
  }
  if (at.lengths >= 0) CheckCore(call, "lengths", at.lengths, {DType::kI64, {form.batch}});
  for (int i = 0; i < 2 && at.seed >= 0; ++i) CheckCore(call, i == 0 ? "seed" : "offset", at.seed + i, {DType::kI64, {}});
  return form;
}

std::vector<TensorDesc> InferCore(const OpCall& call) {
  const AttentionInputs at = AttentionInputsOf(call.op, call.attrs);
  const AttentionForm form = CheckShared(call, at);
  const DType dtype = call.in(at.q).dtype;
  return {{dtype, {form.batch, form.heads, form.lq, form.dv}}, {ComputeType(dtype), {form.batch, form.heads, form.lq}}};
}

std::vector<TensorDesc> InferBackward(const OpCall& call) {
  const AttentionInputs at = AttentionInputsOf(call.op, call.attrs);
  const AttentionForm form = CheckShared(call, at);
  const DType dtype = call.in(at.q).dtype;
  const TensorDesc y = {dtype, {form.batch, form.heads, form.lq, form.dv}};
  CheckCore(call, "dy", 0, y);
  CheckCore(call, "y", 4, y);
  CheckCore(call, "lse", 5, {ComputeType(dtype), {form.batch, form.heads, form.lq}});
  std::vector<TensorDesc> results;
  for (int i = at.q; i < at.q + 3; ++i) results.push_back({dtype, call.in(i).shape});
  if (call.attr<bool>("mask_gradient")) results.push_back({ComputeType(dtype), {form.batch, form.heads, form.lq, form.lk}});
  return results;
}

AttentionOperands CoreOperands(const OpCall& call, const AttentionInputs& at, std::span<const HostTensor* const> in) {
  AttentionOperands operands;
  operands.q = in[at.q]->ToDoubles(), operands.k = in[at.q + 1]->ToDoubles(), operands.v = in[at.q + 2]->ToDoubles();
  if (at.mask >= 0) operands.mask = AdditiveMask(*in[at.mask], call.in(at.mask).shape);
  if (at.lengths >= 0) operands.lengths = in[at.lengths]->ToDoubles();
  if (at.seed >= 0) operands.seed = Word(*in[at.seed]), operands.offset = Word(*in[at.seed + 1]);
  return operands;
}

void ReferenceCore(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const AttentionInputs at = AttentionInputsOf(call.op, call.attrs);
  const AttentionResult result = AttentionForward(CoreForm(call, at), CoreOperands(call, at, in));
  out[0].Assign(result.y);
  out[1].Assign(result.lse);
}

void ReferenceBackward(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const AttentionInputs at = AttentionInputsOf(call.op, call.attrs);
  const AttentionGradients result = AttentionBackward(CoreForm(call, at), CoreOperands(call, at, in), in[0]->ToDoubles(),
                                                      in[4]->ToDoubles(), in[5]->ToDoubles());
  out[0].Assign(result.dq);
  out[1].Assign(result.dk);
  out[2].Assign(result.dv);
  if (out.size() == 4) out[3].Assign(result.dmask);
}

// --- rules on graphs -------------------------------------------------------------------------------------------------

// The core form of a call: its inputs of rank 4 and the attributes. Decompose and gradient share it,
// so their nodes are equal.
struct CoreCall {
  Problem problem;
  std::vector<ValueId> inputs;
  Attrs attrs;
};

// `x` broadcast to `shape`, its leading dimensions folded into two.
ValueId Folded(Emit& emit, ValueId x, const Shape& shape, int64_t heads) {
  const int64_t rows = shape[shape.size() - 2], columns = shape.back();
  const int64_t batch = shape.size() < 4 ? 1 : Product({shape.begin(), shape.end() - 3});
  return emit.Reshape(emit.Expand(x, shape), {batch, heads, rows, columns});
}

CoreCall EmitCore(Emit& emit, const Graph& graph, const Node& node) {
  const Problem problem = ProblemOf(graph, node);
  const AttentionForm& form = problem.form;
  const DType dtype = ComputeType(emit.desc(node.inputs[kQuery]).dtype);
  auto operand = [&](int i, const Shape& shape, int64_t heads) { return Folded(emit, node.inputs[i], shape, heads); };
  CoreCall call{problem, {}, {}};
  call.inputs = {operand(kQuery, problem.QueryShape(), form.heads), operand(kKey, problem.KeyShape(), form.kv_heads),
                 operand(kValue, problem.ValueShape(), form.kv_heads)};
  auto given = [&](size_t i) { return node.inputs.size() > i && node.inputs[i] != kNone; };
  const bool masked = given(kMask), ragged = given(kLengths);
  if (masked) {
    // Of a dtype that the kernels read directly, so that a broadcast mask stays a view.
    ValueId mask = node.inputs[kMask];
    if (emit.desc(mask).dtype != DType::kBool && ComputeType(emit.desc(mask).dtype) != dtype) mask = emit.Cast(mask, dtype);
    call.inputs.push_back(Folded(emit, mask, problem.MaskShape(), form.heads));
  }
  if (ragged) call.inputs.push_back(emit.Cast(node.inputs[kLengths], DType::kI64));
  if (form.dropout_p != 0) {
    call.inputs.push_back(node.inputs[kSeed]);
    call.inputs.push_back(given(kOffset) ? node.inputs[kOffset] : emit.Scalar(0, DType::kI64));
  }
  call.attrs = {{"dropout_p", form.dropout_p}, {"left", form.left}, {"right", form.right},
                {"scale", form.scale},         {"masked", masked},  {"ragged", ragged}};
  return call;
}

std::vector<ValueId> DecomposePublic(Graph& graph, const Node& node) {
  Emit emit(graph);
  const CoreCall call = EmitCore(emit, graph, node);
  const ValueId y = graph.Add("_attention", call.inputs, call.attrs)[0];
  return {emit.Reshape(y, call.problem.ResultShape())};
}

// The results of the backward of a core call: dq, dk, dv and, with `mask_gradient`, dmask.
std::vector<ValueId> EmitBackward(Graph& graph, const std::vector<ValueId>& inputs, Attrs attrs, ValueId dy, ValueId y,
                                  ValueId lse, bool mask_gradient) {
  std::vector<ValueId> all = {dy, inputs[0], inputs[1], inputs[2], y, lse};
  all.insert(all.end(), inputs.begin() + 3, inputs.end());
  attrs.emplace("mask_gradient", mask_gradient);
  return graph.Add("_attention_backward", all, std::move(attrs));
}

std::vector<ValueId> GradientPublic(Graph& graph, const Node& node, std::span<const ValueId> grads,
                                    const std::vector<bool>& wanted) {
  std::vector<ValueId> result = NoValues(node.inputs.size());
  if (grads[0] == kNone) return result;
  Emit emit(graph);
  const CoreCall call = EmitCore(emit, graph, node);
  const Problem& problem = call.problem;
  const std::vector<ValueId> forward = graph.Add("_attention", call.inputs, call.attrs);
  const ValueId dy = Folded(emit, grads[0], problem.ResultShape(), problem.form.heads);
  const bool mask_gradient = node.inputs.size() > kMask && wanted[kMask];
  const std::vector<ValueId> d = EmitBackward(graph, call.inputs, call.attrs, dy, forward[0], forward[1], mask_gradient);
  const Shape shapes[] = {problem.QueryShape(), problem.KeyShape(), problem.ValueShape(), problem.MaskShape()};
  for (size_t i = 0; i < d.size(); ++i) {
    if (!wanted[i]) continue;
    const TensorDesc input = emit.desc(node.inputs[i]);
    result[i] = emit.Cast(emit.SumTo(emit.Reshape(d[i], shapes[i]), input.shape), input.dtype);
  }
  return result;
}

std::vector<ValueId> GradientCore(Graph& graph, const Node& node, std::span<const ValueId> grads,
                                  const std::vector<bool>& wanted) {
  if (grads[1] != kNone) Fail("_attention: its second output, the log-sum-exp, is not differentiable");
  std::vector<ValueId> result = NoValues(node.inputs.size());
  if (grads[0] == kNone) return result;
  const int mask = AttentionInputsOf(*node.op, node.attrs).mask;
  const std::vector<ValueId> d =
      EmitBackward(graph, node.inputs, node.attrs, grads[0], node.outputs[0], node.outputs[1], mask >= 0 && wanted[mask]);
  for (size_t i = 0; i < d.size(); ++i) {
    if (wanted[i]) result[i] = Emit(graph).Cast(d[i], graph.desc(node.inputs[i]).dtype);
  }
  return result;
}

// Without keys there is nothing to attend to: zeros, as the references have it.
std::vector<ValueId> DecomposeCore(Graph& graph, const Node& node) {
  Emit emit(graph);
  const bool backward = node.op->name == "_attention_backward";
  if (emit.shape(node.inputs[backward ? 2 : 1])[2] != 0) return {};
  std::vector<ValueId> result;
  for (const TensorDesc& desc : node.op->infer({*node.op, graph, node.inputs, node.attrs})) result.push_back(emit.Zeros(desc));
  if (!backward) result[1] = emit.Expand(emit.Scalar(-kInfinity, emit.desc(result[1]).dtype), Shape(emit.shape(result[1])));
  return result;
}

}  // namespace

AttentionInputs AttentionInputsOf(const OpDef& core, const Attrs& attrs) {
  const bool backward = core.name == "_attention_backward";
  AttentionInputs at = {.q = backward ? 1 : 0, .count = backward ? 6 : 3};
  if (Get<bool>(attrs, "masked")) at.mask = at.count++;
  if (Get<bool>(attrs, "ragged")) at.lengths = at.count++;
  if (Get<double>(attrs, "dropout_p") != 0) at.seed = at.count, at.count += 2;
  return at;
}

void RegisterAttentionOps() {
  using Type = AttrSpec::Type;
  std::vector<AttrSpec> core_attrs = {{"left", Type::kInt, int64_t{-1}}, {"right", Type::kInt, int64_t{-1}},
                                      {"scale", Type::kFloat},           {"masked", Type::kBool, false},
                                      {"ragged", Type::kBool, false},    {"dropout_p", Type::kFloat, 0.0}};
  RegisterOp({.name = "scaled_dot_product_attention",
              .min_inputs = 3,
              .max_inputs = 7,
              .attrs = {{"dropout_p", Type::kFloat, 0.0},
                        {"is_causal", Type::kBool, false},
                        {"scale", Type::kFloat, kUnsetScale},
                        {"enable_gqa", Type::kBool, false},
                        {"window", Type::kInts, std::vector<int64_t>{-1, -1}}},
              .infer = InferPublic,
              .reference = ReferencePublic,
              .gradient = GradientPublic,
              .decompose = DecomposePublic});
  RegisterOp({.name = "_attention",
              .kind = OpKind::kAttention,
              .min_inputs = 3,
              .max_inputs = 7,
              .attrs = core_attrs,
              .internal = true,
              .infer = InferCore,
              .reference = ReferenceCore,
              .gradient = GradientCore,
              .decompose = DecomposeCore});
  core_attrs.push_back({"mask_gradient", Type::kBool, false});
  RegisterOp({.name = "_attention_backward",
              .kind = OpKind::kAttention,
              .min_inputs = 6,
              .max_inputs = 10,
              .attrs = core_attrs,
              .internal = true,
              .infer = InferBackward,
              .reference = ReferenceBackward,
              .decompose = DecomposeCore});
}

}  // namespace athanor
