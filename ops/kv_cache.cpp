#include "ops/kv_cache.h"

#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

enum Input : int { kCache, kEntries, kLengths };

struct Form {
  int64_t batch, heads, size, length, width;
  int64_t planes() const { return batch * heads; }
};

Form FormOf(const Shape& cache, const Shape& entries) { return {cache[0], cache[1], cache[2], entries[2], cache[3]}; }

std::vector<TensorDesc> Infer(const OpCall& call) {
  const TensorDesc &cache = call.in(kCache), &entries = call.in(kEntries), &lengths = call.in(kLengths);
  if (cache.rank() != 4) Fail("kv_append: cache has shape {}, expected [batch, heads, size, width]", ToString(cache.shape));
  if (entries.dtype != cache.dtype) Fail("kv_append: entries have dtype {}, expected {} as the cache", Name(entries.dtype), Name(cache.dtype));
  Shape expected = cache.shape;
  if (entries.rank() == 4) expected[2] = entries.shape[2];
  if (entries.shape != expected) {
    Fail("kv_append: entries have shape {}, expected [{}, {}, length, {}]", ToString(entries.shape), cache.shape[0], cache.shape[1], cache.shape[3]);
  }
  if (entries.shape[2] > cache.shape[2]) Fail("kv_append: {} entries for a cache of size {}", entries.shape[2], cache.shape[2]);
  if (lengths.dtype != DType::kI64 && lengths.dtype != DType::kI32) {
    Fail("kv_append: lengths have dtype {}, expected i64 or i32", Name(lengths.dtype));
  }
  if (lengths.rank() != 0 && lengths.shape != Shape{cache.shape[0]}) {
    Fail("kv_append: lengths have shape {}, expected [{}] or a scalar", ToString(lengths.shape), cache.shape[0]);
  }
  return {{cache.dtype, cache.shape}};
}

void Reference(const OpCall&, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const Form form = FormOf(in[kCache]->desc().shape, in[kEntries]->desc().shape);
  out[0].Assign(in[kCache]->ToDoubles());
  for (int64_t plane = 0; plane < form.planes(); ++plane) {
    const auto at = static_cast<int64_t>(in[kLengths]->Get(in[kLengths]->desc().rank() == 0 ? 0 : plane / form.heads));
    if (at < 0 || at > form.size - form.length) {
      Fail("kv_append: length {} leaves no room for {} entries in a cache of size {}", at, form.length, form.size);
    }
    for (int64_t i = 0; i < form.length * form.width; ++i) {
      out[0].Set((plane * form.size + at) * form.width + i, in[kEntries]->Get(plane * form.length * form.width + i));
    }
  }
}

// The row of each sequence's entries that belongs at each place of the cache, [batch, 1, size]; outside of [0, length) where the
// cache stays as it was.
ValueId EntryOf(Emit& emit, const Form& form, ValueId lengths) {
  const ValueId start = emit.Cast(lengths, DType::kI64);
  const Shape shape = {emit.desc(lengths).rank() == 0 ? 1 : form.batch, 1, 1};
  return emit.Sub(emit.Iota({1, 1, form.size}, 2), emit.Reshape(start, shape));
}

ValueId IsEntry(Emit& emit, const Form& form, ValueId entry) {
  const auto number = [&](int64_t value) { return emit.Scalar(static_cast<double>(value), DType::kI64); };
  return emit.And(emit.Gt(entry, number(-1)), emit.Lt(entry, number(form.length)));
}

// The cache, or what has its shape, as a table of rows.
ValueId AsTable(Emit& emit, const Form& form, ValueId cache) { return emit.Reshape(cache, {form.planes() * form.size, form.width}); }

// The row of that table where each entry belongs, [batch, heads, length]. Only lengths that are inputs are checked before a run: others are
// clamped, so that nothing is read or written outside of the cache.
ValueId RowOf(Emit& emit, const Form& form, ValueId lengths) {
  const auto number = [&](int64_t value) { return emit.Scalar(static_cast<double>(value), DType::kI64); };
  const ValueId inside = emit.Minimum(emit.Maximum(emit.Cast(lengths, DType::kI64), number(0)), number(form.size - form.length));
  const ValueId start = emit.Reshape(inside, {emit.desc(lengths).rank() == 0 ? 1 : form.batch, 1, 1});
  const ValueId plane = emit.Add(emit.Mul(emit.Iota({form.batch, 1, 1}, 0), static_cast<double>(form.heads)), emit.Iota({1, form.heads, 1}, 1));
  const ValueId first = emit.Add(emit.Mul(plane, static_cast<double>(form.size)), start);
  return emit.Add(first, emit.Iota({1, 1, form.length}, 2));
}

std::vector<ValueId> Decompose(Graph& graph, const Node& node) {
  Emit emit(graph);
  const Form form = FormOf(emit.shape(node.inputs[kCache]), emit.shape(node.inputs[kEntries]));
  if (form.length == 0) return {node.inputs[kCache]};
  const ValueId table = AsTable(emit, form, node.inputs[kCache]), row = RowOf(emit, form, node.inputs[kLengths]);
  return {emit.Reshape(graph.Add1("_scatter_rows", {node.inputs[kEntries], row, table}), emit.shape(node.inputs[kCache]))};
}

std::vector<ValueId> Gradient(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>& wanted) {
  std::vector<ValueId> result = NoValues(node.inputs.size());
  if (grads[0] == kNone) return result;
  Emit emit(graph);
  const Form form = FormOf(emit.shape(node.inputs[kCache]), emit.shape(node.inputs[kEntries]));
  const DType dtype = emit.desc(grads[0]).dtype;
  if (wanted[kCache]) {
    const ValueId entry = EntryOf(emit, form, node.inputs[kLengths]);
    const ValueId written = emit.Reshape(IsEntry(emit, form, entry), {emit.shape(entry)[0], 1, form.size, 1});
    result[kCache] = emit.Where(written, emit.Scalar(0, dtype), grads[0]);
  }
  if (wanted[kEntries]) {
    result[kEntries] = form.length == 0 ? emit.Zeros(emit.desc(node.inputs[kEntries]))
                                        : graph.Add1("_gather_rows", {AsTable(emit, form, grads[0]), RowOf(emit, form, node.inputs[kLengths])});
  }
  return result;
}

}  // namespace

void RegisterKvCacheOps() {
  RegisterOp({.name = "kv_append",
              .min_inputs = 3,
              .max_inputs = 3,
              .infer = Infer,
              .reference = Reference,
              .gradient = Gradient,
              .decompose = Decompose});
}

}  // namespace athanor
