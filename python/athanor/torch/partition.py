"""Cutting an ATen graph into partitions that Athanor runs, and the rest, which PyTorch runs."""
from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx
from torch.fx.passes.infra.partitioner import CapabilityBasedPartitioner
from torch.fx.passes.operator_support import OperatorSupportBase

from .rules import VIEWS
from .translate import NodeChecker


class _Support(OperatorSupportBase):
    def __init__(self, checker: NodeChecker):
        self._checker = checker

    def is_node_supported(self, submodules: Any, node: fx.Node) -> bool:
        return self._checker.reason(node) is None


def _computes(node: fx.Node) -> bool:
    return node.op == "call_function" and node.target is not operator.getitem and node.target not in VIEWS


def free_random_ops(graph: fx.Graph) -> None:
    """Lets what only asks for another tensor's shape not wait for it: random numbers are then drawn in PyTorch's order, and before the
    partitions, which they would cut in two."""
    for node in graph.find_nodes(op="call_function", target=torch.ops.aten.empty_like.default):
        fake = node.meta["val"]
        if all(isinstance(n, int) for n in fake.shape):
            with graph.inserting_before(node):
                empty = graph.call_function(torch.ops.aten.empty_strided.default, (list(fake.shape), list(fake.stride())),
                                            {"dtype": fake.dtype, "device": fake.device})
            empty.meta = dict(node.meta)
            node.replace_all_uses_with(empty)
            graph.erase_node(node)


def partition(module: fx.GraphModule, checker: NodeChecker) -> fx.GraphModule:
    """The same graph with supported nodes moved into submodules `fused_*`, as few as dependencies allow. Nodes that only rearrange stay
    outside unless they stand between nodes that compute."""
    partitioner = CapabilityBasedPartitioner(module, _Support(checker), allows_single_node_partition=True)
    partitions = [p for p in partitioner.propose_partitions() if any(_computes(node) for node in p.nodes)]
    return partitioner.fuse_partitions(partitions, prefix="fused_") if partitions else module
