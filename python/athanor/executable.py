"""Fragments compiled for this machine."""
from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from ._dlpack import Borrowed
from ._library import CompileOptions, DLTensor, Error, InPlace, check, library
from .fragment import Fragment, TensorSpec

_NUMPY_DTYPES = {"f32": "float32", "f16": "float16", "f64": "float64", "i32": "int32", "i64": "int64", "u8": "uint8", "bool": "bool"}
_TORCH_DTYPES = _NUMPY_DTYPES | {"bf16": "bfloat16"}


class Executable:
    """A compiled fragment. Call it with the inputs in the fragment's order, or by name; see `athanor.compile`.

    Runs may be started from any thread; runs of one executable take turns. The interpreter's lock is released while it computes.
    """

    def __init__(self, fragment: Fragment, settings: Mapping[str, Any] | None = None, in_place: Mapping[str, str] | None = None):
        self.fragment = fragment
        texts = [f"ATHANOR_{name.upper()}={value}".encode() for name, value in (settings or {}).items()]
        pairs = [(output.encode(), given.encode()) for output, given in (in_place or {}).items()]
        options = CompileOptions(ctypes.sizeof(CompileOptions), (ctypes.c_char_p * (len(texts) + 1))(*texts, None),
                                 (InPlace * len(pairs))(*pairs), len(pairs))
        handle = ctypes.c_void_p()
        check(library.athanor_compile(fragment._handle, ctypes.byref(options), ctypes.byref(handle)))
        self._handle = handle
        self.in_place = dict(in_place or {})

    @property
    def handle(self) -> int:
        """The address of the library's `athanor_executable`, for callers of `athanor_run_pointers`."""
        return self._handle.value or 0

    @cached_property
    def report(self) -> dict[str, Any]:
        """What was compiled: {"threads", "arena_bytes", "fuse_ms", "load_ms", "kernels": [{"nodes", "skeleton", "schedule", "flops", "bytes",
        "cached", "miss", "compile_ms"}]}."""
        text = ctypes.c_char_p()
        check(library.athanor_executable_report(self._handle, ctypes.byref(text)))
        return json.loads(text.value or b"{}")

    def __call__(self, *inputs: Any, out: Sequence[Any] | None = None, **named: Any) -> Any:
        """Runs on `inputs`, tensors of the fragment's dtypes and shapes with any strides in host memory.

        Returns the output, or a tuple of them where there are several: tensors of the first input's kind (PyTorch or NumPy), or `out`, which
        is written to, where it is given. Raises `athanor.Error` naming the tensor that does not fit, or the index out of range.
        """
        specs = self.fragment.inputs
        inputs = self._in_order(inputs, named)
        outputs = tuple(out) if out is not None else tuple(self._make(spec, specs, inputs) for spec in self.fragment.outputs)
        sources = [Borrowed(x, f"input '{s.name}'") for x, s in zip(inputs, specs)]
        destinations = [Borrowed(y, f"output '{s.name}'", written=True) for y, s in zip(outputs, self.fragment.outputs)]
        check(library.athanor_run(self._handle, _pointers(sources), len(inputs), _pointers(destinations), len(outputs)))
        return outputs[0] if len(outputs) == 1 else outputs

    def _in_order(self, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        specs = self.fragment.inputs
        rest = [spec.name for spec in specs[len(inputs):]]
        if len(inputs) > len(specs) or set(named) != set(rest):
            given = f"{len(inputs)} by place" + (f" and {sorted(named)} by name" if named else "")
            raise Error(f"inputs given: {given}; expected {[spec.name for spec in specs]}")
        return inputs + tuple(named[name] for name in rest)

    def _make(self, spec: TensorSpec, specs: tuple[TensorSpec, ...], inputs: tuple[Any, ...]) -> Any:
        """A tensor for an output: in place, the input's; else a new one of the kind of the first input."""
        if spec.name in self.in_place:
            return inputs[[s.name for s in specs].index(self.in_place[spec.name])]
        torch = sys.modules.get("torch")
        if torch is not None and inputs and isinstance(inputs[0], torch.Tensor):
            return torch.empty(spec.shape, dtype=getattr(torch, _TORCH_DTYPES[spec.dtype]))
        import numpy
        if spec.dtype not in _NUMPY_DTYPES:
            raise Error(f"output '{spec.name}' is {spec.dtype}, which NumPy does not have: pass PyTorch tensors, or out=")
        return numpy.empty(spec.shape, dtype=_NUMPY_DTYPES[spec.dtype])

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            library.athanor_executable_free(self._handle)


def _pointers(tensors: list[Borrowed]) -> Any:
    return (ctypes.POINTER(DLTensor) * len(tensors))(*[ctypes.pointer(t.tensor) for t in tensors])


def load(path: str | os.PathLike[str]) -> Fragment:
    """Reads a fragment file (docs/fragment-format.md). Raises `athanor.Error` that names the place where it is wrong."""
    return Fragment.load(path)


def compile(fragment: Fragment | dict[str, Any] | str | os.PathLike[str], grad: bool = False, *, settings: Mapping[str, Any] | None = None,
            in_place: Mapping[str, str] | None = None) -> Executable:
    """Compiles a fragment for this machine; kernels come from the cache where it has them.

    `fragment`: a `Fragment`, its description as a dict, or the path of a fragment file.
    `grad`: with gradients. The executable then takes, behind the inputs, the gradient of each floating-point output, and returns behind the
    outputs the gradient of each input with "grad": true, each of the dtype and shape of what it is the gradient of.
    `settings`: {"threads": 2, "cache_dir": ..., "tune": "first", ...}, overriding the environment variables ATHANOR_*.
    `in_place`: {output: input}: outputs that live in the memory of an input of the same dtype and shape, with the same results.

    The result is called with tensors of any framework that has `__dlpack__`, in host memory, with any strides:

    >>> relu = athanor.compile({"format": "athanor.fragment/1", "name": "relu", "inputs": [{"name": "x", "dtype": "f32", "shape": [3]}],
    ...                         "nodes": [{"op": "relu", "inputs": ["x"], "outputs": ["y"]}], "outputs": ["y"]})
    >>> relu(torch.tensor([-1., 0., 1.]))
    tensor([0., 0., 1.])

    Raises `athanor.Error` where the fragment, a setting or a tensor is wrong.
    """
    if isinstance(fragment, dict):
        fragment = Fragment(fragment, str(fragment.get("name", "fragment")))
    elif not isinstance(fragment, Fragment):
        fragment = Fragment.load(fragment)
    return Executable(fragment.gradient() if grad else fragment, settings, in_place)
