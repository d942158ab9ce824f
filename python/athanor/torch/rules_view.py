"""Rules of views, concatenations and reductions."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .builder import Builder, Value, compute_dtype, numbers, require
from .rules import rule

aten = torch.ops.aten


@rule(aten.view.default, aten.reshape.default, aten.expand.default, aten.unsqueeze.default, aten.squeeze.default,
      aten.squeeze.dim, aten.squeeze.dims, aten.view_copy.default, aten._reshape_copy.default, view=True)
def _shaped(b: Builder, out: torch.Tensor, x: Value, *_: Any, **__: Any) -> Value:
    """Whatever keeps the order of the elements, or repeats them."""
    return b.reshape(x, out.shape) if out.numel() == _count(x.shape) else b.expand(x, out.shape)


def _count(shape: Sequence[int]) -> int:
    count = 1
    for extent in shape:
        count *= extent
    return count


@rule(aten.permute.default, view=True)
def _permute(b: Builder, out: torch.Tensor, x: Value, dims: Sequence[int]) -> Value:
    return b.permute(x, [d % x.rank for d in dims])


@rule(aten.t.default, view=True)
def _t(b: Builder, out: torch.Tensor, x: Value) -> Value:
    return b.permute(x, list(range(x.rank))[::-1])


@rule(aten.select.int, view=True)
def _select(b: Builder, out: torch.Tensor, x: Value, dim: int, index: int) -> Value:
    return b.op("select", x, shape=out.shape, dim=dim % x.rank, index=index)


@rule(aten.slice.Tensor, view=True)
def _slice(b: Builder, out: torch.Tensor, x: Value, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Value:
    dim %= x.rank
    start, end = _bounds(x.shape[dim], start, end)
    return b.op("slice", x, shape=out.shape, dim=dim, start=start, end=end, step=step)


def _bounds(extent: int, start: int | None, end: int | None) -> tuple[int, int]:
    numbers([v for v in (start, end) if v is not None])
    start, end, _ = slice(start, end).indices(extent)
    return start, max(start, end)


@rule(aten.slice_backward.default)
def _slice_backward(b: Builder, out: torch.Tensor, dy: Value, sizes: Sequence[int], dim: int, start: int, end: int, step: int) -> Value:
    dim %= len(sizes)
    start, end = _bounds(out.shape[dim], start, end)
    return b.op("slice_backward", dy, b.full(out.shape, 0, dy.dtype), shape=out.shape, dim=dim, start=start, end=end, step=step, wanted=[0])


@rule(aten.select_backward.default)
def _select_backward(b: Builder, out: torch.Tensor, dy: Value, sizes: Sequence[int], dim: int, index: int) -> Value:
    return b.op("select_backward", dy, b.full(out.shape, 0, dy.dtype), shape=out.shape, dim=dim % len(sizes), index=index, wanted=[0])


@rule(aten.cat.default)
def _cat(b: Builder, out: torch.Tensor, tensors: Sequence[Value], dim: int = 0) -> Value:
    # An empty tensor of rank 1 is ignored, whatever the rank of the others.
    tensors = [b.cast(t, out.dtype) for t in tensors if t.shape != (0,) or out.ndim == 1]
    require(bool(tensors), "a concatenation of nothing")
    return b.op("cat", *tensors, shape=out.shape, dim=dim % out.ndim)


@rule(aten.stack.default)
def _stack(b: Builder, out: torch.Tensor, tensors: Sequence[Value], dim: int = 0) -> Value:
    dim %= out.ndim
    one = [1 if d == dim else n for d, n in enumerate(out.shape)]
    return b.op("cat", *[b.reshape(b.cast(t, out.dtype), one) for t in tensors], shape=out.shape, dim=dim)


@rule(aten.roll.default)
def _roll(b: Builder, out: torch.Tensor, x: Value, shifts: Sequence[int], dims: Sequence[int] = ()) -> Value:
    shifts, dims, rolled = numbers(shifts), numbers(dims), x
    if not dims:
        rolled, dims = b.reshape(x, [_count(x.shape)]), [0]
    for shift, dim in zip(shifts, dims):
        dim %= rolled.rank
        extent = rolled.shape[dim]
        cut = extent - shift % extent if extent else 0
        if 0 < cut < extent:
            parts = [b.op("slice", rolled, shape=[end - start if d == dim else n for d, n in enumerate(rolled.shape)], dim=dim, start=start, end=end)
                     for start, end in ((cut, extent), (0, cut))]
            rolled = b.op("cat", *parts, shape=rolled.shape, dim=dim)
    return b.op("contiguous", b.reshape(rolled, x.shape))


@rule(aten.repeat.default)
def _repeat(b: Builder, out: torch.Tensor, x: Value, repeats: Sequence[int]) -> Value:
    repeats = numbers(repeats)
    inner = (1,) * (len(repeats) - x.rank) + x.shape
    split = [n for extent in inner for n in (1, extent)]
    wide = [n for times, extent in zip(repeats, inner) for n in (times, extent)]
    return b.reshape(b.expand(b.reshape(x, split), wide), out.shape)


@rule(aten.constant_pad_nd.default)
def _pad(b: Builder, out: torch.Tensor, x: Value, pad: Sequence[int], value: float = 0.0) -> Value:
    return b.op("pad", x, shape=out.shape, pad=numbers(pad), value=float(value))


@rule(aten.tril.default)
def _tril(b: Builder, out: torch.Tensor, x: Value, diagonal: int = 0) -> Value:
    return b.op("tril", x, diagonal=diagonal)


# --- reductions ---

def _dims(x: Value, dim: int | Sequence[int] | None) -> list[int]:
    dims = numbers([] if dim is None else dim)
    return sorted({d % x.rank for d in dims}) if dims and x.rank else list(range(x.rank))


@rule(aten.sum.dim_IntList, aten.sum.default)
def _sum(b: Builder, out: torch.Tensor, x: Value, dim: Any = None, keepdim: bool = False, dtype: torch.dtype | None = None) -> Value:
    return b.cast(b.sum(b.cast(x, out.dtype), _dims(x, dim), keepdim), out.dtype)


@rule(aten.mean.dim, aten.mean.default)
def _mean(b: Builder, out: torch.Tensor, x: Value, dim: Any = None, keepdim: bool = False, dtype: torch.dtype | None = None) -> Value:
    return b.mean(b.cast(x, out.dtype), _dims(x, dim), keepdim)


@rule(aten.amax.default)
def _amax(b: Builder, out: torch.Tensor, x: Value, dim: Any = (), keepdim: bool = False) -> Value:
    return b.amax(x, _dims(x, dim), keepdim)


@rule(aten.amin.default)
def _amin(b: Builder, out: torch.Tensor, x: Value, dim: Any = (), keepdim: bool = False) -> Value:
    require(x.is_float, "the minimum of integers")
    return b.op("neg", b.amax(b.op("neg", x), _dims(x, dim), keepdim))


def _moments(b: Builder, x: Value, dim: Any, correction: float | None, keepdim: bool) -> tuple[Value, Value]:
    """The variance and the mean, of the dtype sums are computed in."""
    dims = _dims(x, dim)
    x = b.cast(x, compute_dtype(x.dtype))
    count = _count([x.shape[d] for d in dims])
    divisor = count - (1 if correction is None else correction)
    require(divisor > 0, "a variance without degrees of freedom")
    mean = b.mean(x, dims, True)
    centred = b.sub(x, mean)
    variance = b.mul(b.sum(b.mul(centred, centred), dims, keepdim), 1 / divisor)
    return variance, mean if keepdim else b.reshape(mean, variance.shape)


@rule(aten.var.correction)
def _var(b: Builder, out: torch.Tensor, x: Value, dim: Any = None, *, correction: float | None = None, keepdim: bool = False) -> Value:
    return b.cast(_moments(b, x, dim, correction, keepdim)[0], out.dtype)


@rule(aten.var_mean.correction)
def _var_mean(b: Builder, out: Any, x: Value, dim: Any = None, *, correction: float | None = None, keepdim: bool = False) -> list[Value]:
    return [b.cast(v, out[0].dtype) for v in _moments(b, x, dim, correction, keepdim)]
