"""The backend for PyTorch: `torch.compile(model, backend="athanor")`, forward and training, on the CPU.

AOTAutograd traces the forward and the backward as graphs of ATen operations. What the table of translations (`rules_*.py`) knows, convolutions, products,
attention, normalisations, losses with their fused gradients, pointwise operations and views, becomes fragments of Athanor, as few as dependencies
allow; everything else runs in PyTorch as before. `athanor.explain(model, *inputs)` tells which, and why; so does the logger "athanor.torch" (INFO).

Threads are PyTorch's, `torch.set_num_threads`, as they were when a graph was compiled. Random numbers are drawn by PyTorch's own generator, in eager's order.
"""
from __future__ import annotations

from typing import Any

import torch

from .report import Explanation, GraphReport


def backend(module: torch.fx.GraphModule, example_inputs: Any, **options: Any) -> Any:
    """What dynamo calls: a GraphModule of its operations and example inputs, to a callable of the same meaning."""
    from .dynamo import compile_dynamo_graph
    if options:
        raise TypeError(f"the athanor backend has no options, {sorted(options)} given; settings are environment variables ATHANOR_*")
    return compile_dynamo_graph(module, example_inputs)


def explain(model: Any, *inputs: Any, **named: Any) -> Explanation:
    """Compiles `model` for `inputs` as `torch.compile(model, backend="athanor")` would, runs it once, and its backward where outputs require gradients,
    and returns what runs where, and why. Gradients and buffers of the model are left as they were; print the result."""
    from .explaining import explain as run
    return run(model, *inputs, **named)


__all__ = ["Explanation", "GraphReport", "backend", "explain"]
