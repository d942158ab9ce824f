"""Compiled graphs: what AOTAutograd calls, and what PyTorch keeps of them from one process to the next where it is told to (`TORCH_CACHING_PRECOMPILE`).

A pickled `CompiledGraph` holds all that tracing and translation found out, the Python code between the partitions and the partitions' fragments. Kernels
are not in it; they come from the library's own cache. This module loads nothing that only translation needs.
"""
from __future__ import annotations

import copy
import hashlib
import linecache
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MethodType, SimpleNamespace
from typing import Any

import torch
from torch import fx
from torch._inductor.output_code import OutputCode
from torch.fx.graph_module import _format_import_block
from torch.package import sys_importer

from .._library import Error, version
from ..executable import Executable
from ..executable import compile as compile_fragment
from ..fragment import Fragment
from .launch import Output, make_launch
from .pending import Pending
from .report import GraphReport, PartitionReport

log = logging.getLogger("athanor.torch")
listeners: list[Callable[[GraphReport], None]] = []          # told of each graph that is loaded
recorders: list[Callable[[str, str], None]] = []             # told of each partition, and its fragment's text, before it is compiled
_loading = threading.Lock()


@cache
def producer() -> str:
    """Which version of this package and its library a graph was compiled by: those of another one are compiled anew."""
    text = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return f"athanor {version()} {hashlib.sha256(text).hexdigest()[:16]}"


@dataclass
class GraphCode:
    """The source of a graph's `forward(self, ...)`, with what it imports and what it finds on `self`: tensors, and codes of other graphs."""
    name: str
    source: str
    attributes: dict[str, Any]

    @staticmethod
    def of(module: fx.GraphModule, name: str) -> GraphCode:
        code = module.graph.python_code("self")
        names = {node.target.partition(".")[0] for node in module.graph.find_nodes(op="get_attr")}
        attributes = {name: getattr(module, name) for name in sorted(names)}
        return GraphCode(name, _format_import_block(code.globals, sys_importer) + "\n" + code.src, attributes)

    def function(self, **more: Any) -> Callable[..., Any]:
        """`forward`, bound to the attributes and `more` of them."""
        if "torch.ops.athanor." in self.source:
            from . import operators  # noqa: F401  (it registers them)
        place = f"<athanor {self.name} {id(self):x}>"
        linecache.cache[place] = (len(self.source), None, self.source.splitlines(True), place)  # for tracebacks
        names: dict[str, Any] = {}
        exec(compile(self.source, place, "exec"), names)
        attributes = {name: a.function() if isinstance(a, GraphCode) else a for name, a in self.attributes.items()}
        return MethodType(names["forward"], SimpleNamespace(**attributes, **more))


@dataclass
class Partition:
    """A part of a graph that became a fragment, and how PyTorch calls it."""
    fragment: str                                            # as the text of a file
    outputs: list[Output]
    unsure: list[tuple[int, tuple[int, ...]]]                # see make_launch
    single: bool                                             # its value is its one output, not a tuple
    operations: list[str]
    code: GraphCode                                          # the same for PyTorch, where the library refuses the fragment

    def executable(self, name: str, threads: int) -> Executable | Error:
        """Or why the library refuses it after all."""
        try:
            return compile_fragment(Fragment(self.fragment, name), settings={"threads": threads})
        except Error as why:
            return why

    def launch(self, name: str, executable: Executable | Error, report: GraphReport) -> Callable[..., Any]:
        """A launch of its executable; where there is none it runs in PyTorch, and the log says so."""
        if isinstance(executable, Error):
            if os.environ.get("ATHANOR_NO_JIT") == "1":      # a miss has to be loud, and not slow
                raise executable
            log.warning("%s of %d operations runs in PyTorch: %s", name, len(self.operations), executable)
            report.fallbacks.update((operation, f"its partition was refused: {executable}") for operation in self.operations)
            return self.code.function()
        report.partitions.append(PartitionReport(name, len(self.operations), len(executable.report["kernels"]), executable.report))
        launch = make_launch(executable, self.outputs, self.unsure)
        return (lambda *inputs: launch(*inputs)[0]) if self.single else launch


class CompiledGraph(OutputCode):
    """A graph, called with a list of its inputs. Its executables are made in each process anew: in the first call, or, where PyTorch has it from an
    earlier process, while PyTorch makes its guards."""

    def __init__(self, kind: str, code: GraphCode, partitions: dict[str, Partition], fallbacks: Counter[tuple[str, str]], seconds: float):
        super().__init__()
        self._boxed_call = True                              # of the instance, where functools.wraps finds it
        self._kind, self._code, self._partitions, self._fallbacks = kind, code, partitions, fallbacks
        self._seconds = seconds                              # spent on it in this process
        self._function: Callable[..., Any] | None = None
        self._made: Pending | None = None                    # the executables by partition, between `begin` and the first call

    def begin(self) -> None:
        """Has the executables made."""
        if self._made is None and self._function is None:
            for recorder in recorders:
                for name, part in self._partitions.items():
                    recorder(name, part.fragment)
            threads = torch.get_num_threads()
            self._made = Pending(lambda: {name: part.executable(name, threads) for name, part in self._partitions.items()})

    def __call__(self, inputs: Sequence[Any]) -> Any:
        return (self._function or self._load())(*inputs)

    def _load(self) -> Callable[..., Any]:
        with _loading:
            if self._function is None:
                start = time.perf_counter()
                report = GraphReport(self._kind, fallbacks=Counter(self._fallbacks))
                self.begin()
                made, self._made = self._made, None          # where it fails, the next call tries again
                executables = made.result()
                launches = {name: part.launch(name, executables[name], report) for name, part in self._partitions.items()}
                function = self._code.function(**launches)
                report.seconds = self._seconds + time.perf_counter() - start
                log.info("%s", report.summary())
                for (name, reason), count in sorted(report.fallbacks.items()):
                    log.info("%s x %d runs in PyTorch: %s", name, count, reason)
                for listener in listeners:
                    listener(report)
                self._function = function
            return self._function

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_function": None, "_made": None, "_seconds": 0.0, "producer": producer()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        made_by = state.pop("producer")
        if made_by != producer():                            # PyTorch says so in its log, and compiles the graph anew
            raise RuntimeError(f"a stored graph was compiled by {made_by}, and this is {producer()}")
        self.__dict__ = state

    def prepare_for_serialization(self) -> None:
        """Nothing: `__getstate__` leaves out what is of this process."""

    def post_compile(self, *_: Any) -> None:
        """PyTorch has read the graph from a file, and is going to use it."""
        self.begin()

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledGraph:
        """Another one that was not used yet. What it is made of never changes, and may be long."""
        return copy.copy(self)
