"""Operators of ours that PyTorch does not have, registered as `torch.ops.athanor.*`, and the decompositions that lead to them."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import torch

aten = torch.ops.aten


@torch.library.custom_op("athanor::max_pool2d_backward", mutates_args=())
def max_pool2d_backward(dy: torch.Tensor, x: torch.Tensor, kernel_size: Sequence[int], stride: Sequence[int], padding: Sequence[int],
                        dilation: Sequence[int], ceil_mode: bool) -> torch.Tensor:
    """The gradient of max_pool2d without its indices: they are found again, so that the forward need not store them."""
    indices = aten.max_pool2d_with_indices(x, kernel_size, stride, padding, dilation, ceil_mode)[1]
    return aten.max_pool2d_with_indices_backward(dy, x, kernel_size, stride, padding, dilation, ceil_mode, indices)


@max_pool2d_backward.register_fake
def _(dy: torch.Tensor, x: torch.Tensor, *_: Any) -> torch.Tensor:
    return torch.empty_like(x)


def _max_pool2d_with_indices_backward(dy: torch.Tensor, x: torch.Tensor, kernel_size: Sequence[int], stride: Sequence[int],
                                      padding: Sequence[int], dilation: Sequence[int], ceil_mode: bool, indices: torch.Tensor) -> torch.Tensor:
    return torch.ops.athanor.max_pool2d_backward(dy, x, kernel_size, stride, padding, dilation, ceil_mode)


@torch.library.custom_op("athanor::nll_loss_backward", mutates_args=())
def nll_loss_backward(dy: torch.Tensor, sizes: Sequence[int], target: torch.Tensor, weight: torch.Tensor | None, reduction: int, ignore_index: int,
                      total_weight: torch.Tensor) -> torch.Tensor:
    """The gradient of nll_loss, of which it needs no more than the sizes of its input: that need not be kept."""
    x = torch.empty(list(sizes), dtype=dy.dtype, device=dy.device)
    return aten.nll_loss_backward(dy, x, target, weight, reduction, ignore_index, total_weight)


@nll_loss_backward.register_fake
def _(dy: torch.Tensor, sizes: Sequence[int], *_: Any) -> torch.Tensor:
    return torch.empty(list(sizes), dtype=dy.dtype, device=dy.device)


def _nll_loss_backward(dy: torch.Tensor, x: torch.Tensor, *rest: Any) -> torch.Tensor:
    return torch.ops.athanor.nll_loss_backward(dy, list(x.shape), *rest)


def _native_dropout(x: torch.Tensor, p: float, train: bool | None) -> tuple[torch.Tensor, torch.Tensor]:
    """PyTorch's generator draws the mask, apart from x, so that what is around it stays in one partition."""
    if train is False or p == 0:
        return x.clone(), torch.ones(x.shape, dtype=torch.bool, device=x.device)
    if p == 1:
        return torch.zeros_like(x), torch.zeros(x.shape, dtype=torch.bool, device=x.device)
    mask = aten.bernoulli.p(aten.empty.memory_format(x.shape, dtype=x.dtype, device=x.device), 1 - p) > 0
    return torch.where(mask, x * (1 / (1 - p)), torch.zeros((), dtype=x.dtype, device=x.device)), mask


def _log_softmax(x: torch.Tensor, dim: int, half_to_float: bool) -> torch.Tensor:
    """In parts, so that a backward can keep two numbers a row and compute the rest again."""
    if half_to_float or x.numel() == 0 or x.ndim == 0:
        return NotImplemented
    wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    shifted = wide - aten.amax(wide, [dim], True)
    return (shifted - aten.sum(shifted.exp(), [dim], True).log()).to(x.dtype)


def _log_softmax_backward_data(dy: torch.Tensor, y: torch.Tensor, dim: int, input_dtype: torch.dtype) -> torch.Tensor:
    """In parts, too: for an operation that is not elementwise the partitioner would store y."""
    wide = (dy.float(), y.float()) if y.dtype in (torch.bfloat16, torch.float16) else (dy, y)
    return (wide[0] - wide[1].exp() * aten.sum(wide[0], [dim], True)).to(input_dtype)


@torch.library.custom_op("athanor::from_the_start", mutates_args=())
def from_the_start(indices: torch.Tensor, extent: int) -> torch.Tensor:
    """Indices into `extent` elements, those that count from the end made to count from the start. PyTorch runs it, so that the gather or scatter behind it
    finds its indices among the inputs of a partition, where they are checked."""
    return torch.where(indices < 0, indices + extent, indices)


@from_the_start.register_fake
def _(indices: torch.Tensor, extent: int) -> torch.Tensor:
    return torch.empty(indices.shape, dtype=indices.dtype, device=indices.device)


def _rows_chosen(x: torch.Tensor, indices: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    """The numbers of the rows that x[indices] means, as a vector; None where it means something else."""
    if len(indices) != 1 or indices[0] is None or indices[0].dtype not in (torch.int64, torch.int32) or x.ndim == 0 or x.device.type != "cpu":
        return None
    return torch.ops.athanor.from_the_start(indices[0], x.shape[0]).reshape(-1)


def _index(x: torch.Tensor, indices: Sequence[torch.Tensor | None]) -> torch.Tensor:
    rows = _rows_chosen(x, indices)
    return NotImplemented if rows is None else aten.index_select(x, 0, rows).reshape(list(indices[0].shape) + list(x.shape[1:]))


def _index_put(x: torch.Tensor, indices: Sequence[torch.Tensor | None], values: torch.Tensor, accumulate: bool = False) -> torch.Tensor:
    """x with values added to the rows that `indices` name, which is the gradient of x[indices]."""
    if not accumulate or not x.is_floating_point() or x.numel() == 0 or indices[0] is None or indices[0].numel() == 0:
        return NotImplemented
    rows = _rows_chosen(x, indices)
    if rows is None:
        return NotImplemented
    added = values.expand(list(indices[0].shape) + list(x.shape[1:])).reshape(rows.shape[0], x.numel() // x.shape[0])
    return x + aten.embedding_dense_backward(added, rows, x.shape[0], -1, False).reshape(x.shape)


def _transpose(x: torch.Tensor, a: int, b: int) -> torch.Tensor:
    order = list(range(x.ndim))
    if order:
        order[a], order[b] = order[b], order[a]
    return x.permute(order)


def _split(x: torch.Tensor, sizes: Sequence[int], dim: int = 0) -> list[torch.Tensor]:
    return [aten.slice.Tensor(x, dim, end - size, end) for size, end in zip(sizes, accumulate(sizes))]


def _split_evenly(x: torch.Tensor, size: int, dim: int = 0) -> list[torch.Tensor]:
    extent = x.shape[dim]
    return _split(x, [min(size, extent - start) for start in range(0, extent, size)] if extent else [extent], dim)


DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    aten.max_pool2d_with_indices_backward.default: _max_pool2d_with_indices_backward,
    aten.native_dropout.default: _native_dropout,
    aten.nll_loss_backward.default: _nll_loss_backward,
    aten._log_softmax.default: _log_softmax,
    aten._log_softmax_backward_data.default: _log_softmax_backward_data,
    aten.index.Tensor: _index,
    aten.index_put.default: _index_put,
    # Views in the words of AOTAutograd's partitioner, which stores for the backward what it does not know for a view.
    aten.detach.default: aten.alias.default,
    aten.transpose.int: _transpose,
    aten.unbind.int: lambda x, dim=0: [x.select(dim, i) for i in range(x.shape[dim])],
    aten.split.Tensor: _split_evenly,
    aten.split_with_sizes.default: _split,
    aten._unsafe_view.default: lambda x, sizes: x.view(sizes),
}
