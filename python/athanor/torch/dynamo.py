"""From dynamo's graph through AOTAutograd to compiled graphs."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from functorch.compile import aot_module_simplified
from torch._dynamo import disable
from torch._functorch import config
from torch._functorch._aot_autograd.schemas import SerializableAOTDispatchCompiler

from .compiled_graph import CompiledGraph, producer
from .compiler import compile_graph
from .dynamic import SizeSpecialized
from .operators import DECOMPOSITIONS
from .saved import split_joint_graph


def _is_symbolic(x: Any) -> bool:
    if isinstance(x, (torch.SymInt, torch.SymFloat, torch.SymBool)):
        return True
    return isinstance(x, torch.Tensor) and any(isinstance(n, torch.SymInt) for n in (*x.shape, *x.stride()))


def _forward(module: torch.fx.GraphModule, inputs: Sequence[Any]) -> CompiledGraph:
    return compile_graph(module, "forward", inputs_guarded=True)


def _inference(module: torch.fx.GraphModule, inputs: Sequence[Any]) -> CompiledGraph:
    return compile_graph(module, "inference", inputs_guarded=True)


def _backward(module: torch.fx.GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
    # What autograd hands over may lie otherwise than it did when traced.
    return disable(compile_graph(module, "backward", inputs_guarded=False))


def _compile_static(module: torch.fx.GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
    keep = torch._dynamo.config.caching_precompile
    # Not torch._dynamo.backends.common.aot_autograd, which does the same and loads Inductor for its logs.
    with _kept_whole() if keep else nullcontext():
        return disable(aot_module_simplified(module, inputs, bw_compiler=disable(_backward), inference_compiler=_inference, decompositions=DECOMPOSITIONS,
                                             fw_compiler=SerializableAOTDispatchCompiler(CompiledGraph, _forward) if keep else _forward,
                                             partition_fn=split_joint_graph))


@contextmanager
def _kept_whole() -> Iterator[None]:
    """Has AOTAutograd keep what is compiled for later processes. The backward is translated at once, so that it is kept, too."""
    tag = torch.compiler.config.cache_key_tag
    with (torch.compiler.config.patch(cache_key_tag=tag + producer()),
          config.patch(bundled_autograd_cache=True, force_non_lazy_backward_lowering=True)):
        yield


def compile_dynamo_graph(module: torch.fx.GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
    """A callable equal to dynamo's graph. One with symbolic sizes is compiled for the sizes it meets."""
    if any(isinstance(x, (list, tuple, dict)) for x in inputs):
        raise NotImplementedError("graphs of compiled autograd, whose inputs are lists, are not compiled; torch.compile the model, and its backward is")
    if any(_is_symbolic(x) for x in inputs):
        return SizeSpecialized(module, _compile_static)
    return _compile_static(module, inputs)
