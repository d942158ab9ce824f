"""Compiling an ATen graph: partitions become executables, the rest stays PyTorch's."""
from __future__ import annotations

import logging
import operator
import os
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from .._library import Error
from ..executable import compile as compile_fragment
from .builder import Unsupported
from .launch import make_launch
from .partition import free_random_ops, partition
from .report import GraphReport, PartitionReport
from .rules import VIEWS
from .translate import NodeChecker, described, expected_input, translate

log = logging.getLogger("athanor.torch")
listeners: list[Callable[[GraphReport], None]] = []          # told of each compiled graph
recorders: list[Callable[[str, dict[str, Any]], None]] = []  # told of each partition's fragment before it is compiled


def compile_graph(module: fx.GraphModule, kind: str, inputs_guarded: bool) -> Callable[..., Any]:
    """A function equal to `module`'s. `inputs_guarded`: whether the strides of its inputs are sure to be what the graph says."""
    start = time.perf_counter()
    report = GraphReport(kind)
    checker = NodeChecker()
    free_random_ops(module.graph)
    sure = {p.name for p in module.graph.find_nodes(op="placeholder") if inputs_guarded}
    fused = partition(module, checker)
    launches: dict[str, Callable[..., Any]] = {}
    for node in fused.graph.find_nodes(op="call_module"):
        _compile_partition(fused, node, sure, report, launches)
    for node in fused.graph.nodes:
        if node.op == "call_function" and node.target is not operator.getitem and node.target not in VIEWS:
            report.fallbacks[str(node.target), checker.reason(node) or "it stands alone"] += 1
    fused.recompile()
    for name, launch in launches.items():  # plain attributes: found and called faster than modules
        del fused._modules[name]
        fused.__dict__[name] = launch
    report.seconds = time.perf_counter() - start
    log.info("%s", report.summary())
    for (name, reason), count in sorted(report.fallbacks.items()):
        log.info("%s x %d runs in PyTorch: %s", name, count, reason)
    for listener in listeners:
        listener(report)
    return fused.forward


def _compile_partition(fused: fx.GraphModule, node: fx.Node, sure: set[str], report: GraphReport, launches: dict[str, Callable[..., Any]]) -> None:
    """Compiles the submodule that `node` calls; a call of what comes out takes its place. A partition that the library refuses after all
    runs in PyTorch, and the log says so."""
    part: fx.GraphModule = fused.get_submodule(node.target)
    placeholders = part.graph.find_nodes(op="placeholder")
    body = [n for n in part.graph.nodes if n.op == "call_function"]
    result = part.graph.output_node().args[0]
    outputs = list(result) if isinstance(result, (list, tuple)) else [result]
    operations = [n for n in body if n.target is not operator.getitem]
    inputs = {p: expected_input(described(p), argument.name in sure) for p, argument in zip(placeholders, node.args)}
    try:
        translation = translate(f"{report.kind}.{node.target}", inputs, body, outputs)
        for recorder in recorders:
            recorder(node.target, translation.fragment)
        executable = compile_fragment(translation.fragment, settings={"threads": torch.get_num_threads()})
    except (Unsupported, Error) as why:
        if os.environ.get("ATHANOR_NO_JIT") == "1":            # a miss has to be loud, and not slow
            raise
        log.warning("%s of %d operations runs in PyTorch: %s", node.target, len(operations), why)
        for n in operations:
            report.fallbacks[str(n.target), f"its partition was refused: {why}"] += 1
        return
    unsure = [(i, tensor.stride()) for i, (tensor, argument) in enumerate(zip(inputs.values(), node.args)) if argument.name not in sure]
    launch = make_launch(executable, translation.outputs, unsure)
    if not isinstance(result, (list, tuple)):
        single = launch
        launch = lambda *inputs: single(*inputs)[0]
    launches[node.target] = launch
    report.partitions.append(PartitionReport(node.target, len(operations), len(executable.report["kernels"]), executable.report))
