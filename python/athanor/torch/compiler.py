"""Compiling an ATen graph: partitions become fragments, the rest stays PyTorch's."""
from __future__ import annotations

import json
import operator
import time
from collections import Counter

from torch import fx

from .builder import Unsupported
from .compiled_graph import CompiledGraph, GraphCode, Partition
from .partition import free_random_ops, partition
from .rules import VIEWS
from .translate import NodeChecker, described, expected_input, translate


def compile_graph(module: fx.GraphModule, kind: str, inputs_guarded: bool) -> CompiledGraph:
    """What is called with a list of the inputs of `module`, and yields its outputs. `inputs_guarded`: whether the strides of its inputs are
    sure to be what the graph says."""
    start = time.perf_counter()
    checker = NodeChecker()
    free_random_ops(module.graph)
    sure = {p.name for p in module.graph.find_nodes(op="placeholder") if inputs_guarded}
    fused = partition(module, checker)
    code = GraphCode.of(fused, kind)
    partitions: dict[str, Partition] = {}
    fallbacks: Counter[tuple[str, str]] = Counter()
    for node in fused.graph.nodes:
        if node.op == "call_module":
            part = fused.get_submodule(node.target)
            part_code = GraphCode.of(part, f"{kind}.{node.target}")
            try:
                partitions[node.target] = _translated(part, node, sure, part_code)
            except Unsupported as why:
                code.attributes[node.target] = part_code
                fallbacks.update((operation, f"its partition was refused: {why}") for operation in _operations(part))
        elif node.op == "call_function" and node.target is not operator.getitem and node.target not in VIEWS:
            fallbacks[str(node.target), checker.reason(node) or "it stands alone"] += 1
    return CompiledGraph(kind, code, partitions, fallbacks, time.perf_counter() - start)


def _operations(part: fx.GraphModule) -> list[str]:
    return [str(n.target) for n in part.graph.nodes if n.op == "call_function" and n.target is not operator.getitem]


def _translated(part: fx.GraphModule, call: fx.Node, sure: set[str], code: GraphCode) -> Partition:
    """What becomes of the submodule `part`, which `call` calls. Of the names in `sure` the strides are known. Raises `Unsupported`."""
    placeholders = part.graph.find_nodes(op="placeholder")
    body = [n for n in part.graph.nodes if n.op == "call_function"]
    result = part.graph.output_node().args[0]
    outputs = list(result) if isinstance(result, (list, tuple)) else [result]
    inputs = {p: expected_input(described(p), argument.name in sure) for p, argument in zip(placeholders, call.args)}
    translation = translate(code.name, inputs, body, outputs)
    unsure = [(i, tensor.stride()) for i, (tensor, argument) in enumerate(zip(inputs.values(), call.args)) if argument.name not in sure]
    return Partition(json.dumps(translation.fragment), translation.outputs, unsure, not isinstance(result, (list, tuple)), _operations(part), code)
