"""Operators of Athanor for programs that are not compiled: `torch.ops.athanor.attention`, `linear_act` and `conv_bn_act`, each one fused forward and one fused
backward, with autograd and fake kernels. Inside torch.compile(backend="athanor") they are part of the graph like any other operation.

    from athanor.torch.functional import linear_act
    y = linear_act(x, weight, bias, "gelu")

CPU tensors of any strides, f32, f64, bf16 or f16, all of one dtype. Raises `athanor.Error` where shapes or dtypes do not fit.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch

from .._library import Error
from ..executable import compile as compile_fragment
from .builder import Builder, Value
from .launch import make_launch
from .rules import rule
from .translate import Output

ACTIVATIONS = ("none", "relu", "gelu", "silu", "sigmoid", "tanh")


class Stage(NamedTuple):
    """One op of a chain: its first input is what the stage before yields, the others are inputs of the chain, by number."""
    op: str
    inputs: tuple[int, ...]
    attrs: tuple[tuple[str, Any], ...]


def _activation(name: str) -> list[Stage]:
    if name not in ACTIVATIONS:
        raise Error(f"the activation is '{name}', expected one of {', '.join(ACTIVATIONS)}")
    return [] if name == "none" else [Stage(name, (), ())]


# The defaults are those of the schemas below: dispatch leaves out arguments that are equal to them.
def _attention_chain(is_causal: bool = False, scale: float | None = None) -> tuple[Stage, ...]:
    attrs = (("is_causal", is_causal),) + (() if scale is None else (("scale", float(scale)),))
    return (Stage("scaled_dot_product_attention", (1, 2, 3), attrs),)


def _linear_chain(activation: str = "none") -> tuple[Stage, ...]:
    return (Stage("linear", (1, 2), ()), *_activation(activation))


def _conv_chain(stride: Sequence[int] = (1, 1), padding: Sequence[int] = (0, 0), dilation: Sequence[int] = (1, 1), groups: int = 1, eps: float = 1e-5,
                activation: str = "none") -> tuple[Stage, ...]:
    conv = (("stride", tuple(stride)), ("padding", tuple(padding)), ("dilation", tuple(dilation)), ("groups", groups))
    return (Stage("conv2d", (1,), conv), Stage("batch_norm", (2, 3, 4, 5), (("training", False), ("eps", float(eps)))), *_activation(activation))


def _attrs(stage: Stage) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in stage.attrs}


def _forward(b: Builder, chain: Sequence[Stage], inputs: Sequence[Value | None], shape: Sequence[int]) -> list[Value]:
    """The results of the stages. All but the last are called shapeless: only the library needs to know."""
    results, x = [], inputs[0]
    for i, stage in enumerate(chain):
        x = b.op(stage.op, x, *[inputs[n] for n in stage.inputs], dtype=inputs[0].dtype, shape=shape if i == len(chain) - 1 else (), **_attrs(stage))
        results.append(x)
    return results


def _backward(b: Builder, chain: Sequence[Stage], dy: Value, inputs: Sequence[Value | None], wanted: Sequence[int]) -> list[Value]:
    """The gradients of the inputs `wanted`, in their order."""
    before = [inputs[0], *_forward(b, chain[:-1], inputs, ())]
    gradients: dict[int, Value] = {}
    for i in reversed(range(len(chain))):
        stage = chain[i]
        numbers = (0, *stage.inputs)                         # of the chain's inputs; the first stands for what comes before
        deeper = i > 0 and any(n in wanted for s in chain[:i] for n in (0, *s.inputs))
        here = [k for k, n in enumerate(numbers) if (n in wanted if k or i == 0 else deeper)]
        if not here:
            break
        operands = [dy, before[i], *[inputs[n] for n in stage.inputs]]
        results = b.ops(stage.op + "_backward", operands, [(dy.dtype, operands[k + 1].shape) for k in here], wanted=here, **_attrs(stage))
        for k, result in zip(here, results):
            if k == 0 and i > 0:
                dy = result
            else:
                gradients[numbers[k]] = result
    return [gradients[n] for n in wanted]


@lru_cache(maxsize=512)
def _launch(chain: tuple[Stage, ...], wanted: tuple[int, ...], tensors: tuple[Any, ...], results: tuple[Any, ...], threads: int) -> Any:
    """The function that runs a chain, or (with `wanted`) its backward, for tensors and results of these dtypes, sizes and strides."""
    b = Builder("backward" if wanted else "forward")
    values = [None if t is None else b.input(f"x{i}", torch.empty_strided(t[1], t[2], dtype=t[0], device="meta")) for i, t in enumerate(tensors)]
    outputs = _backward(b, chain, values[0], values[1:], wanted) if wanted else _forward(b, chain, values, results[0][1])[-1:]
    b.fragment["outputs"] = [v.name for v in outputs]
    executable = compile_fragment(b.fragment, settings={"threads": threads})
    return make_launch(executable, [Output(size, stride, dtype) for dtype, size, stride in results], [])


def _described(t: torch.Tensor | None) -> Any:
    return None if t is None else (t.dtype, tuple(t.shape), t.stride())


def _fresh(t: torch.Tensor) -> torch.Tensor:
    return torch.empty(t.shape, dtype=t.dtype, device=t.device)


def _run(chain: tuple[Stage, ...], tensors: Sequence[torch.Tensor | None], results: Sequence[torch.Tensor], wanted: Sequence[int] = ()) -> list[torch.Tensor]:
    given = [t for t in tensors if t is not None]
    for t in given:
        if t.device.type != "cpu":
            raise Error(f"a tensor is on {t.device}, expected the CPU")
    described = tuple(_described(torch.empty(r.shape, dtype=r.dtype, device="meta")) for r in results)
    return list(_launch(chain, tuple(wanted), tuple(map(_described, tensors)), described, torch.get_num_threads())(*given))


def _define(name: str, schema: str, chain_of: Any, tensors: int, shape_of: Any) -> Any:
    """Registers athanor::NAME and athanor::NAME_backward. The first `tensors` arguments are tensors, the rest goes to `chain_of`; `shape_of` makes the
    result's shape of all."""

    def forward(*args: Any) -> torch.Tensor:
        result = args[0].new_empty(shape_of(*args), device="meta")
        return _run(chain_of(*args[tensors:]), args[:tensors], [result])[0]

    def backward(dy: torch.Tensor, *args: Any) -> list[torch.Tensor]:
        wanted = [i for i, w in enumerate(args[-1]) if w]
        return _run(chain_of(*args[tensors:-1]), (dy, *args[:tensors]), [args[i] for i in wanted], wanted)

    def setup(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs[:tensors])
        ctx.attributes = inputs[tensors:]

    def differentiate(ctx: Any, dy: torch.Tensor) -> tuple[Any, ...]:
        wanted = [bool(w) for w in ctx.needs_input_grad[:tensors]]
        gradients = iter(operation_backward(dy, *ctx.saved_tensors, *ctx.attributes, wanted) if any(wanted) else ())
        return (*[next(gradients) if w else None for w in wanted], *[None] * len(ctx.attributes))

    operation = torch.library.custom_op(f"athanor::{name}", forward, mutates_args=(), schema=f"({schema}) -> Tensor")
    operation_backward = torch.library.custom_op(f"athanor::{name}_backward", backward, mutates_args=(),
                                                 schema=f"(Tensor dy, {schema}, bool[] wanted) -> Tensor[]")
    operation.register_fake(lambda *args: args[0].new_empty(shape_of(*args)))
    operation_backward.register_fake(lambda dy, *args: [_fresh(t) for t, w in zip(args, args[-1]) if w])
    operation.register_autograd(differentiate, setup_context=setup)
    @rule(getattr(torch.ops.athanor, name).default)
    def _translated(b: Builder, out: torch.Tensor, *args: Any) -> Value:
        return _forward(b, chain_of(*args[tensors:]), args[:tensors], out.shape)[-1]

    @rule(getattr(torch.ops.athanor, name + "_backward").default)
    def _translated_backward(b: Builder, out: Any, dy: Value, *args: Any) -> list[Value]:
        return _backward(b, chain_of(*args[tensors:-1]), dy, args[:tensors], [i for i, w in enumerate(args[-1]) if w])

    return operation


def _attention_shape(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, *_: Any) -> list[int]:
    return [*torch.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2]), q.shape[-2], v.shape[-1]]


def _linear_shape(x: torch.Tensor, weight: torch.Tensor, *_: Any) -> list[int]:
    return [*x.shape[:-1], weight.shape[0]]


def _conv_shape(x: torch.Tensor, weight: torch.Tensor, mean: Any, var: Any, gamma: Any, beta: Any, stride: Sequence[int] = (1, 1),
                padding: Sequence[int] = (0, 0), dilation: Sequence[int] = (1, 1), *_: Any) -> list[int]:
    sizes = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(x.shape[2:], weight.shape[2:], stride, padding, dilation)]
    return [x.shape[0], weight.shape[0], *sizes]


attention = _define("attention", "Tensor query, Tensor key, Tensor value, Tensor? attn_mask, bool is_causal=False, float? scale=None", _attention_chain, 4,
                    _attention_shape)
linear_act = _define("linear_act", "Tensor x, Tensor weight, Tensor? bias, str activation=\"none\"", _linear_chain, 3, _linear_shape)
conv_bn_act = _define("conv_bn_act", "Tensor x, Tensor weight, Tensor running_mean, Tensor running_var, Tensor? gamma, Tensor? beta, int[2] stride=[1, 1], "
                      "int[2] padding=[0, 0], int[2] dilation=[1, 1], int groups=1, float eps=1e-5, str activation=\"none\"", _conv_chain, 6, _conv_shape)
