"""Athanor, an operator library that writes its own kernels.

    executable = athanor.compile("linear_gelu.json")         # a fragment, run on tensors of any framework
    model = torch.compile(model, backend="athanor")          # PyTorch, training included
    print(athanor.explain(model, *inputs))                   # what of a model runs where, and why
"""
from __future__ import annotations

from typing import Any

from ._library import Error, InternalError, version
from .executable import Executable, compile, load
from .fragment import Fragment, TensorSpec

__all__ = ["Error", "Executable", "Fragment", "InternalError", "TensorSpec", "compile", "explain", "load", "version"]
__version__ = version()


def explain(model: Any, *inputs: Any, **named: Any) -> Any:
    """What `torch.compile(model, backend="athanor")` would run where, and why: see `athanor.torch.explain`. Needs PyTorch."""
    from .torch import explain as explain_torch
    return explain_torch(model, *inputs, **named)
