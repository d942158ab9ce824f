"""From ATen graphs to fragments."""
from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from .._library import Error
from ..fragment import Fragment
from . import rules_heavy, rules_pointwise, rules_view  # noqa: F401  (they fill the table)
from .builder import DTYPES, Builder, Unsupported, Value, require
from .launch import Output
from .rules import rule_of


def described(node: fx.Node) -> Any:
    """The fake tensor, or tuple of them, that a node yields."""
    return node.meta.get("val")


def _check_tensor(tensor: Any, role: str) -> None:
    require(isinstance(tensor, torch.Tensor), f"{role} is no tensor")
    require(tensor.device.type == "cpu", f"{role} is on {tensor.device}")
    require(tensor.layout == torch.strided and not tensor.is_complex() and not tensor.is_quantized, f"{role} is not a dense tensor")
    require(tensor.dtype in DTYPES, f"{role} has dtype {tensor.dtype}")
    require(all(isinstance(n, int) for n in tensor.shape), f"{role} has a symbolic shape")


def _operands(node: fx.Node, values: dict[fx.Node, Any]) -> tuple[Any, Any]:
    """The node's arguments with values in the place of nodes."""
    return fx.map_arg((node.args, node.kwargs), lambda n: values[n])


def _apply(builder: Builder, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
    args, kwargs = _operands(node, values)
    try:
        return rule_of(node.target)(builder, described(node), *args, **kwargs)
    except TypeError as error:  # an argument that the rule does not know
        raise Unsupported(f"its arguments: {error}") from None


class NodeChecker:
    """Says of each node why it can't be translated; None where it can. Tries it: the node alone becomes a fragment, which the library
    reads, and results have to have the dtypes and shapes that PyTorch says."""

    def __init__(self) -> None:
        self._known: dict[Any, str | None] = {}

    def reason(self, node: fx.Node) -> str | None:
        if node.op != "call_function":
            return "not a call of a function"
        if node.target is operator.getitem:
            return self.reason(node.args[0])
        if rule_of(node.target) is None:
            return "no rule for this operation"
        key = (node.target, repr(fx.map_arg((node.args, node.kwargs), lambda n: _key(described(n)))))
        if key not in self._known:
            self._known[key] = self._try(node)
        return self._known[key]

    def _try(self, node: fx.Node) -> str | None:
        try:
            for tensor in _tensors(described(node)):
                _check_tensor(tensor, "its result")
            builder = Builder(node.name)
            values = {}
            for i, operand in enumerate(node.all_input_nodes):
                _check_tensor(described(operand), f"operand {i}")
                values[operand] = builder.input(f"i{i}", described(operand))
            results = [v for v in _listed(_apply(builder, node, values))]
            kept = [(v, t) for v, t in zip(results, _listed(described(node))) if v is not None]
            builder.fragment["outputs"] = list(dict.fromkeys(v.name for v, _ in kept))
            specs = {spec.name: spec for spec in Fragment(builder.fragment, node.name).outputs}
            for value, tensor in kept:
                spec = specs[value.name]
                require((spec.dtype, spec.shape) == (DTYPES[tensor.dtype], tuple(tensor.shape)),
                        f"it would yield {spec.dtype}{list(spec.shape)}, expected {DTYPES[tensor.dtype]}{list(tensor.shape)}")
            return None
        except Unsupported as why:
            return str(why)
        except Error as error:
            return str(error)


def _listed(x: Any) -> list[Any]:
    return list(x) if isinstance(x, (list, tuple)) else [x]


def _tensors(x: Any) -> list[Any]:
    return [t for t in _listed(x) if t is not None]


def _key(x: Any) -> Any:
    if isinstance(x, torch.Tensor):
        return (x.dtype, tuple(x.shape), x.stride() if x.layout == torch.strided else None, x.device.type)
    return repr(x)


@dataclass
class Translation:
    fragment: dict[str, Any]
    outputs: list[Output]


def memory_order(tensor: torch.Tensor) -> list[int] | None:
    """The dimensions from the slowest to the fastest where the tensor is dense in that order; None where it is not."""
    order = sorted(range(tensor.ndim), key=lambda d: (-tensor.stride(d), d))
    expected = 1
    for d in reversed(order):
        if tensor.shape[d] != 1 and tensor.stride(d) != expected:
            return None
        expected *= tensor.shape[d]
    return order


def expected_input(tensor: torch.Tensor, sure: bool) -> torch.Tensor:
    """A tensor like the fake `tensor`, as the fragment shall read it. Where its strides are not `sure` to be the real one's, it may have to be copied to
    them: elements must not share their places, then."""
    overlaps = any(n > 1 and s == 0 for n, s in zip(tensor.shape, tensor.stride()))
    return tensor if sure or not overlaps else torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")


def translate(name: str, inputs: dict[fx.Node, torch.Tensor], nodes: Sequence[fx.Node], outputs: Sequence[fx.Node]) -> Translation:
    """The fragment of supported `nodes` in topological order, which read one another and `inputs` (placeholders, and what lies in memory as each of
    them does), with the tensors of `outputs`."""
    builder = Builder(name)
    values: dict[fx.Node, Any] = {p: builder.input(f"x{i}", tensor) for i, (p, tensor) in enumerate(inputs.items())}
    for node in nodes:
        if node.target is operator.getitem:
            values[node] = values[node.args[0]][node.args[1]]
        else:
            values[node] = _apply(builder, node, values)
    results, taken = [], set()
    for i, node in enumerate(outputs):
        tensor, value = described(node), values[node]
        require(isinstance(value, Value), f"{node.name} is wanted, but not computed")
        order = memory_order(tensor)
        if order is not None:
            value = builder.permute(value, order)
        # Outputs have names, and memory, of their own.
        if value.name in taken or value.name.startswith("x"):
            value = builder.op("contiguous", value)
        taken.add(value.name)
        builder.fragment["outputs"].append(value.name)
        stride = tensor.stride() if order is not None else torch.empty(tensor.shape, device="meta").stride()
        results.append(Output(tuple(tensor.shape), tuple(stride), tensor.dtype))
    return Translation(builder.fragment, results)
