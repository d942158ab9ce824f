"""Calling compiled partitions from PyTorch, at little cost."""
from __future__ import annotations

import ctypes
import logging
import math
import os
import struct
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .._library import check, library
from ..executable import Executable
from .memory import LARGE, results as memory

log = logging.getLogger("athanor.torch")
_data_ptr = torch.Tensor.data_ptr
_run = library.athanor_run_pointers

try:
    from torch._C._dynamo.guards import _empty_strided_cpu as _empty  # what Inductor's code calls: half the time of torch.empty_strided
except ImportError:
    def _empty(size: Sequence[int], stride: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        return torch.empty_strided(size, stride, dtype=dtype)


def _use_openmp() -> None:
    """Has the library run on the threads that PyTorch's own operations run on: those of OpenMP go on spinning for milliseconds behind each of them."""
    for name in ("libgomp.so.1", "libiomp5.so", "libomp.so"):
        try:
            openmp = ctypes.CDLL(name, mode=os.RTLD_NOLOAD | os.RTLD_NOW)  # where it is loaded
            addresses = [ctypes.cast(getattr(openmp, function), ctypes.c_void_p) for function in ("GOMP_parallel", "omp_get_thread_num")]
        except (OSError, AttributeError):
            continue
        return check(library.athanor_use_threads(*addresses))
    log.info("OpenMP is not found in this process: partitions run on threads of the library, besides PyTorch's")


if torch.backends.openmp.is_available():
    _use_openmp()


@dataclass
class Output:
    """An output of a partition: its place in memory has the strides that PyTorch expects, where these are dense."""
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


def make_launch(executable: Executable, outputs: Sequence[Output], unsure: Sequence[tuple[int, tuple[int, ...]]]) -> Callable[..., tuple[torch.Tensor, ...]]:
    """A function of the partition's input tensors that returns its outputs. Inputs lie as the fragment says, as dynamo's guards ensure;
    `unsure` lists those of which nothing is guarded, with the strides the fragment says: these are looked at, and copied where they differ."""
    handle = executable.handle
    pack_inputs = struct.Struct(f"{len(executable.fragment.inputs)}P").pack
    pack_outputs = struct.Struct(f"{len(outputs)}P").pack
    made = [(output.size, output.stride, output.dtype) for output in outputs]
    places = [object() if output.dtype.itemsize * math.prod(output.size) >= LARGE else None for output in outputs]
    for place in filter(None, places):
        weakref.finalize(executable, memory.forget, place)

    def launch(*inputs: torch.Tensor, _keep: Executable = executable) -> tuple[torch.Tensor, ...]:
        for i, stride in unsure:
            if inputs[i].stride() != stride:
                inputs = _arranged(inputs, i, stride)
        results = tuple([_empty(*how) if place is None else memory.take(place, *how) for place, how in zip(places, made)])
        status = _run(handle, pack_inputs(*map(_data_ptr, inputs)), pack_outputs(*map(_data_ptr, results)))
        if status:
            check(status)
        return results

    return launch


def _arranged(inputs: tuple[torch.Tensor, ...], i: int, stride: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
    copy = torch.empty_strided(inputs[i].shape, stride, dtype=inputs[i].dtype)
    return (*inputs[:i], copy.copy_(inputs[i]), *inputs[i + 1:])
