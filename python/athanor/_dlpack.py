"""Tensors of any framework as DLPack structures that the library reads in place."""
from __future__ import annotations

import ctypes
from typing import Any

from ._library import DLManagedTensor, DLManagedTensorVersioned, DLTensor, Error

_VERSION = (1, 0)
_READ_ONLY = 1
_HOST_DEVICES = (1, 3, 11)  # CPU, and memory pinned by CUDA or ROCm
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.restype, _is_valid.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]


class Borrowed:
    """A tensor's DLTensor, valid as long as this object lives: it holds the capsule, whose deleter runs when it is collected."""

    def __init__(self, tensor: Any, role: str, written: bool = False):
        if not hasattr(tensor, "__dlpack__"):
            raise Error(f"{role} is a {type(tensor).__name__}, expected a tensor with __dlpack__ (PyTorch, NumPy, ...)")
        try:
            device = tensor.__dlpack_device__()
        except (BufferError, RuntimeError, ValueError) as error:   # a device that DLPack has no name for
            raise Error(f"{role} can't be handed over: {error}") from None
        if int(device[0]) not in _HOST_DEVICES:
            raise Error(f"{role} is on a device of DLPack's type {int(device[0])}, expected host memory")
        try:
            try:
                self._capsule = tensor.__dlpack__(max_version=_VERSION)
            except TypeError:  # a producer from before DLPack 1.0
                self._capsule = tensor.__dlpack__()
        except (BufferError, RuntimeError, ValueError) as error:
            raise Error(f"{role} can't be handed over: {error}") from None
        if _is_valid(self._capsule, b"dltensor_versioned"):
            managed = DLManagedTensorVersioned.from_address(_pointer(self._capsule, b"dltensor_versioned"))
            if managed.major != _VERSION[0]:
                raise Error(f"{role} has DLPack version {managed.major}.{managed.minor}, expected {_VERSION[0]}.x")
            if written and managed.flags & _READ_ONLY:
                raise Error(f"{role} is read-only")
        else:
            managed = DLManagedTensor.from_address(_pointer(self._capsule, b"dltensor"))
        self.tensor: DLTensor = managed.dl_tensor
