"""`athanor.explain`."""
from __future__ import annotations

import copy
from typing import Any

import torch
from torch.utils import _pytree as pytree

from . import backend
from .compiled_graph import listeners
from .report import Explanation, GraphReport


def explain(model: Any, *inputs: Any, **named: Any) -> Explanation:
    graphs: list[GraphReport] = []
    # A copy, so that buffers and gradients stay what they are; the model that is compiled is another, and forgets nothing.
    subject = copy.deepcopy(model) if isinstance(model, torch.nn.Module) else model
    # A backend that dynamo has not seen: it would take the code that it compiled for the model itself, and nothing would be reported.
    fresh = lambda module, example_inputs: backend(module, example_inputs)
    listeners.append(graphs.append)
    try:
        results = torch.compile(subject, backend=fresh)(*inputs, **named)
        wanted = [r for r in pytree.tree_leaves(results) if isinstance(r, torch.Tensor) and r.requires_grad]
        if wanted:
            leaves = [t for t in pytree.tree_leaves((inputs, named)) if isinstance(t, torch.Tensor) and t.requires_grad]
            leaves += list(subject.parameters()) if isinstance(subject, torch.nn.Module) else []
            leaves = [t for t in leaves if t.requires_grad]
            torch.autograd.grad(wanted, leaves, [torch.ones_like(r) for r in wanted], allow_unused=True) if leaves else None
    finally:
        listeners.remove(graphs.append)
    return Explanation(graphs)
