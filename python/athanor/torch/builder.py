"""Building a fragment while walking an ATen graph."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

DTYPES = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16", torch.float64: "f64", torch.int32: "i32", torch.int64: "i64",
          torch.uint8: "u8", torch.bool: "bool"}


class Unsupported(Exception):
    """Why a node can't be translated. Not an error: it runs in PyTorch then."""


def require(condition: bool, why: str) -> None:
    if not condition:
        raise Unsupported(why)


@dataclass(frozen=True)
class Value:
    """A tensor in the fragment being built."""
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_float(self) -> bool:
        return self.dtype.is_floating_point


Operand = Value | float | int | None


def numbers(values: Any) -> list[int]:
    """A list of sizes or dimensions; refuses symbolic ones."""
    values = list(values) if isinstance(values, Sequence) else [values]
    require(all(type(v) is int for v in values), "sizes are not known")
    return values


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype that statistics and sums of `dtype` are computed in."""
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype


class Builder:
    """Collects the inputs and nodes of a fragment. Results of `op` have the dtype and shape of the caller's promise; the library, which reads
    the fragment, infers its own, and `translate.py` compares what matters."""

    def __init__(self, name: str):
        self.fragment: dict[str, Any] = {"format": "athanor.fragment/1", "name": name, "inputs": [], "nodes": [], "outputs": []}
        self._next = 0

    def fresh(self) -> str:
        self._next += 1
        return f"v{self._next}"

    def input(self, name: str, tensor: torch.Tensor) -> Value:
        """An input like `tensor` (which may be fake): its dtype, shape and strides."""
        require(tensor.dtype in DTYPES, f"dtype {tensor.dtype} is not supported")
        shape = tuple(numbers(tensor.shape))
        entry: dict[str, Any] = {"name": name, "dtype": DTYPES[tensor.dtype], "shape": list(shape)}
        if not tensor.is_contiguous():
            entry["strides"] = numbers(tensor.stride())
        self.fragment["inputs"].append(entry)
        return Value(name, tensor.dtype, shape)

    def ops(self, op: str, inputs: Sequence[Operand], results: Sequence[tuple[torch.dtype, Sequence[int]]], **attrs: Any) -> list[Value]:
        """Appends a node with several outputs of the given dtypes and shapes."""
        values = [Value(self.fresh(), dtype, tuple(shape)) for dtype, shape in results]
        node: dict[str, Any] = {"op": op, "inputs": [x.name if isinstance(x, Value) else x for x in inputs], "outputs": [v.name for v in values]}
        if attrs:
            node["attrs"] = attrs
        self.fragment["nodes"].append(node)
        return values

    def op(self, op: str, *inputs: Operand, dtype: torch.dtype | None = None, shape: Sequence[int] | None = None,
           attrs: dict[str, Any] | None = None, **more: Any) -> Value:
        """Appends a node with one output and the attributes `attrs` and `more`. Without `dtype` and `shape` these are of the broadcast tensor
        operands."""
        tensors = [x for x in inputs if isinstance(x, Value)]
        if shape is None:
            shape = torch.broadcast_shapes(*[t.shape for t in tensors])
        return self.ops(op, inputs, [(dtype or tensors[0].dtype, shape)], **(attrs or {}), **more)[0]

    # Shorthands.
    def cast(self, x: Value, dtype: torch.dtype) -> Value:
        require(dtype in DTYPES, f"dtype {dtype} is not supported")
        return x if x.dtype == dtype else self.op("cast", x, dtype=dtype, shape=x.shape, attrs={"dtype": DTYPES[dtype]})

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        return x if tuple(shape) == x.shape else self.op("reshape", x, shape=shape, attrs={"shape": list(shape)})

    def permute(self, x: Value, dims: Sequence[int]) -> Value:
        if list(dims) == list(range(x.rank)):
            return x
        return self.op("permute", x, shape=[x.shape[d] for d in dims], dims=list(dims))

    def expand(self, x: Value, shape: Sequence[int]) -> Value:
        return x if tuple(shape) == x.shape else self.op("expand", x, shape=shape, size=list(shape))

    def full(self, shape: Sequence[int], value: float, dtype: torch.dtype) -> Value:
        """A constant tensor, which is never stored."""
        scalar = Value(self.fresh(), dtype, ())
        number = float(value) if dtype.is_floating_point else int(value)
        self.fragment["nodes"].append({"op": "cast", "inputs": [number], "outputs": [scalar.name], "attrs": {"dtype": DTYPES[dtype]}})
        return self.expand(scalar, shape)

    def sum(self, x: Value, dims: Sequence[int], keepdim: bool = False) -> Value:
        return self._reduce("sum", x, dims, keepdim)

    def mean(self, x: Value, dims: Sequence[int], keepdim: bool = False) -> Value:
        return self._reduce("mean", x, dims, keepdim)

    def amax(self, x: Value, dims: Sequence[int], keepdim: bool = False) -> Value:
        return self._reduce("amax", x, dims, keepdim)

    def _reduce(self, op: str, x: Value, dims: Sequence[int], keepdim: bool) -> Value:
        dims = [d % x.rank for d in dims] if x.rank else []
        if not dims:
            dims = list(range(x.rank))
        shape = [1 if d in dims else n for d, n in enumerate(x.shape) if keepdim or d not in dims]
        return self.op(op, x, shape=shape, dim=dims, keepdim=keepdim)

    def add(self, a: Operand, b: Operand) -> Value:
        return self.op("add", a, b)

    def sub(self, a: Operand, b: Operand) -> Value:
        return self.op("sub", a, b)

    def mul(self, a: Operand, b: Operand) -> Value:
        return self.op("mul", a, b)

    def div(self, a: Operand, b: Operand) -> Value:
        return self.op("div", a, b)

    def where(self, condition: Value, a: Operand, b: Operand, dtype: torch.dtype) -> Value:
        return self.op("where", condition, a, b, dtype=dtype)

    def compare(self, op: str, a: Operand, b: Operand) -> Value:
        return self.op(op, a, b, dtype=torch.bool)

    def negate(self, condition: Value) -> Value:
        """Logical not."""
        return self.compare("eq", condition, self.full([], 0, torch.bool))
