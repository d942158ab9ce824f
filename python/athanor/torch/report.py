"""What ran where, and why."""
from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class GraphReport:
    """One graph that was compiled: the forward of a function, its backward, or an inference."""
    kind: str
    partitions: list[Any] = field(default_factory=list)      # PartitionReport
    fallbacks: Counter[tuple[str, str]] = field(default_factory=Counter)  # (operation, why it runs in PyTorch): how often
    seconds: float = 0.0

    @property
    def operations(self) -> int:
        return sum(p.operations for p in self.partitions)

    def summary(self) -> str:
        kernels = sum(p.kernels for p in self.partitions)
        text = (f"{self.kind}: {self.operations} operations in {len(self.partitions)} partitions of {kernels} kernels by Athanor, "
                f"{sum(self.fallbacks.values())} by PyTorch, compiled in {self.seconds:.2f} s")
        if self.fallbacks:
            text += " (" + ", ".join(sorted({name for name, _ in self.fallbacks})) + ")"
        return text


@dataclass
class PartitionReport:
    """One partition: its operations, and the report of its executable (`athanor.Executable.report`)."""
    name: str
    operations: int
    kernels: int
    executable: dict[str, Any]


class Explanation:
    """What `athanor.explain` found. `str()` is a table; `graphs` holds the GraphReports."""

    def __init__(self, graphs: list[GraphReport]):
        self.graphs = graphs

    @property
    def fallbacks(self) -> Counter[tuple[str, str]]:
        """(operation, reason) of everything that runs in PyTorch, and how often."""
        total: Counter[tuple[str, str]] = Counter()
        for graph in self.graphs:
            total.update(graph.fallbacks)
        return total

    def __str__(self) -> str:
        lines = []
        for graph in self.graphs:
            lines.append(graph.summary())
            for part in graph.partitions:
                heavy = Counter(kernel["skeleton"] for kernel in part.executable["kernels"])
                kinds = ", ".join(f"{n} {name}" for name, n in sorted(heavy.items()))
                lines.append(f"  athanor  {part.name}: {part.operations} operations -> {part.kernels} kernels ({kinds})")
            for (name, reason), count in sorted(graph.fallbacks.items()):
                lines.append(f"  pytorch  {name} x {count}: {reason}")
        return "\n".join(lines)
