"""Rules of products, convolutions, pools, attention, normalisations, embeddings and losses: each onto the kernel of ours that is made for it."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .builder import Builder, Value, compute_dtype, numbers, require
from . import operators  # noqa: F401  (registers what is translated here)
from .rules import rule

aten = torch.ops.aten


# --- products ---

def _matmul(b: Builder, x: Value, y: Value) -> Value:
    require(x.is_float, "a product of integers")
    return b.op("matmul", x, y, shape=[*x.shape[:-1], y.shape[-1]])


@rule(aten.mm.default, aten.bmm.default)
def _mm(b: Builder, out: torch.Tensor, x: Value, y: Value) -> Value:
    return _matmul(b, x, y)


@rule(aten.mv.default, aten.dot.default)
def _mv(b: Builder, out: torch.Tensor, x: Value, y: Value) -> Value:
    require(x.is_float, "a product of integers")
    return b.op("matmul", x, y, shape=out.shape)


@rule(aten.addmm.default, aten.baddbmm.default)
def _addmm(b: Builder, out: torch.Tensor, bias: Value, x: Value, y: Value, *, beta: float = 1, alpha: float = 1) -> Value:
    product = _matmul(b, x, y)
    if alpha != 1:
        product = b.mul(product, float(alpha))
    if beta == 0:
        return product
    return b.add(product, bias if beta == 1 else b.mul(bias, float(beta)))


# --- convolutions and pools ---

class _Convolution:
    """The arguments that convolution and convolution_backward share; one-dimensional ones as two-dimensional ones of height 1."""

    def __init__(self, b: Builder, x: Value, w: Value, stride: Any, padding: Any, dilation: Any, transposed: bool, output_padding: Any, groups: int):
        require(x.is_float and x.dtype == w.dtype, "dtypes of a convolution differ")
        require(x.rank in (3, 4), f"a convolution over {x.rank - 2} dimensions")
        require(all(n > 0 for n in x.shape + w.shape), "an empty convolution")
        self.flat = x.rank == 3
        self.x, self.w = (self._wide(b, v) for v in (x, w))
        lists = {"stride": (stride, 1), "padding": (padding, 0), "dilation": (dilation, 1)}
        if transposed:
            lists["output_padding"] = (output_padding, 0)
        self.op = "conv_transpose2d" if transposed else "conv2d"
        self.attrs: dict[str, Any] = {name: [neutral] * self.flat + numbers(given) for name, (given, neutral) in lists.items()}
        self.attrs["groups"] = groups

    def _wide(self, b: Builder, v: Value) -> Value:
        return b.reshape(v, [*v.shape[:2], 1, v.shape[2]]) if self.flat else v


@rule(aten.convolution.default)
def _convolution(b: Builder, out: torch.Tensor, x: Value, w: Value, bias: Value | None, *rest: Any) -> Value:
    conv = _Convolution(b, x, w, *rest)
    shape = [*out.shape[:2], 1, out.shape[2]] if conv.flat else out.shape
    y = b.op(conv.op, conv.x, conv.w, *([bias] if bias is not None else []), shape=shape, **conv.attrs)
    return b.reshape(y, out.shape)


@rule(aten.convolution_backward.default)
def _convolution_backward(b: Builder, out: Any, dy: Value, x: Value, w: Value, bias_sizes: Any, stride: Any, padding: Any, dilation: Any,
                          transposed: bool, output_padding: Any, groups: int, mask: Sequence[bool]) -> list[Value | None]:
    conv = _Convolution(b, x, w, stride, padding, dilation, transposed, output_padding, groups)
    wanted = [i for i in (0, 1) if mask[i]]
    results: list[Value | None] = [None, None, None]
    if wanted:
        wide = (conv.x, conv.w)
        grads = b.ops(conv.op + "_backward", [conv._wide(b, dy), *wide], [(dy.dtype, wide[i].shape) for i in wanted], wanted=wanted, **conv.attrs)
        for i, grad in zip(wanted, grads):
            results[i] = b.reshape(grad, (x, w)[i].shape)
    if mask[2]:
        results[2] = b.sum(dy, [d for d in range(dy.rank) if d != 1])
    return results


def _pair(values: Any) -> list[int]:
    values = numbers(values)
    return values * 2 if len(values) == 1 else values


def _max_pool_attrs(kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> dict[str, Any]:
    return {"kernel_size": _pair(kernel), "stride": _pair(stride or kernel), "padding": _pair(padding), "dilation": _pair(dilation),
            "ceil_mode": ceil_mode}


@rule(aten.max_pool2d_with_indices.default)
def _max_pool2d(b: Builder, out: Any, x: Value, kernel: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1,
                ceil_mode: bool = False) -> list[Value | None]:
    return [b.op("max_pool2d", x, shape=out[0].shape, **_max_pool_attrs(kernel, stride, padding, dilation, ceil_mode)), None]


@rule(torch.ops.athanor.max_pool2d_backward.default)
def _max_pool2d_backward(b: Builder, out: torch.Tensor, dy: Value, x: Value, kernel: Any, stride: Any, padding: Any, dilation: Any,
                         ceil_mode: bool) -> Value:
    return b.op("max_pool2d_backward", dy, x, shape=x.shape, wanted=[0], **_max_pool_attrs(kernel, stride, padding, dilation, ceil_mode))


def _avg_pool_attrs(kernel: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool, divisor: int | None) -> dict[str, Any]:
    attrs = {"kernel_size": _pair(kernel), "stride": _pair(stride or kernel), "padding": _pair(padding), "ceil_mode": ceil_mode,
             "count_include_pad": count_include_pad}
    return attrs | ({} if divisor is None else {"divisor_override": divisor})


@rule(aten.avg_pool2d.default)
def _avg_pool2d(b: Builder, out: torch.Tensor, x: Value, kernel: Any, stride: Any = (), padding: Any = 0, ceil_mode: bool = False,
                count_include_pad: bool = True, divisor: int | None = None) -> Value:
    return b.op("avg_pool2d", x, shape=out.shape, **_avg_pool_attrs(kernel, stride, padding, ceil_mode, count_include_pad, divisor))


@rule(aten.avg_pool2d_backward.default)
def _avg_pool2d_backward(b: Builder, out: torch.Tensor, dy: Value, x: Value, *rest: Any) -> Value:
    return b.op("avg_pool2d_backward", dy, b.full(x.shape, 0, x.dtype), shape=x.shape, wanted=[0], **_avg_pool_attrs(*rest))


def _adaptive_attrs(sizes: Sequence[int], outs: Sequence[int]) -> dict[str, Any] | None:
    """The windows of adaptive pooling where all are of one size and do not overlap."""
    require(all(n > 0 for n in (*sizes, *outs)), "adaptive pooling of or to nothing")
    if any(n % o for n, o in zip(sizes, outs)):
        return None
    kernel = [n // o for n, o in zip(sizes, outs)]
    return {"kernel_size": kernel, "stride": kernel}


_MOST_WINDOWS = 64                                           # of other adaptive pools: each is nodes of its own


def _windows(size: int, out: int) -> list[tuple[int, int]]:
    """Where each window of an adaptive pool begins and ends; they may overlap, and repeat."""
    require(out <= _MOST_WINDOWS, "adaptive pooling to many windows of different sizes")
    return [(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]


def _resized(x: Value, dim: int, extent: int) -> list[int]:
    return [extent if d == dim else n for d, n in enumerate(x.shape)]


def _slice(b: Builder, x: Value, dim: int, start: int, end: int) -> Value:
    return b.op("slice", x, shape=_resized(x, dim, end - start), dim=dim, start=start, end=end)


def _average_windows(b: Builder, x: Value, dim: int, out: int) -> Value:
    """x with the averages of `out` windows along `dim`."""
    means = [b.mean(_slice(b, x, dim, start, end), [dim], True) for start, end in _windows(x.shape[dim], out)]
    return b.op("cat", *means, shape=_resized(x, dim, out), dim=dim)


def _average_windows_backward(b: Builder, dy: Value, dim: int, size: int) -> Value:
    """The gradient of _average_windows: between the ends of windows, each position has its share of the same ones."""
    windows = _windows(size, dy.shape[dim])
    cuts = sorted({cut for window in windows for cut in window})
    parts = []
    for start, end in zip(cuts, cuts[1:]):
        total = None
        for i, (first, last) in enumerate(windows):
            if first <= start and end <= last:
                share = b.mul(_slice(b, dy, dim, i, i + 1), 1 / (last - first))
                total = share if total is None else b.add(total, share)
        parts.append(b.expand(total, _resized(dy, dim, end - start)))
    return b.op("cat", *parts, shape=_resized(dy, dim, size), dim=dim)


@rule(aten._adaptive_avg_pool2d.default)
def _adaptive_avg_pool2d(b: Builder, out: torch.Tensor, x: Value, _: Any) -> Value:
    attrs = _adaptive_attrs(x.shape[-2:], out.shape[-2:])
    if attrs is not None:
        return b.op("avg_pool2d", x, shape=out.shape, **attrs)
    y = b.cast(x, compute_dtype(x.dtype))
    for dim in (x.rank - 2, x.rank - 1):
        y = _average_windows(b, y, dim, out.shape[dim])
    return b.cast(y, out.dtype)


@rule(aten._adaptive_avg_pool2d_backward.default)
def _adaptive_avg_pool2d_backward(b: Builder, out: torch.Tensor, dy: Value, x: Value) -> Value:
    attrs = _adaptive_attrs(x.shape[-2:], dy.shape[-2:])
    if attrs is not None:
        return b.op("avg_pool2d_backward", dy, b.full(x.shape, 0, x.dtype), shape=x.shape, wanted=[0], **attrs)
    dx = b.cast(dy, compute_dtype(dy.dtype))
    for dim in (x.rank - 2, x.rank - 1):
        dx = _average_windows_backward(b, dx, dim, x.shape[dim])
    return b.cast(dx, out.dtype)


# --- attention ---

def _flash_attrs(is_causal: bool, scale: float | None) -> dict[str, Any]:
    return {"is_causal": is_causal} | ({} if scale is None else {"scale": float(scale)})


@rule(aten._scaled_dot_product_flash_attention_for_cpu.default)
def _flash_attention(b: Builder, out: Any, q: Value, k: Value, v: Value, dropout_p: float = 0.0, is_causal: bool = False, *,
                     attn_mask: Value | None = None, scale: float | None = None) -> list[Value]:
    require(dropout_p == 0, "attention with dropout")
    mask = [] if attn_mask is None else [attn_mask]
    return b.ops("flash_attention", [q, k, v, *mask], [(y.dtype, y.shape) for y in out], **_flash_attrs(is_causal, scale))


@rule(aten._scaled_dot_product_flash_attention_for_cpu_backward.default)
def _flash_attention_backward(b: Builder, out: Any, dy: Value, q: Value, k: Value, v: Value, y: Value, lse: Value, dropout_p: float, is_causal: bool,
                              *, attn_mask: Value | None = None, scale: float | None = None) -> list[Value]:
    require(dropout_p == 0, "attention with dropout")
    mask = [] if attn_mask is None else [attn_mask]
    return b.ops("flash_attention_backward", [dy, q, k, v, y, lse, *mask], [(t.dtype, t.shape) for t in (q, k, v)], **_flash_attrs(is_causal, scale))


# --- normalisations ---

def _computed(b: Builder, *values: Value | None) -> list[Value | None]:
    """In the dtype that statistics are computed in."""
    return [None if v is None else b.cast(v, compute_dtype(v.dtype)) for v in values]


def _count(x: Value, dims: Sequence[int]) -> float:
    count = 1.0
    for d in dims:
        count *= x.shape[d]
    require(count > 0, "statistics of nothing")
    return count


@rule(aten.native_layer_norm.default)
def _layer_norm(b: Builder, out: Any, x: Value, normalized: Sequence[int], w: Value | None, bias: Value | None, eps: float) -> list[Value]:
    dtype, dims = x.dtype, list(range(x.rank - len(normalized), x.rank))
    x, w, bias = _computed(b, x, w, bias)
    count = _count(x, dims)
    # The nodes that layer_norm decomposes to, so that statistics and result are one pass.
    mean = b.div(b.sum(x, dims, True), count)
    centred = b.sub(x, mean)
    rstd = b.op("rsqrt", b.add(b.div(b.sum(b.mul(centred, centred), dims, True), count), float(eps)))
    y = b.mul(centred, rstd)
    y = y if w is None else b.mul(y, w)
    y = y if bias is None else b.add(y, bias)
    return [b.cast(y, dtype), b.cast(mean, out[1].dtype), b.cast(rstd, out[2].dtype)]


@rule(aten.native_layer_norm_backward.default)
def _layer_norm_backward(b: Builder, out: Any, dy: Value, x: Value, normalized: Sequence[int], mean: Value, rstd: Value, w: Value | None,
                         bias: Value | None, mask: Sequence[bool]) -> list[Value | None]:
    dtype, dims = x.dtype, list(range(x.rank - len(normalized), x.rank))
    rows = list(range(dims[0])) if dims else []
    dy, x, mean, rstd, w = _computed(b, dy, x, mean, rstd, w)
    count = _count(x, dims)
    xhat = b.mul(b.sub(x, mean), rstd)
    results: list[Value | None] = [None, None, None]
    if mask[0]:
        # dx = rstd (g - mean(g) - xhat mean(g xhat)), g = dy w
        g = dy if w is None else b.mul(dy, w)
        slope = b.div(b.sum(b.mul(g, xhat), dims, True), count)
        d = b.sub(b.sub(g, b.div(b.sum(g, dims, True), count)), b.mul(xhat, slope))
        results[0] = b.cast(b.mul(d, rstd), dtype)
    for i, v in ((1, None), (2, dy)):
        if mask[i]:
            v = b.mul(dy, xhat) if v is None else v
            results[i] = b.cast(b.sum(v, rows) if rows else v, out[i].dtype)
    return results


def _channel(b: Builder, x: Value, v: Value) -> Value:
    """A number a channel, to go with x."""
    return b.reshape(b.cast(v, compute_dtype(v.dtype)), [1, x.shape[1]] + [1] * (x.rank - 2))


def _sum_channels(b: Builder, x: Value) -> Value:
    """Sums [batch, channels, ...] to [1, channels, 1...], planes first: each of them is contiguous."""
    planes = b.sum(x, list(range(2, x.rank)), True) if x.rank > 2 else x
    return b.sum(planes, [0], True)


@rule(aten._native_batch_norm_legit_functional.default, aten._native_batch_norm_legit.no_stats)
def _batch_norm(b: Builder, out: Any, x: Value, w: Value | None, bias: Value | None, *rest: Any) -> list[Value]:
    running, (training, momentum, eps) = rest[:-3], rest[-3:]
    if not training:
        y = _batch_norm_by(b, x, w, bias, *running, eps)
        return [y, *_empty_statistics(b, out), *running]
    channels, count = x.shape[1], _count(x, [0, *range(2, x.rank)])
    require(count > 1, "statistics of one element")
    # With a momentum of 1 the new running statistics are those of the batch.
    zero = b.full([channels], 0, compute_dtype(x.dtype))
    y, mean, unbiased = b.ops("batch_norm", [x, zero, zero, w, bias], [(x.dtype, x.shape)] + [(zero.dtype, (channels,))] * 2, training=True,
                              momentum=1.0, eps=float(eps))
    variance = b.mul(unbiased, (count - 1) / count)
    rstd = b.op("rsqrt", b.add(variance, float(eps)))
    results = [y, b.cast(mean, out[1].dtype), b.cast(rstd, out[2].dtype)]
    for old, now in zip(running, (mean, unbiased)):
        blended = b.add(b.mul(b.cast(old, zero.dtype), 1.0 - momentum), b.mul(now, float(momentum)))
        results.append(b.cast(blended, old.dtype))
    return results


def _empty_statistics(b: Builder, out: Any) -> list[Value]:
    require(all(y.numel() == 0 for y in out[1:3]), "statistics of evaluation are kept")
    return [b.full(y.shape, 0, y.dtype) for y in out[1:3]]


def _batch_norm_by(b: Builder, x: Value, w: Value | None, bias: Value | None, mean: Value, variance: Value, eps: float) -> Value:
    return b.op("batch_norm", x, mean, variance, w, bias, training=False, eps=float(eps), shape=x.shape)


@rule(aten._native_batch_norm_legit_no_training.default)
def _batch_norm_no_training(b: Builder, out: Any, x: Value, w: Value | None, bias: Value | None, mean: Value, variance: Value, momentum: float,
                            eps: float) -> list[Value]:
    return [_batch_norm_by(b, x, w, bias, mean, variance, eps), *_empty_statistics(b, out)]


@rule(aten.native_batch_norm_backward.default)
def _batch_norm_backward(b: Builder, out: Any, dy: Value, x: Value, w: Value | None, running_mean: Value | None, running_var: Value | None,
                         save_mean: Value | None, save_rstd: Value | None, training: bool, eps: float,
                         mask: Sequence[bool]) -> list[Value | None]:
    dtype, count = x.dtype, _count(x, [0, *range(2, x.rank)])
    if training:
        mean, rstd = _channel(b, x, save_mean), _channel(b, x, save_rstd)
    else:
        mean = _channel(b, x, running_mean)
        rstd = b.op("rsqrt", b.add(_channel(b, x, running_var), float(eps)))
    dy, x = _computed(b, dy, x)
    centred = b.sub(x, mean)
    total, slope = _sum_channels(b, dy), _sum_channels(b, b.mul(dy, centred))
    results: list[Value | None] = [None, None, None]
    if mask[0]:
        d = dy
        if training:
            factor = b.mul(b.mul(b.mul(rstd, rstd), slope), 1 / count)
            d = b.sub(b.sub(dy, b.mul(total, 1 / count)), b.mul(centred, factor))
        scale = rstd if w is None else b.mul(rstd, _channel(b, x, w))
        results[0] = b.cast(b.mul(d, scale), dtype)
    if mask[1]:
        results[1] = b.cast(b.reshape(b.mul(slope, rstd), [x.shape[1]]), out[1].dtype)
    if mask[2]:
        results[2] = b.cast(b.reshape(total, [x.shape[1]]), out[2].dtype)
    return results


def _group_statistics(b: Builder, x: Value, groups: int, eps: float) -> tuple[Value, Value]:
    """Mean and rstd [batch, groups] by the nodes that group_norm decomposes to."""
    batch, channels = x.shape[:2]
    count = _count(x, range(1, x.rank)) / groups
    plane = int(count * groups) // channels
    x = b.reshape(b.cast(x, compute_dtype(x.dtype)), [batch, groups, channels // groups, plane])
    mean = b.mul(b.sum(x, [2, 3], True), 1 / count)
    centred = b.sub(x, mean)
    rstd = b.op("rsqrt", b.add(b.mul(b.sum(b.mul(centred, centred), [2, 3], True), 1 / count), float(eps)))
    return b.reshape(mean, [batch, groups]), b.reshape(rstd, [batch, groups])


@rule(aten.native_group_norm.default)
def _group_norm(b: Builder, out: Any, x: Value, w: Value | None, bias: Value | None, n: int, c: int, plane: int, groups: int, eps: float) -> list[Value]:
    y = b.op("group_norm", x, w, bias, num_groups=groups, eps=float(eps), shape=x.shape)
    return [y, *[b.cast(v, t.dtype) for v, t in zip(_group_statistics(b, x, groups, eps), out[1:])]]


@rule(aten.native_group_norm_backward.default)
def _group_norm_backward(b: Builder, out: Any, dy: Value, x: Value, mean: Value, rstd: Value, w: Value | None, n: int, c: int, plane: int, groups: int,
                         mask: Sequence[bool]) -> list[Value | None]:
    dtype, inner = x.dtype, c // groups
    count = float(inner * plane)
    def grouped(v: Value, shape: Sequence[int]) -> Value:
        return b.reshape(b.cast(v, compute_dtype(v.dtype)), shape)
    whole = [n, groups, inner, plane]
    g, x4 = grouped(dy, whole), grouped(x, whole)
    mean, rstd = grouped(mean, [n, groups, 1, 1]), grouped(rstd, [n, groups, 1, 1])
    weight = None if w is None else grouped(w, [groups, inner, 1])
    xhat = b.mul(b.sub(x4, mean), rstd)
    sums, slopes = b.sum(g, [3], True), b.sum(b.mul(g, xhat), [3], True)
    weighted = lambda v: v if weight is None else b.mul(v, weight)
    results: list[Value | None] = [None, None, None]
    if mask[0]:
        average = lambda v: b.mul(b.sum(weighted(v), [2], True), 1 / count)
        d = b.sub(b.sub(weighted(g), average(sums)), b.mul(xhat, average(slopes)))
        results[0] = b.cast(b.reshape(b.mul(d, rstd), x.shape), dtype)
    for i, v in ((1, slopes), (2, sums)):
        if mask[i]:
            results[i] = b.cast(b.reshape(b.sum(v, [0]), [c]), out[i].dtype)
    return results


# --- softmax, embeddings, losses ---

@rule(aten._softmax.default)
def _softmax(b: Builder, out: torch.Tensor, x: Value, dim: int, half_to_float: bool) -> Value:
    require(not half_to_float, "softmax that widens")
    return b.op("softmax", x, dim=dim)


@rule(aten._safe_softmax.default)
def _safe_softmax(b: Builder, out: torch.Tensor, x: Value, dim: int, dtype: torch.dtype | None = None) -> Value:
    """Softmax; 0 in rows that are masked everywhere."""
    require(dtype in (None, x.dtype), "softmax that widens")
    largest = b.amax(x, [dim], True)
    one = b.full([], -1.0, x.dtype)
    masked = b.compare("eq", largest, b.div(one, b.full([], 0.0, x.dtype)))
    return b.where(masked, b.full([], 0, x.dtype), b.op("softmax", x, dim=dim), x.dtype)


@rule(aten._log_softmax.default)
def _log_softmax(b: Builder, out: torch.Tensor, x: Value, dim: int, half_to_float: bool) -> Value:
    require(not half_to_float, "log_softmax that widens")
    return b.op("log_softmax", x, dim=dim)


@rule(aten._softmax_backward_data.default)
def _softmax_backward(b: Builder, out: torch.Tensor, dy: Value, y: Value, dim: int, dtype: torch.dtype) -> Value:
    dy, y = _computed(b, dy, y)
    product = b.mul(dy, y)
    return b.cast(b.sub(product, b.mul(y, b.sum(product, [dim], True))), out.dtype)


@rule(aten.embedding.default)
def _embedding(b: Builder, out: torch.Tensor, table: Value, indices: Value, *_: Any, **__: Any) -> Value:
    require(table.rank == 2, "a table that is no matrix")
    return b.op("embedding", indices, table, dtype=table.dtype, shape=out.shape)


@rule(aten.embedding_dense_backward.default)
def _embedding_backward(b: Builder, out: torch.Tensor, dy: Value, indices: Value, rows: int, padding: int, by_frequency: bool) -> Value:
    require(not by_frequency, "gradients scaled by frequency")
    if padding >= 0:
        real = b.negate(b.compare("eq", indices, b.full([], padding, indices.dtype)))
        dy = b.where(b.reshape(real, [*indices.shape, 1]), dy, b.full([], 0, dy.dtype), dy.dtype)
    return b.op("embedding_backward", dy, indices, b.full([rows, dy.shape[-1]], 0, dy.dtype), dtype=dy.dtype, shape=out.shape, wanted=[1])


@rule(aten.index_select.default)
def _index_select(b: Builder, out: torch.Tensor, x: Value, dim: int, index: Value) -> Value:
    return b.op("index_select", x, index, dtype=x.dtype, shape=out.shape, dim=dim)


@rule(aten.gather.default)
def _gather(b: Builder, out: torch.Tensor, x: Value, dim: int, index: Value, *, sparse_grad: bool = False) -> Value:
    require(x.shape[:dim] == index.shape[:dim] and x.rank == index.rank, "an index smaller than the tensor")
    return b.op("gather", x, index, dtype=x.dtype, shape=out.shape, dim=dim)


_REDUCTIONS = ("none", "mean", "sum")


def _counted(b: Builder, target: Value, ignored: int, dtype: torch.dtype) -> Value:
    """1 where a target counts, 0 where it is ignored."""
    return b.cast(b.negate(b.compare("eq", target, b.full([], ignored, target.dtype))), dtype)


@rule(aten.nll_loss_forward.default)
def _nll_loss(b: Builder, out: Any, x: Value, target: Value, weight: Value | None, reduction: int, ignored: int) -> list[Value]:
    weights = [] if weight is None else [weight]
    loss = b.op("nll_loss", x, target, *weights, dtype=x.dtype, shape=out[0].shape, reduction=_REDUCTIONS[reduction], ignore_index=ignored)
    dtype = compute_dtype(x.dtype)
    if _REDUCTIONS[reduction] == "none":
        return [loss, b.full(out[1].shape, 0, out[1].dtype)]
    counts = _counted(b, target, ignored, dtype)
    if weight is not None:
        classes = b.where(b.negate(b.compare("eq", target, b.full([], ignored, target.dtype))), target, b.full([], 0, target.dtype), target.dtype)
        samples = [target.shape[0] if target.rank else 1]
        chosen = b.op("index_select", weight, b.reshape(classes, samples), dtype=weight.dtype, shape=samples, dim=0)
        counts = b.mul(b.reshape(b.cast(chosen, dtype), counts.shape), counts)
    return [loss, b.cast(b.sum(counts, []), out[1].dtype)]


@rule(torch.ops.athanor.nll_loss_backward.default)
def _nll_loss_backward(b: Builder, out: torch.Tensor, dy: Value, sizes: Sequence[int], target: Value, weight: Value | None, reduction: int, ignored: int,
                       total: Value) -> Value:
    weights = [] if weight is None else [weight]
    return b.op("nll_loss_backward", dy, b.full(sizes, 0, dy.dtype), target, *weights, shape=sizes, reduction=_REDUCTIONS[reduction],
                ignore_index=ignored, wanted=[0])


@rule(aten.mse_loss.default)
def _mse_loss(b: Builder, out: torch.Tensor, x: Value, y: Value, reduction: int = 1) -> Value:
    return b.op("mse_loss", x, y, shape=out.shape, reduction=_REDUCTIONS[reduction])


@rule(aten.mse_loss_backward.default)
def _mse_loss_backward(b: Builder, out: torch.Tensor, dy: Value, x: Value, y: Value, reduction: int) -> Value:
    return b.op("mse_loss_backward", dy, x, y, shape=x.shape, reduction=_REDUCTIONS[reduction], wanted=[0])
