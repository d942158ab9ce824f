"""Memory of large results, kept from call to call.

The C library gives large blocks back to the system when they are freed, and the next step's activations have the system clear their pages again: in the
example's training step a sixth of the time. So each large result is computed where the one before it lay, as soon as nothing refers to that any more.
"""
from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch._C import _storage_Use_Count as _uses

LARGE = 1 << 20                                              # bytes; below, the C library keeps them itself


class ResultMemory:
    """Storages by the place that computes them, at most `limit` bytes together: those that were not used for longest are let go."""

    def __init__(self, limit: int):
        self._limit, self._bytes = limit, 0
        self._kept: OrderedDict[object, tuple[torch.UntypedStorage, int, int]] = OrderedDict()  # with its bytes and address
        self._lock = threading.RLock()                       # a collection of garbage may call `forget` anywhere

    def take(self, place: object, size: Sequence[int], stride: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """A tensor with any contents, in the memory of the last one of `place` where that is free. A place has one size."""
        with self._lock:
            storage = self.forget(place)
            # Ours is the only reference, from Python (this one and the argument) and from C++.
            if storage is not None and sys.getrefcount(storage) == 2 and _uses(storage._cdata) == 1:
                result = torch.empty(0, dtype=dtype).set_(storage, 0, size, stride)  # type: ignore[call-overload]
            else:
                result = torch.empty_strided(size, stride, dtype=dtype)
                storage = result.untyped_storage()
            self._kept[place] = storage, storage.nbytes(), storage.data_ptr()
            self._bytes += storage.nbytes()
            while self._bytes > self._limit:
                self.forget(next(iter(self._kept)))
        return result

    def forget(self, place: object) -> torch.UntypedStorage | None:
        """Lets go of what the place has computed. Nothing where that has changed since: it was resized, or moved to where another process sees it."""
        with self._lock:
            storage, size, address = self._kept.pop(place, (None, 0, 0))
            self._bytes -= size
        return storage if storage is not None and (storage.nbytes(), storage.data_ptr()) == (size, address) else None


results = ResultMemory(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 8)
