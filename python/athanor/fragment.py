"""Fragments: graphs of tensor operations, as docs/fragment-format.md describes them."""
from __future__ import annotations

import ctypes
import json
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ._library import DLDataType, TensorInfo, check, library

_DTYPES = {(2, 32): "f32", (4, 16): "bf16", (2, 16): "f16", (2, 64): "f64", (0, 32): "i32", (0, 64): "i64", (1, 8): "u8", (6, 8): "bool"}


def dtype_name(dtype: DLDataType) -> str:
    """The fragment's name for a DLPack dtype, such as "f32"."""
    return _DTYPES[dtype.code, dtype.bits]


@dataclass(frozen=True)
class TensorSpec:
    """What a tensor of a fragment has to be like. `strides` are in elements."""
    name: str
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Fragment:
    """A graph of tensor operations that was read and found valid. It never changes.

    Made by `athanor.load(path)` or from a dict or JSON text; raises `athanor.Error` naming the place where something is wrong.
    """

    def __init__(self, source: dict[str, Any] | str, name: str | None = None):
        text = (source if isinstance(source, str) else json.dumps(source)).encode()
        handle = ctypes.c_void_p()
        check(library.athanor_fragment_parse(text, len(text), (name or "fragment").encode(), ctypes.byref(handle)))
        self._handle = handle

    @classmethod
    def _of(cls, handle: ctypes.c_void_p) -> Fragment:
        fragment = cls.__new__(cls)
        fragment._handle = handle
        return fragment

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Fragment:
        """Reads a fragment file."""
        handle = ctypes.c_void_p()
        check(library.athanor_fragment_load(os.fsencode(path), ctypes.byref(handle)))
        return cls._of(handle)

    def gradient(self) -> Fragment:
        """The fragment with its gradients: inputs `grad.OUT` for each floating-point output OUT come behind its inputs, outputs `grad.NAME`
        for each input NAME with "grad": true behind its outputs."""
        handle = ctypes.c_void_p()
        check(library.athanor_fragment_gradient(self._handle, ctypes.byref(handle)))
        return Fragment._of(handle)

    @cached_property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._specs(library.athanor_fragment_inputs, library.athanor_fragment_input)

    @cached_property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._specs(library.athanor_fragment_outputs, library.athanor_fragment_output)

    def _specs(self, count: Any, describe: Any) -> tuple[TensorSpec, ...]:
        specs, info = [], TensorInfo()
        for i in range(count(self._handle)):
            check(describe(self._handle, i, ctypes.byref(info)))
            specs.append(TensorSpec(info.name.decode(), dtype_name(info.dtype), tuple(info.shape[:info.ndim]), tuple(info.strides[:info.ndim])))
        return tuple(specs)

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            library.athanor_fragment_free(self._handle)

    def __repr__(self) -> str:
        def text(specs: tuple[TensorSpec, ...]) -> str:
            return ", ".join(f"{s.name}: {s.dtype}{list(s.shape)}" for s in specs)
        return f"Fragment({text(self.inputs)} -> {text(self.outputs)})"
