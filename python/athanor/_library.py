"""libathanor.so through ctypes: the C ABI of runtime/athanor.h, each failure an `athanor.Error`.

ctypes, not an extension module: the package stays pure Python over a Python-free library. With addresses packed by `struct` a call of
`athanor_run_pointers` costs about 0.2 microseconds besides the packing.
"""
from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p
from pathlib import Path


class Error(RuntimeError):
    """What the caller got wrong: a fragment, a setting, a tensor, an index. The message says what was found and what was expected."""


class InternalError(RuntimeError):
    """A broken promise inside Athanor: please report it."""


class DLDevice(ctypes.Structure):
    _fields_ = [("device_type", c_int), ("device_id", c_int32)]


class DLDataType(ctypes.Structure):
    _fields_ = [("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16)]


class DLTensor(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("device", DLDevice), ("ndim", c_int32), ("dtype", DLDataType), ("shape", POINTER(c_int64)),
                ("strides", POINTER(c_int64)), ("byte_offset", c_uint64)]


class DLManagedTensor(ctypes.Structure):
    _fields_ = [("dl_tensor", DLTensor), ("manager_ctx", c_void_p), ("deleter", c_void_p)]


class DLManagedTensorVersioned(ctypes.Structure):
    _fields_ = [("major", c_uint32), ("minor", c_uint32), ("manager_ctx", c_void_p), ("deleter", c_void_p), ("flags", c_uint64),
                ("dl_tensor", DLTensor)]


class TensorInfo(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("dtype", DLDataType), ("ndim", c_int32), ("shape", POINTER(c_int64)), ("strides", POINTER(c_int64))]


class InPlace(ctypes.Structure):
    _fields_ = [("output", c_char_p), ("input", c_char_p)]


class CompileOptions(ctypes.Structure):
    _fields_ = [("struct_bytes", c_size_t), ("settings", POINTER(c_char_p)), ("in_place", POINTER(InPlace)), ("in_place_count", c_size_t)]


def _open() -> ctypes.CDLL:
    path = Path(__file__).parent / "lib" / "libathanor.so"
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise ImportError(f"Athanor's library can't be loaded from {path}: {error}") from None


library = _open()
_OK, _OUT_OF_MEMORY, _INTERNAL = 0, 2, 3

for _name, _arguments in {
    "fragment_load": [c_char_p, POINTER(c_void_p)],
    "fragment_parse": [c_char_p, c_size_t, c_char_p, POINTER(c_void_p)],
    "fragment_gradient": [c_void_p, POINTER(c_void_p)],
    "fragment_input": [c_void_p, c_size_t, POINTER(TensorInfo)],
    "fragment_output": [c_void_p, c_size_t, POINTER(TensorInfo)],
    "compile": [c_void_p, POINTER(CompileOptions), POINTER(c_void_p)],
    "executable_report": [c_void_p, POINTER(c_char_p)],
    "run": [c_void_p, POINTER(POINTER(DLTensor)), c_size_t, POINTER(POINTER(DLTensor)), c_size_t],
    "run_pointers": [c_void_p, c_char_p, c_char_p],
    "use_threads": [c_void_p, c_void_p],
}.items():
    _function = getattr(library, "athanor_" + _name)
    _function.argtypes, _function.restype = _arguments, c_int
for _name, _arguments, _result in [("last_error", [], c_char_p), ("version", [], c_char_p), ("fragment_inputs", [c_void_p], c_size_t),
                                   ("fragment_outputs", [c_void_p], c_size_t), ("fragment_free", [c_void_p], None),
                                   ("executable_free", [c_void_p], None)]:
    _function = getattr(library, "athanor_" + _name)
    _function.argtypes, _function.restype = _arguments, _result


def check(status: int) -> None:
    """Raises what a status of the C ABI other than "ok" stands for."""
    if status == _OK:
        return
    message = library.athanor_last_error().decode(errors="replace")
    if status == _OUT_OF_MEMORY:
        raise MemoryError(message)
    raise (InternalError if status == _INTERNAL else Error)(message)


def version() -> str:
    """The library's version."""
    return library.athanor_version().decode()
