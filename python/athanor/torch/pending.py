"""Work that goes on while the caller does something else."""
from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Pending:
    """The result of a function that a thread runs from now on. Unlike a `concurrent.futures.Future` it can be waited for in a forked process, too."""

    def __init__(self, function: Callable[[], Any]):
        self._function = function
        self._thread = threading.Thread(target=self._run, name="athanor")
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value, self._error = self._function(), None
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        """Waits for it. Raises what the function raised."""
        self._thread.join()
        if not hasattr(self, "_error"):                      # a process that was forked meanwhile does not have the thread
            self._run()
        if self._error is not None:
            raise self._error
        return self._value
