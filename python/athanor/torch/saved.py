"""How the tensors that the forward graph saves for the backward one lie in memory."""
from __future__ import annotations

import operator
from typing import Any

import torch
from functorch.compile import config, min_cut_rematerialization_partition
from torch import fx

from .rules import VIEWS, rule_of
from .translate import memory_order

aten = torch.ops.aten
_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def split_joint_graph(joint: fx.GraphModule, *args: Any, num_fwd_outputs: int, **kwargs: Any) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Cuts AOTAutograd's joint graph in two. Where nothing but our own graphs sees a saved tensor, it is contiguous, or in the layout of images
    that the user chose; in eager mode, views decide how elementwise results lie, and after a patch embedding, say, all sums of a Transformer
    would lie with their channels outside."""
    _show_loss_as_fused(joint.graph)
    # The library joins equal nodes itself, and theirs takes long to load; it reads through views, which cost nothing, but storing one is a copy.
    with config.patch(cse=False, recompute_views=True):
        forward, backward = min_cut_rematerialization_partition(joint, *args, num_fwd_outputs=num_fwd_outputs, **kwargs)
    results = list(forward.graph.output_node().args[0])
    readers = {p.name: p for p in backward.graph.find_nodes(op="placeholder")}
    seen = set(results[:num_fwd_outputs])
    for i in range(num_fwd_outputs, len(results)):
        node = results[i]
        if isinstance(node, fx.Node) and node not in seen and node.name in readers and _lies_by_accident(node):
            results[i] = _call(forward.graph, node, aten.clone.default, node, memory_format=torch.contiguous_format)
            _read_contiguous(backward.graph, readers[node.name])
    forward.graph.output_node().args = (tuple(results),)
    for module in (forward, backward):
        module.recompile()
    return forward, backward


def _show_loss_as_fused(graph: fx.Graph) -> None:
    """The partitioner takes what an operation reads that it does not know for elementwise to be stored anyway, and saves it for the backward. Log-probabilities
    are not stored, if they are read through a view."""
    for loss in graph.find_nodes(op="call_function", target=aten.nll_loss_forward.default):
        if isinstance(loss.args[0], fx.Node) and loss.args[0].op == "call_function":
            loss.replace_input_with(loss.args[0], _call(graph, loss.args[0], aten.alias.default, loss.args[0]))


def _lies_by_accident(node: fx.Node) -> bool:
    """Whether the node computes here, in a dense tensor of an order that nobody chose."""
    producer = node.args[0] if node.target is operator.getitem else node
    tensor = node.meta.get("val")
    if producer.op != "call_function" or producer.target in VIEWS or rule_of(producer.target) is None or not isinstance(tensor, torch.Tensor):
        return False
    if tensor.layout != torch.strided or any(not isinstance(n, int) for n in (*tensor.shape, *tensor.stride())):
        return False
    chosen = tensor.ndim in _CHANNELS_LAST and tensor.is_contiguous(memory_format=_CHANNELS_LAST[tensor.ndim])
    return not tensor.is_contiguous() and not chosen and memory_order(tensor) is not None


def _call(graph: fx.Graph, after: fx.Node, target: Any, *args: Any, **kwargs: Any) -> fx.Node:
    """A new node behind `after`, described as its result."""
    with graph.inserting_after(after):
        node = graph.call_function(target, args, kwargs)
    fakes = fx.map_arg((args, kwargs), lambda n: n.meta["val"])
    node.meta = {**after.meta, "val": target(*fakes[0], **fakes[1])}
    return node


def _read_contiguous(graph: fx.Graph, placeholder: fx.Node) -> None:
    """Makes the placeholder a contiguous tensor; its readers get one as they expect it. Where these run here, nothing is moved."""
    traced = placeholder.meta["val"]
    readers = list(placeholder.users)
    placeholder.meta = {**placeholder.meta, "val": aten.clone.default(traced, memory_format=torch.contiguous_format)}
    order = memory_order(traced)
    inner = _call(graph, placeholder, aten.permute.default, placeholder, order)
    dense = _call(graph, inner, aten.clone.default, inner, memory_format=torch.contiguous_format)
    outer = _call(graph, dense, aten.permute.default, dense, [order.index(d) for d in range(len(order))])
    for reader in readers:
        reader.replace_input_with(placeholder, outer)
