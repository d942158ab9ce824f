"""Rules of pointwise ops and casts."""
from __future__ import annotations

import math
from typing import Any

import torch
import torch._prims  # registers torch.ops.prims

from .builder import DTYPES, Builder, Operand, Value, compute_dtype, require
from .rules import rule

aten, prims = torch.ops.aten, torch.ops.prims


def _promoted(b: Builder, out: torch.Tensor, *operands: Operand) -> list[Operand]:
    """Operands cast to the dtype PyTorch computes in, so that promotion is PyTorch's."""
    return [b.cast(x, out.dtype) if isinstance(x, Value) else _number(x, out.dtype) for x in operands]


def _number(x: Any, dtype: torch.dtype) -> Any:
    require(isinstance(x, (int, float)), f"the operand {x!r} is not a number")
    if dtype.is_floating_point:
        require(math.isfinite(x), "an infinite literal")
        return float(x)
    require(float(x).is_integer(), "a fractional literal for integers")
    return int(x)


def _computed(b: Builder, out: torch.Tensor, x: Value) -> Value:
    """x as PyTorch computes floating-point functions of it: bf16 and f16 in f32."""
    return b.cast(x, compute_dtype(out.dtype))


for _overload, _op in {aten.neg.default: "neg", aten.abs.default: "abs", aten.exp.default: "exp", aten.log.default: "log",
                       aten.sqrt.default: "sqrt", aten.rsqrt.default: "rsqrt", aten.tanh.default: "tanh", aten.erf.default: "erf",
                       aten.sigmoid.default: "sigmoid", aten.relu.default: "relu", aten.silu.default: "silu"}.items():
    @rule(_overload)
    def _unary(b: Builder, out: torch.Tensor, x: Value, op: str = _op) -> Value:
        require(out.dtype != torch.bool, "arithmetic on booleans")
        return b.op(op, b.cast(x, out.dtype))


for _overloads, _op in {(aten.mul.Tensor, aten.mul.Scalar): "mul", (aten.maximum.default,): "maximum", (aten.minimum.default,): "minimum",
                        (aten.pow.Tensor_Tensor,): "pow"}.items():
    @rule(*_overloads)
    def _binary(b: Builder, out: torch.Tensor, x: Operand, y: Operand, op: str = _op) -> Value:
        require(out.dtype != torch.bool, "arithmetic on booleans")
        return b.op(op, *_promoted(b, out, x, y))


@rule(aten.add.Tensor, aten.add.Scalar)
def _add(b: Builder, out: torch.Tensor, x: Operand, y: Operand, alpha: float = 1, op: str = "add") -> Value:
    require(out.dtype != torch.bool, "arithmetic on booleans")
    x, y = _promoted(b, out, x, y)
    return b.op(op, x, y, **({"alpha": alpha} if alpha != 1 else {}))


@rule(aten.sub.Tensor, aten.sub.Scalar)
def _sub(b: Builder, out: torch.Tensor, x: Operand, y: Operand, alpha: float = 1) -> Value:
    return _add(b, out, x, y, alpha, op="sub")


@rule(aten.rsub.Tensor, aten.rsub.Scalar)
def _rsub(b: Builder, out: torch.Tensor, x: Operand, y: Operand, alpha: float = 1) -> Value:
    return _sub(b, out, y, x, alpha)


@rule(aten.div.Tensor, aten.div.Scalar)
def _div(b: Builder, out: torch.Tensor, x: Operand, y: Operand) -> Value:
    return b.op("div", *_promoted(b, out, x, y))


@rule(aten.reciprocal.default)
def _reciprocal(b: Builder, out: torch.Tensor, x: Value) -> Value:
    return b.div(1.0, b.cast(x, out.dtype))


@rule(aten.square.default)
def _square(b: Builder, out: torch.Tensor, x: Value) -> Value:
    return b.mul(x, x)


@rule(aten.pow.Tensor_Scalar)
def _pow(b: Builder, out: torch.Tensor, x: Value, exponent: float) -> Value:
    require(out.dtype.is_floating_point, "a power of integers")
    x = b.cast(x, out.dtype)
    special = {1: lambda: b.op("add", x, 0.0), 2: lambda: b.mul(x, x), 3: lambda: b.mul(b.mul(x, x), x), 0.5: lambda: b.op("sqrt", x),
               -0.5: lambda: b.op("rsqrt", x), -1: lambda: b.div(1.0, x)}
    return special[exponent]() if exponent in special else b.op("pow", x, _number(exponent, out.dtype))


@rule(aten.pow.Scalar)
def _pow_of_scalar(b: Builder, out: torch.Tensor, base: float, x: Value) -> Value:
    require(out.dtype.is_floating_point, "a power of integers")
    return b.op("pow", b.full([], base, out.dtype), b.cast(x, out.dtype))


@rule(aten.addcmul.default)
def _addcmul(b: Builder, out: torch.Tensor, x: Value, y: Value, z: Value, value: float = 1) -> Value:
    x, y, z = _promoted(b, out, x, y, z)
    return b.add(x, b.mul(b.mul(y, z), _number(value, out.dtype)))


@rule(aten.addcdiv.default)
def _addcdiv(b: Builder, out: torch.Tensor, x: Value, y: Value, z: Value, value: float = 1) -> Value:
    require(out.dtype.is_floating_point, "division of integers")
    x, y, z = _promoted(b, out, x, y, z)
    return b.add(x, b.mul(b.div(y, z), _number(value, out.dtype)))


@rule(aten.lerp.Scalar, aten.lerp.Tensor)
def _lerp(b: Builder, out: torch.Tensor, x: Value, y: Value, weight: Operand) -> Value:
    x, y, weight = _promoted(b, out, x, y, weight)
    require(not isinstance(weight, float) or abs(weight) < 0.5, "lerp from the far end")
    require(isinstance(weight, float), "lerp with a tensor of weights")
    return b.add(x, b.mul(b.sub(y, x), weight))


@rule("prims.fma.default")
def _fma(b: Builder, out: torch.Tensor, x: Value, y: Operand, z: Operand) -> Value:
    x, y, z = _promoted(b, out, x, y, z)
    return b.add(b.mul(x, y), z)


@rule(aten.copy.default)
def _copy(b: Builder, out: torch.Tensor, x: Value, source: Value) -> Value:
    return b.expand(b.cast(source, x.dtype), x.shape)


# --- comparisons and logic ---

def _compared(b: Builder, x: Operand, y: Operand) -> list[Operand]:
    tensors = [v for v in (x, y) if isinstance(v, Value)]
    samples = [torch.empty((1,) * min(v.rank, 1), dtype=v.dtype) if isinstance(v, Value) else v for v in (x, y)]
    dtype = torch.result_type(*samples)
    require(dtype in DTYPES, f"dtype {dtype} is not supported")
    if len(tensors) == 1 and not dtype.is_floating_point:
        require(all(isinstance(v, Value) or float(v).is_integer() for v in (x, y)), "a fractional literal for integers")
    return [b.cast(v, dtype) if isinstance(v, Value) else b.full([], _number(v, dtype), dtype) for v in (x, y)]


for _name, _op in {"eq": "eq", "lt": "lt", "gt": "gt"}.items():
    @rule(getattr(aten, _name).Tensor, getattr(aten, _name).Scalar)
    def _compare(b: Builder, out: torch.Tensor, x: Operand, y: Operand, op: str = _op) -> Value:
        return b.compare(op, *_compared(b, x, y))


@rule(aten.ne.Tensor, aten.ne.Scalar)
def _ne(b: Builder, out: torch.Tensor, x: Operand, y: Operand) -> Value:
    return b.negate(b.compare("eq", *_compared(b, x, y)))


for _name, _op in {"le": "lt", "ge": "gt"}.items():
    @rule(getattr(aten, _name).Tensor, getattr(aten, _name).Scalar)
    def _compare_or_equal(b: Builder, out: torch.Tensor, x: Operand, y: Operand, op: str = _op) -> Value:
        x, y = _compared(b, x, y)
        strict, equal = b.compare(op, x, y), b.compare("eq", x, y)
        return b.where(strict, strict, equal, torch.bool)


@rule(aten.logical_not.default)
def _logical_not(b: Builder, out: torch.Tensor, x: Value) -> Value:
    return b.compare("eq", x, b.full([], 0, x.dtype))


@rule(aten.bitwise_not.default)
def _bitwise_not(b: Builder, out: torch.Tensor, x: Value) -> Value:
    require(x.dtype == torch.bool, "bits of integers")
    return b.negate(x)


def _truth(b: Builder, x: Value) -> Value:
    return x if x.dtype == torch.bool else b.negate(b.compare("eq", x, b.full([], 0, x.dtype)))


@rule(aten.logical_and.default)
def _logical_and(b: Builder, out: torch.Tensor, x: Value, y: Value) -> Value:
    return _and(b, out, _truth(b, x), _truth(b, y))


@rule(aten.logical_or.default)
def _logical_or(b: Builder, out: torch.Tensor, x: Value, y: Value) -> Value:
    return _or(b, out, _truth(b, x), _truth(b, y))


@rule(aten.bitwise_and.Tensor)
def _and(b: Builder, out: torch.Tensor, x: Value, y: Value) -> Value:
    require(x.dtype == y.dtype == torch.bool, "bits of integers")
    return b.where(x, y, b.full([], 0, torch.bool), torch.bool)


@rule(aten.bitwise_or.Tensor)
def _or(b: Builder, out: torch.Tensor, x: Value, y: Value) -> Value:
    require(x.dtype == y.dtype == torch.bool, "bits of integers")
    return b.where(x, b.full([], 1, torch.bool), y, torch.bool)


@rule(aten.where.self)
def _where(b: Builder, out: torch.Tensor, condition: Value, x: Value, y: Value) -> Value:
    require(condition.dtype == torch.bool, "a condition that is not boolean")
    return b.where(condition, b.cast(x, out.dtype), b.cast(y, out.dtype), out.dtype)


@rule(aten.masked_fill.Scalar)
def _masked_fill(b: Builder, out: torch.Tensor, x: Value, mask: Value, value: float) -> Value:
    return b.where(mask, _fill(b, out, value), x, out.dtype)


@rule(aten.masked_fill.Tensor)
def _masked_fill_tensor(b: Builder, out: torch.Tensor, x: Value, mask: Value, value: Value) -> Value:
    return b.where(mask, b.cast(value, out.dtype), x, out.dtype)


def _fill(b: Builder, out: torch.Tensor, value: float) -> Value:
    """A scalar of any value, infinities too."""
    if out.dtype.is_floating_point and math.isinf(value):
        one = b.full([], math.copysign(1.0, value), out.dtype)
        return b.div(one, b.full([], 0.0, out.dtype))
    return b.full([], _number(value, out.dtype), out.dtype)


# --- constants and copies ---

@rule(aten.full.default)
def _full(b: Builder, out: torch.Tensor, size: Any, value: float, **_: Any) -> Value:
    return b.expand(_fill(b, out, value), out.shape)


@rule(aten.full_like.default)
def _full_like(b: Builder, out: torch.Tensor, x: Value, value: float, **_: Any) -> Value:
    return b.expand(_fill(b, out, value), out.shape)


@rule(aten.zeros.default, aten.zeros_like.default, aten.new_zeros.default)
def _zeros(b: Builder, out: torch.Tensor, *_: Any, **__: Any) -> Value:
    return b.full(out.shape, 0, out.dtype)


@rule(aten.ones.default, aten.ones_like.default, aten.new_ones.default)
def _ones(b: Builder, out: torch.Tensor, *_: Any, **__: Any) -> Value:
    return b.full(out.shape, 1, out.dtype)


@rule(aten.scalar_tensor.default)
def _scalar_tensor(b: Builder, out: torch.Tensor, value: float, **_: Any) -> Value:
    return _fill(b, out, value)


@rule(aten._to_copy.default, prims.convert_element_type.default)
def _to_copy(b: Builder, out: torch.Tensor, x: Value, *_: Any, **__: Any) -> Value:
    require(out.dtype == x.dtype or not (x.is_float and out.dtype == torch.uint8), "floats as unsigned integers")
    return b.cast(x, out.dtype) if out.dtype != x.dtype else b.op("contiguous", x)


@rule(aten.clone.default, aten.lift_fresh_copy.default)
@rule(aten.alias.default, view=True)
def _same(b: Builder, out: torch.Tensor, x: Value, **_: Any) -> Value:
    return b.op("contiguous", x)


# --- activations and their gradients ---

@rule(aten.clamp.default, aten.hardtanh.default)
def _clamp(b: Builder, out: torch.Tensor, x: Value, low: float | None = None, high: float | None = None) -> Value:
    if low is None and high is None:
        low, high = -1, 1
    x = b.cast(x, out.dtype)
    return b.op("clamp", x, **{k: _number(v, out.dtype) for k, v in {"min": low, "max": high}.items() if v is not None})


@rule(aten.clamp_min.default)
def _clamp_min(b: Builder, out: torch.Tensor, x: Value, low: float) -> Value:
    return _clamp(b, out, x, low)


@rule(aten.clamp_max.default)
def _clamp_max(b: Builder, out: torch.Tensor, x: Value, high: float) -> Value:
    return _clamp(b, out, x, None, high)


@rule(aten.hardtanh_backward.default)
def _hardtanh_backward(b: Builder, out: torch.Tensor, dy: Value, x: Value, low: float, high: float) -> Value:
    inside = b.where(b.compare("gt", x, float(low)), b.compare("lt", x, float(high)), b.full([], 0, torch.bool), torch.bool)
    return b.where(inside, dy, b.full([], 0, dy.dtype), dy.dtype)


@rule(aten.gelu.default)
def _gelu(b: Builder, out: torch.Tensor, x: Value, approximate: str = "none") -> Value:
    return b.op("gelu", x, approximate=approximate)


@rule(aten.gelu_backward.default)
def _gelu_backward(b: Builder, out: torch.Tensor, dy: Value, x: Value, approximate: str = "none") -> Value:
    return b.op("gelu_backward", dy, x, approximate=approximate, wanted=[0])


@rule(aten.silu_backward.default)
def _silu_backward(b: Builder, out: torch.Tensor, dy: Value, x: Value) -> Value:
    return b.op("silu_backward", dy, x, wanted=[0])


@rule(aten.threshold_backward.default)
def _threshold_backward(b: Builder, out: torch.Tensor, dy: Value, x: Value, threshold: float) -> Value:
    dropped = _compare_or_equal_number(b, "lt", x, threshold)
    return b.where(dropped, b.full([], 0, dy.dtype), dy, dy.dtype)


def _compare_or_equal_number(b: Builder, op: str, x: Value, number: float) -> Value:
    limit = b.full([], number, x.dtype)
    strict = b.compare(op, x, limit)
    return b.where(strict, strict, b.compare("eq", x, limit), torch.bool)


@rule(aten.tanh_backward.default)
def _tanh_backward(b: Builder, out: torch.Tensor, dy: Value, y: Value) -> Value:
    dy, y = _computed(b, out, dy), _computed(b, out, y)
    return b.cast(b.mul(dy, b.sub(1.0, b.mul(y, y))), out.dtype)


@rule(aten.sigmoid_backward.default)
def _sigmoid_backward(b: Builder, out: torch.Tensor, dy: Value, y: Value) -> Value:
    dy, y = _computed(b, out, dy), _computed(b, out, y)
    return b.cast(b.mul(dy, b.mul(b.sub(1.0, y), y)), out.dtype)


@rule(aten.leaky_relu.default)
def _leaky_relu(b: Builder, out: torch.Tensor, x: Value, slope: float = 0.01) -> Value:
    return b.where(b.compare("gt", x, b.full([], 0, x.dtype)), x, b.mul(x, float(slope)), x.dtype)


@rule(aten.leaky_relu_backward.default)
def _leaky_relu_backward(b: Builder, out: torch.Tensor, dy: Value, x: Value, slope: float, _is_result: bool) -> Value:
    return b.where(b.compare("gt", x, b.full([], 0, x.dtype)), dy, b.mul(dy, float(slope)), dy.dtype)


def _hard_step(b: Builder, x: Value) -> Value:
    """min(max(x + 3, 0), 6)"""
    return b.op("clamp", b.add(x, 3.0), min=0.0, max=6.0)


@rule(aten.hardswish.default)
def _hardswish(b: Builder, out: torch.Tensor, x: Value) -> Value:
    x = _computed(b, out, x)
    return b.cast(b.mul(b.mul(x, _hard_step(b, x)), 1 / 6), out.dtype)


@rule(aten.hardsigmoid.default)
def _hardsigmoid(b: Builder, out: torch.Tensor, x: Value) -> Value:
    x = _computed(b, out, x)
    return b.cast(b.mul(_hard_step(b, x), 1 / 6), out.dtype)


@rule(aten.hardswish_backward.default)
def _hardswish_backward(b: Builder, out: torch.Tensor, dy: Value, x: Value) -> Value:
    dy, x = _computed(b, out, dy), _computed(b, out, x)
    inside = b.mul(dy, b.add(b.mul(x, 1 / 3), 0.5))
    above = b.where(b.compare("lt", x, 3.0), inside, dy, dy.dtype)
    return b.cast(b.where(_compare_or_equal_number(b, "lt", x, -3.0), b.full([], 0, dy.dtype), above, dy.dtype), out.dtype)


@rule(aten.hardsigmoid_backward.default)
def _hardsigmoid_backward(b: Builder, out: torch.Tensor, dy: Value, x: Value) -> Value:
    dy, x = _computed(b, out, dy), _computed(b, out, x)
    inside = b.where(b.compare("gt", x, -3.0), b.compare("lt", x, 3.0), b.full([], 0, torch.bool), torch.bool)
    return b.cast(b.where(inside, b.mul(dy, 1 / 6), b.full([], 0, dy.dtype), dy.dtype), out.dtype)


@rule(aten.native_dropout_backward.default)
def _native_dropout_backward(b: Builder, out: torch.Tensor, dy: Value, mask: Value, scale: float) -> Value:
    return b.where(mask, b.mul(dy, float(scale)), b.full([], 0, dy.dtype), dy.dtype)
