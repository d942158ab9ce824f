"""Graphs with symbolic sizes. When a size has changed once, dynamo traces the function anew for any size. Athanor's kernels are made for the sizes
they meet: such a graph is compiled once for each combination of sizes, and what was used longest ago is forgotten."""
from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._guards import compile_context, tracing

_MOST = 16


class SizeSpecialized:
    """A callable equal to `module` that calls what `compile_static` makes of it for the sizes of the inputs at hand."""

    def __init__(self, module: torch.fx.GraphModule, compile_static: Callable[[torch.fx.GraphModule, Sequence[Any]], Callable[..., Any]]):
        self._module = module
        self._compile_static = compile_static
        self._compiled: OrderedDict[Any, Callable[..., Any]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, *inputs: Any) -> Any:
        key = (torch.is_grad_enabled(), *[_sizes(x) for x in inputs])
        with self._lock:
            compiled = self._compiled.get(key)
            if compiled is None:
                compiled = self._compiled[key] = self._compile(inputs)
                if len(self._compiled) > _MOST:
                    self._compiled.popitem(last=False)
            self._compiled.move_to_end(key)
        return compiled(*inputs)

    def _compile(self, inputs: Sequence[Any]) -> Callable[..., Any]:
        module = _without_symbols(self._module)
        with tracing(None), compile_context(None):
            return self._compile_static(module, list(inputs))


def _sizes(x: Any) -> Any:
    return (x.shape, x.stride(), x.dtype, x.requires_grad) if isinstance(x, torch.Tensor) else x


def _without_symbols(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """A copy that remembers nothing of the fake tensors it was traced with."""
    graph = torch.fx.Graph()
    graph.output(graph.graph_copy(module.graph, {}))
    for node in graph.nodes:
        node.meta = {}
    return torch.fx.GraphModule(module, graph)
