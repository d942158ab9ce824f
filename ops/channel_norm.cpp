#include "ops/channel_norm.h"

#include <cmath>

#include "ops/emit.h"
#include "ops/error.h"
#include "ops/op.h"

namespace athanor {
namespace {

using Type = AttrSpec::Type;

enum BatchNormInput : int { kX, kRunningMean, kRunningVar, kWeight, kBias };

bool Has(const Node& node, int i) { return static_cast<int>(node.inputs.size()) > i && node.inputs[i] != kNone; }

// The input as [batch, channels, plane].
struct Form {
  int64_t batch, channels, plane;
  double count() const { return static_cast<double>(batch * plane); }       // elements of a channel
};

Form FormOf(const Shape& x) { return {x[0], x[1], Product({x.begin() + 2, x.end()})}; }

void CheckX(const OpCall& call) {
  const TensorDesc& x = call.in(0);
  if (!IsFloat(x.dtype)) Fail("{}: input has dtype {}, expected a floating-point one", call.op.name, Name(x.dtype));
  if (x.rank() < 2) Fail("{}: input has shape {}, expected [batch, channels, ...]", call.op.name, ToString(x.shape));
}

// One number a channel, in the input's dtype or in the one its statistics are computed in.
void CheckVector(const OpCall& call, int i, std::string_view what) {
  if (!call.has(i)) return;
  const TensorDesc &x = call.in(0), &vector = call.in(i);
  if ((vector.dtype != x.dtype && vector.dtype != ComputeType(x.dtype)) || vector.shape != Shape{x.shape[1]}) {
    Fail("{}: {} is {}, expected {}", call.op.name, what, ToString(vector), ToString(TensorDesc{x.dtype, {x.shape[1]}}));
  }
}

// --- batch_norm --------------------------------------------------------------------------------------------------------

std::vector<TensorDesc> InferBatchNorm(const OpCall& call) {
  CheckX(call);
  const TensorDesc& x = call.in(kX);
  CheckVector(call, kRunningMean, "running_mean");
  CheckVector(call, kRunningVar, "running_var");
  CheckVector(call, kWeight, "weight");
  CheckVector(call, kBias, "bias");
  const bool training = call.attr<bool>("training"), running = call.has(kRunningMean);
  if (running != call.has(kRunningVar)) Fail("batch_norm: only one of running_mean and running_var is given");
  if (!training && !running) Fail("batch_norm: running_mean and running_var are required where training is false");
  if (training && FormOf(x.shape).count() < 2) {
    Fail("batch_norm: input has shape {}, expected more than one value for each channel when training", ToString(x.shape));
  }
  std::vector<TensorDesc> outputs = {{x.dtype, x.shape}};
  for (int i : {kRunningMean, kRunningVar}) {
    if (training && running) outputs.push_back({call.in(i).dtype, call.in(i).shape});
  }
  return outputs;
}

struct Moments {
  double mean, variance;                                     // variance: biased
};

Moments MomentsOf(const Form& form, const HostTensor& x, int64_t channel) {
  Moments moments = {0, 0};
  const auto each = [&](auto fn) {
    for (int64_t n = 0; n < form.batch; ++n) {
      for (int64_t s = 0; s < form.plane; ++s) fn(x.Get((n * form.channels + channel) * form.plane + s));
    }
  };
  each([&](double v) { moments.mean += v / form.count(); });
  each([&](double v) { moments.variance += (v - moments.mean) * (v - moments.mean) / form.count(); });
  return moments;
}

void ReferenceBatchNorm(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const Form form = FormOf(in[kX]->desc().shape);
  const bool training = call.attr<bool>("training");
  const double momentum = call.attr<double>("momentum"), eps = call.attr<double>("eps");
  const auto number = [&](size_t i, int64_t c, double fallback) { return in.size() > i && in[i] ? in[i]->Get(c) : fallback; };
  for (int64_t c = 0; c < form.channels; ++c) {
    const Moments moments =
        training ? MomentsOf(form, *in[kX], c) : Moments{in[kRunningMean]->Get(c), in[kRunningVar]->Get(c)};
    const double scale = number(kWeight, c, 1) / std::sqrt(moments.variance + eps), bias = number(kBias, c, 0);
    for (int64_t n = 0; n < form.batch; ++n) {
      for (int64_t s = 0; s < form.plane; ++s) {
        const int64_t at = (n * form.channels + c) * form.plane + s;
        out[0].Set(at, (in[kX]->Get(at) - moments.mean) * scale + bias);
      }
    }
    if (out.size() == 1) continue;
    const double unbiased = moments.variance * form.count() / (form.count() - 1);
    out[1].Set(c, (1 - momentum) * in[kRunningMean]->Get(c) + momentum * moments.mean);
    out[2].Set(c, (1 - momentum) * in[kRunningVar]->Get(c) + momentum * unbiased);
  }
}

// What is known of each plane, [batch, channels, 1], as a row for each channel: what is merged over the batch is a statistic of rows.
ValueId ChannelRows(Emit& emit, ValueId planes) {
  const Shape shape = emit.shape(planes);
  return emit.Permute(emit.Reshape(planes, {shape[0], shape[1]}), {1, 0});
}

// Sums [batch, channels, plane] to [1, channels, 1], planes first: each of them is a contiguous row.
ValueId SumChannels(Emit& emit, ValueId v) {
  const Shape shape = emit.shape(v);
  if (shape[2] == 1) return emit.Sum(v, {0}, true);
  return emit.Reshape(emit.Sum(ChannelRows(emit, emit.Sum(v, {2}, true)), {1}, true), {1, shape[1], 1});
}

// The nodes forward and backward share. Both rules emit exactly these, so that a graph holding both computes them once.
struct BatchNorm {
  Form form;
  DType dtype, compute;
  ValueId x, mean, variance, rstd, scale;                    // x: [batch, channels, plane]; the others: [1, channels, 1]

  BatchNorm(Emit& emit, const Node& node) : form(FormOf(emit.shape(node.inputs[kX]))) {
    dtype = emit.desc(node.inputs[kX]).dtype;
    compute = ComputeType(dtype);
    x = Planes(emit, node.inputs[kX]);
    if (Get<bool>(node.attrs, "training")) {
      TakeMoments(emit);
    } else {
      mean = Vector(emit, node.inputs[kRunningMean]);
      variance = Vector(emit, node.inputs[kRunningVar]);
    }
    rstd = emit.Rsqrt(emit.Add(variance, Get<double>(node.attrs, "eps")));
    scale = Has(node, kWeight) ? emit.Mul(rstd, Vector(emit, node.inputs[kWeight])) : rstd;
  }

  ValueId Planes(Emit& emit, ValueId v) const {
    return emit.Reshape(emit.Cast(v, compute), {form.batch, form.channels, form.plane});
  }
  ValueId Vector(Emit& emit, ValueId v) const { return emit.Reshape(emit.Cast(v, compute), {1, form.channels, 1}); }

  void TakeMoments(Emit& emit) {
    if (form.plane == 1) {
      mean = emit.Mul(emit.Sum(x, {0}, true), 1 / form.count());
      const ValueId centred = emit.Sub(x, mean);
      variance = emit.Mul(emit.Sum(emit.Mul(centred, centred), {0}, true), 1 / form.count());
      return;
    }
    const auto plane = static_cast<double>(form.plane);
    const ValueId plane_mean = emit.Mul(emit.Sum(x, {2}, true), 1 / plane), from_plane_mean = emit.Sub(x, plane_mean);
    const ValueId plane_squares = emit.Sum(emit.Mul(from_plane_mean, from_plane_mean), {2}, true);
    const ValueId means = ChannelRows(emit, plane_mean);
    mean = emit.Mul(emit.Sum(means, {1}, true), 1 / static_cast<double>(form.batch));
    const ValueId off = emit.Sub(means, mean);
    const ValueId squares = emit.Add(ChannelRows(emit, plane_squares), emit.Mul(emit.Mul(off, off), plane));
    mean = emit.Reshape(mean, {1, form.channels, 1});
    variance = emit.Reshape(emit.Mul(emit.Sum(squares, {1}, true), 1 / form.count()), {1, form.channels, 1});
  }
};

// new = (1 - momentum) * old + momentum * now
ValueId Blend(Emit& emit, const BatchNorm& norm, ValueId old, ValueId now, double momentum) {
  const ValueId blended = emit.Add(emit.Mul(norm.Vector(emit, old), 1 - momentum), emit.Mul(now, momentum));
  return emit.Cast(emit.Reshape(blended, {norm.form.channels}), emit.desc(old).dtype);
}

std::vector<ValueId> DecomposeBatchNorm(Graph& graph, const Node& node) {
  Emit emit(graph);
  const BatchNorm norm(emit, node);
  const bool training = Get<bool>(node.attrs, "training");
  const ValueId bias = Has(node, kBias) ? norm.Vector(emit, node.inputs[kBias]) : kNone;
  ValueId y;
  if (training) {
    y = emit.Mul(emit.Sub(norm.x, norm.mean), norm.scale);
    if (bias != kNone) y = emit.Add(y, bias);
  } else {                                                   // x only meets one scale and one shift a channel: easy to carry and fold
    const ValueId shift = emit.Mul(norm.mean, norm.scale);
    y = emit.Add(emit.Mul(norm.x, norm.scale), bias != kNone ? emit.Sub(bias, shift) : emit.Neg(shift));
  }
  std::vector<ValueId> outputs = {emit.Cast(emit.Reshape(y, Shape(emit.shape(node.inputs[kX]))), norm.dtype)};
  if (training && Has(node, kRunningMean)) {
    const double momentum = Get<double>(node.attrs, "momentum"), unbias = norm.form.count() / (norm.form.count() - 1);
    outputs.push_back(Blend(emit, norm, node.inputs[kRunningMean], norm.mean, momentum));
    outputs.push_back(Blend(emit, norm, node.inputs[kRunningVar], emit.Mul(norm.variance, unbias), momentum));
  }
  return outputs;
}

// Two sums a channel, then one affine pass. In training, with c = x - mean:
//   dx = scale * (g - mean(g) - c * rstd^2 * mean(g * c))
std::vector<ValueId> GradientBatchNorm(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>& wanted) {
  Emit emit(graph);
  std::vector<ValueId> result = NoValues(node.inputs.size());
  if (grads[0] == kNone) return result;
  const BatchNorm norm(emit, node);
  const bool training = Get<bool>(node.attrs, "training");
  const ValueId g = norm.Planes(emit, grads[0]), centred = emit.Sub(norm.x, norm.mean);
  const ValueId sum = SumChannels(emit, g), slope = SumChannels(emit, emit.Mul(g, centred));
  if (wanted[kX]) {
    ValueId d = g;
    if (training) {
      const ValueId factor = emit.Mul(emit.Mul(emit.Mul(norm.rstd, norm.rstd), slope), 1 / norm.form.count());
      d = emit.Sub(emit.Sub(g, emit.Mul(sum, 1 / norm.form.count())), emit.Mul(centred, factor));
    }
    result[kX] = emit.Cast(emit.Reshape(emit.Mul(d, norm.scale), Shape(emit.shape(node.inputs[kX]))), norm.dtype);
  }
  const auto finish = [&](int i, ValueId v) {
    result[i] = emit.Cast(emit.Reshape(v, {norm.form.channels}), emit.desc(node.inputs[i]).dtype);
  };
  if (Has(node, kWeight) && wanted[kWeight]) finish(kWeight, emit.Mul(slope, norm.rstd));
  if (Has(node, kBias) && wanted[kBias]) finish(kBias, sum);
  return result;
}

// --- group_norm --------------------------------------------------------------------------------------------------------

std::vector<TensorDesc> InferGroupNorm(const OpCall& call) {
  CheckX(call);
  const TensorDesc& x = call.in(0);
  const int64_t groups = call.attr<int64_t>("num_groups");
  if (groups < 1 || x.shape[1] % groups != 0) Fail("group_norm: num_groups is {}, which does not divide the {} channels", groups, x.shape[1]);
  CheckVector(call, 1, "weight");
  CheckVector(call, 2, "bias");
  return {{x.dtype, x.shape}};
}

void ReferenceGroupNorm(const OpCall& call, std::span<const HostTensor* const> in, std::span<HostTensor> out) {
  const Form form = FormOf(in[0]->desc().shape);
  const int64_t groups = call.attr<int64_t>("num_groups");
  // A group of a sample is a channel of a batch of one.
  const Form rows = {1, form.batch * groups, form.channels / groups * form.plane};
  const double eps = call.attr<double>("eps");
  for (int64_t row = 0; row < rows.channels && rows.plane > 0; ++row) {
    const Moments moments = MomentsOf(rows, *in[0], row);
    const double rstd = 1 / std::sqrt(moments.variance + eps);
    for (int64_t i = row * rows.plane; i < (row + 1) * rows.plane; ++i) {
      const int64_t c = i / form.plane % form.channels;
      const double weight = in.size() > 1 && in[1] ? in[1]->Get(c) : 1, bias = in.size() > 2 && in[2] ? in[2]->Get(c) : 0;
      out[0].Set(i, (in[0]->Get(i) - moments.mean) * rstd * weight + bias);
    }
  }
}

// As struct BatchNorm, with x as [batch, groups, channels of a group, plane] and statistics over the last two.
struct GroupNorm {
  Form form;
  int64_t groups;
  DType dtype, compute;
  double count;
  ValueId xhat, rstd;

  GroupNorm(Emit& emit, const Node& node) : form(FormOf(emit.shape(node.inputs[0]))), groups(Get<int64_t>(node.attrs, "num_groups")) {
    dtype = emit.desc(node.inputs[0]).dtype;
    compute = ComputeType(dtype);
    count = static_cast<double>(form.channels / groups * form.plane);
    const ValueId x = Grouped(emit, node.inputs[0]), centred = emit.Sub(x, emit.Mul(emit.Sum(x, {2, 3}, true), 1 / count));
    const ValueId variance = emit.Mul(emit.Sum(emit.Mul(centred, centred), {2, 3}, true), 1 / count);
    rstd = emit.Rsqrt(emit.Add(variance, Get<double>(node.attrs, "eps")));
    xhat = emit.Mul(centred, rstd);
  }

  ValueId Grouped(Emit& emit, ValueId v) const {
    return emit.Reshape(emit.Cast(v, compute), {form.batch, groups, form.channels / groups, form.plane});
  }
  ValueId Vector(Emit& emit, ValueId v) const { return emit.Reshape(emit.Cast(v, compute), {groups, form.channels / groups, 1}); }
};

std::vector<ValueId> DecomposeGroupNorm(Graph& graph, const Node& node) {
  Emit emit(graph);
  const GroupNorm norm(emit, node);
  ValueId y = norm.xhat;
  if (Has(node, 1)) y = emit.Mul(y, norm.Vector(emit, node.inputs[1]));
  if (Has(node, 2)) y = emit.Add(y, norm.Vector(emit, node.inputs[2]));
  return {emit.Cast(emit.Reshape(y, Shape(emit.shape(node.inputs[0]))), norm.dtype)};
}

// With the sums over each plane of g and of g * xhat everything else is small:
//   dx = rstd * (g * weight - mean(g * weight) - xhat * mean(g * weight * xhat))
std::vector<ValueId> GradientGroupNorm(Graph& graph, const Node& node, std::span<const ValueId> grads, const std::vector<bool>& wanted) {
  Emit emit(graph);
  std::vector<ValueId> result = NoValues(node.inputs.size());
  if (grads[0] == kNone) return result;
  const GroupNorm norm(emit, node);
  const ValueId g = norm.Grouped(emit, grads[0]), weight = Has(node, 1) ? norm.Vector(emit, node.inputs[1]) : kNone;
  const ValueId sums = emit.Sum(g, {3}, true), slopes = emit.Sum(emit.Mul(g, norm.xhat), {3}, true);
  const auto weighted = [&](ValueId v) { return weight == kNone ? v : emit.Mul(v, weight); };
  if (wanted[0]) {
    const auto mean = [&](ValueId v) { return emit.Mul(emit.Sum(weighted(v), {2}, true), 1 / norm.count); };
    const ValueId d = emit.Sub(emit.Sub(weighted(g), mean(sums)), emit.Mul(norm.xhat, mean(slopes)));
    result[0] = emit.Cast(emit.Reshape(emit.Mul(d, norm.rstd), Shape(emit.shape(node.inputs[0]))), norm.dtype);
  }
  const auto finish = [&](int i, ValueId v) {
    result[i] = emit.Cast(emit.Reshape(emit.Sum(v, {0}, false), {norm.form.channels}), emit.desc(node.inputs[i]).dtype);
  };
  if (Has(node, 1) && wanted[1]) finish(1, slopes);
  if (Has(node, 2) && wanted[2]) finish(2, sums);
  return result;
}

}  // namespace

void RegisterChannelNormOps() {
  RegisterOp({.name = "batch_norm",
              .min_inputs = 1,
              .max_inputs = 5,
              .attrs = {{"training", Type::kBool, false}, {"momentum", Type::kFloat, 0.1}, {"eps", Type::kFloat, 1e-5}},
              .named_outputs = 1,
              .infer = InferBatchNorm,
              .reference = ReferenceBatchNorm,
              .gradient = GradientBatchNorm,
              .decompose = DecomposeBatchNorm});
  RegisterOp({.name = "group_norm",
              .min_inputs = 1,
              .max_inputs = 3,
              .attrs = {{"num_groups", Type::kInt}, {"eps", Type::kFloat, 1e-5}},
              .infer = InferGroupNorm,
              .reference = ReferenceGroupNorm,
              .gradient = GradientGroupNorm,
              .decompose = DecomposeGroupNorm});
}

}  // namespace athanor
