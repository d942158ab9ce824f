"""What rounding can do to PyTorch's own results.

At a kink (the mask of a ReLU, the winner of a maximum) a value within rounding of the tie falls on either side, and gradients jump. So a
result that is off is held against PyTorch in f64 with noise as large as rounding errors on every result of arithmetic, forward and
backward: an element may be further off only where such a run moved it as well, and not beyond twice its move. bench/judge.h does alike
with the interpreter.
"""
from typing import Callable

import torch

RUNS = 8               # a value at a tie falls on the other side in about half of them
LEAST_MOVE = 1 / 16    # of the allowed error: an element that noise moves less is judged without it
ROUNDINGS = 8          # how many units in the last place of the largest element a sum errs by
UNITS = {"f64": 2.0**-53, "f32": 2.0**-24, "f16": 2.0**-11, "bf16": 2.0**-8}
# What only selects or moves stays exact, so that what is equal stays equal.
EXACT = {"relu", "amax", "max_pool2d", "maximum", "minimum", "where", "clamp", "neg", "abs", "eq", "lt", "gt", "tril", "reshape", "permute", "transpose",
         "flatten", "expand", "contiguous", "select", "unsqueeze", "squeeze", "unbind", "split", "chunk", "narrow", "slice", "cat", "pad", "gather",
         "index_select", "embedding", "one_hot", "unfold", "kv_append"}


def noise(dtype: str, seed: int) -> Callable:
    """Adds to the results of a node, and to their gradients on the way back, what rounding in `dtype` may."""
    random = torch.Generator().manual_seed(seed)
    of_element = UNITS[dtype] if dtype in ("f16", "bf16") else 0.0
    of_largest = ROUNDINGS * min(UNITS[dtype], UNITS["f32"])       # sums are taken in f32 at least

    def disturbed(x: torch.Tensor) -> torch.Tensor:
        if x.numel() == 0:
            return x
        size = of_element * x.detach().abs() + of_largest * x.detach().abs().max()
        return x + size * (2 * torch.rand(x.shape, generator=random, dtype=x.dtype) - 1)

    def disturb(node: dict, result):
        if node["op"] in EXACT:
            return result
        results = list(result) if isinstance(result, (tuple, list)) else [result]
        for i, x in enumerate(results):
            if not x.is_floating_point():
                continue
            if x.requires_grad:
                x.register_hook(disturbed)
            results[i] = disturbed(x)
        return results

    return disturb


def difference(x: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    """Of each element; zero where both are the same infinity or not a number."""
    x, exact = x.double(), exact.double()
    return torch.where((x == exact) | (x.isnan() & exact.isnan()), 0.0, (x - exact).abs())


def moves(exact: torch.Tensor, noisy: list[torch.Tensor]) -> torch.Tensor:
    """How far the noise moved each element."""
    return torch.stack([difference(run, exact) for run in noisy]).amax(0)


def within(got: torch.Tensor, exact: torch.Tensor, moved: torch.Tensor, allowed: float) -> bool:
    """Whether each element is off by no more than `allowed`, and where noise moved it, twice its move. An element may have been lucky where all
    of a tensor moves, as a weight's gradient does, so the typical move counts as well."""
    typical = moved.square().mean().sqrt()
    excused = torch.where(moved > LEAST_MOVE * allowed, 2 * torch.maximum(moved, typical), 0.0)
    return bool((difference(got, exact) <= allowed + excused).all())
