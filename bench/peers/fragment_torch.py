"""Computes fragments ("athanor.fragment/1", as parsed JSON) with PyTorch: an oracle that shares no code with Athanor."""
import math
from typing import Callable

import numpy as np
import torch
import torch.nn.functional as F

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16, "f64": torch.float64,
          "i32": torch.int32, "i64": torch.int64, "u8": torch.uint8, "bool": torch.bool}
FLOATS = ("f32", "bf16", "f16", "f64")
TENSOR_OPERANDS = {"maximum", "minimum", "eq", "lt", "gt", "where"}       # these take no Python numbers in every position
OF_TORCH = {"add", "sub", "mul", "div", "neg", "abs", "exp", "log", "sqrt", "rsqrt", "pow", "tanh", "erf", "sigmoid", "relu",
            "maximum", "minimum", "where", "eq", "lt", "gt", "clamp", "sum", "mean", "amax", "matmul", "tril",
            "softmax", "log_softmax"}
OF_TENSOR = {"transpose", "flatten", "unsqueeze", "contiguous", "select", "narrow", "unbind", "split", "chunk"}
OF_FUNCTIONAL = {"gelu", "silu", "linear", "conv2d", "embedding", "cross_entropy", "nll_loss",
                 "mse_loss", "one_hot", "conv_transpose2d", "max_pool2d", "avg_pool2d", "unfold"}


def _adamw(inputs: list[torch.Tensor], attrs: dict) -> list[torch.Tensor]:
    step, lr, *tensors = inputs
    groups = [tensors[i:i + 4] for i in range(0, len(tensors), 4)]
    decay = attrs.get("decay") or [1] * len(groups)
    results = []
    for (param, grad, exp_avg, exp_avg_sq), decays in zip(groups, decay):
        param = torch.nn.Parameter(param.detach().clone())
        optimizer = torch.optim.AdamW([param], lr=float(lr), betas=(attrs.get("beta1", 0.9), attrs.get("beta2", 0.999)),
                                      eps=attrs.get("eps", 1e-8), weight_decay=attrs.get("weight_decay", 0.01) * decays)
        param.grad = grad.detach().clone()
        optimizer.state[param] = {"step": torch.tensor(float(step) - 1), "exp_avg": exp_avg.detach().clone(),
                                  "exp_avg_sq": exp_avg_sq.detach().clone()}
        optimizer.step()
        results += [param.detach(), optimizer.state[param]["exp_avg"], optimizer.state[param]["exp_avg_sq"]]
    return results


def _sgd(inputs: list[torch.Tensor], attrs: dict) -> list[torch.Tensor]:
    lr, *tensors = inputs
    momentum = attrs.get("momentum", 0.0)
    width = 3 if momentum else 2
    groups = [tensors[i:i + width] for i in range(0, len(tensors), width)]
    decay = attrs.get("decay") or [1] * len(groups)
    results = []
    for (param, grad, *buffer), decays in zip(groups, decay):
        param = torch.nn.Parameter(param.detach().clone())
        optimizer = torch.optim.SGD([param], lr=float(lr), momentum=momentum, nesterov=attrs.get("nesterov", False),
                                    weight_decay=attrs.get("weight_decay", 0.0) * decays)
        param.grad = grad.detach().clone()
        if momentum:
            optimizer.state[param]["momentum_buffer"] = buffer[0].detach().clone()
        optimizer.step()
        results += [param.detach()] + ([optimizer.state[param]["momentum_buffer"]] if momentum else [])
    return results


def _batch_norm(inputs: list, attrs: dict) -> list[torch.Tensor]:
    """Changes nothing in place: what PyTorch writes into the running statistics are outputs."""
    x, mean, var, *affine = [*inputs, None, None][:max(3, len(inputs))]
    if mean is None or not attrs.get("training", False):
        return [F.batch_norm(x, mean, var, *affine, **attrs)]
    mean, var = mean.detach().clone(), var.detach().clone()
    return [F.batch_norm(x, mean, var, *affine, **attrs), mean, var]


def _attention(inputs: list, attrs: dict):
    """scaled_dot_product_attention; the window and the lengths of keys, which PyTorch lacks, as a mask."""
    attrs, inputs = dict(attrs), inputs + [None] * (5 - len(inputs))
    left, right = attrs.pop("window", (-1, -1))
    query, key, value, mask, lengths = inputs
    if (left, right) != (-1, -1) or lengths is not None:
        if attrs.pop("is_causal", False):
            right = 0
        distance = torch.arange(key.shape[-2])[None, :] - torch.arange(query.shape[-2])[:, None]
        seen = torch.ones_like(distance, dtype=torch.bool)
        if left >= 0:
            seen = seen & (distance >= -left)
        if right >= 0:
            seen = seen & (distance <= right)
        if lengths is not None:
            seen = seen & (torch.arange(key.shape[-2]) < lengths.reshape(-1, 1, 1, 1))
        if mask is None or mask.dtype == torch.bool:
            mask = seen if mask is None else seen & mask
        else:
            mask = torch.where(seen, mask, float("-inf"))
    return F.scaled_dot_product_attention(query, key, value, mask, **attrs)


def _rope(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, positions: torch.Tensor | None = None, interleaved: bool = False) -> torch.Tensor:
    """By complex numbers: a pair turned by an angle is a product."""
    pairs = cos.shape[1]
    turn = torch.complex(cos.double(), sin.double())
    turn = turn[:x.shape[-2]] if positions is None else turn[positions.long()]
    part = x[..., :2 * pairs].double()
    first, second = (part[..., 0::2], part[..., 1::2]) if interleaved else (part[..., :pairs], part[..., pairs:])
    turned = torch.complex(first, second) * turn
    both = torch.stack([turned.real, turned.imag], -1).flatten(-2) if interleaved else torch.cat([turned.real, turned.imag], -1)
    return torch.cat([both.to(x.dtype), x[..., 2 * pairs:]], -1)


def _kv_append(cache: torch.Tensor, entries: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    result = []
    for sequence, new, length in zip(cache, entries, lengths.expand(cache.shape[0]).tolist()):
        result.append(torch.cat([sequence[:, :length], new, sequence[:, length + new.shape[1]:]], 1))
    return torch.stack(result)


def philox(index: np.ndarray, seed: int, offset: int) -> np.ndarray:
    """Philox4x32-10: word `index % 4` of counter `index / 4` of the stream `offset` under the key `seed`."""
    low32 = np.uint64(0xFFFFFFFF)
    block = index.astype(np.uint64) // np.uint64(4)
    c = [block & low32, block >> np.uint64(32), np.full_like(block, offset & 0xFFFFFFFF), np.full_like(block, offset >> 32 & 0xFFFFFFFF)]
    for r in range(10):
        low, high = (np.uint64((seed >> shift) + r * step & 0xFFFFFFFF) for shift, step in ((0, 0x9E3779B9), (32, 0xBB67AE85)))
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [b >> np.uint64(32) ^ c[1] ^ low, b & low32, a >> np.uint64(32) ^ c[3] ^ high, a & low32]
    return np.choose(index % 4, c)


def _dropout(x: torch.Tensor, seed: torch.Tensor, offset: torch.Tensor | int = 0, p: float = 0.5, training: bool = True) -> torch.Tensor:
    """F.dropout with our mask."""
    if p in (0, 1) or not training:
        return F.dropout(x, p, training)
    words = philox(np.arange(x.numel()), int(seed), int(offset)).reshape(tuple(x.shape))
    mask = torch.from_numpy(words >= round(p * 2**32))
    return (x.to(torch.float64) * mask / (1 - p)).to(x.dtype)


def apply(op: str, inputs: list, attrs: dict):
    """One node: tensors, numbers and None in, a tensor or a sequence of tensors out."""
    if op in TENSOR_OPERANDS:
        dtype = next(x.dtype for x in reversed(inputs) if isinstance(x, torch.Tensor))
        inputs = [x if isinstance(x, torch.Tensor) else torch.tensor(x, dtype=dtype) for x in inputs]
    if op in OF_TORCH:
        return getattr(torch, op)(*inputs, **attrs)
    if op in OF_TENSOR:
        return getattr(inputs[0], op)(**attrs)
    if op in OF_FUNCTIONAL:
        return getattr(F, op)(*inputs, **attrs)
    if op in ("layer_norm", "rms_norm"):
        attrs = dict(attrs)
        return getattr(F, op)(inputs[0], attrs.pop("normalized_shape"), *inputs[1:], **attrs)
    if op == "group_norm":
        attrs = dict(attrs)
        return F.group_norm(inputs[0], attrs.pop("num_groups"), *inputs[1:], **attrs)
    special: dict[str, Callable] = {
        "cast": lambda: inputs[0].to(DTYPES[attrs["dtype"]]),
        "reshape": lambda: inputs[0].reshape(attrs["shape"]),
        "permute": lambda: inputs[0].permute(attrs["dims"]),
        "expand": lambda: inputs[0].expand(attrs["size"]),
        "squeeze": lambda: inputs[0].squeeze(tuple(np.atleast_1d(attrs["dim"]).tolist())) if "dim" in attrs else inputs[0].squeeze(),
        "slice": lambda: inputs[0][(slice(None),) * (attrs.get("dim", 0) % inputs[0].ndim)
                                   + (slice(attrs.get("start"), attrs.get("end"), attrs.get("step", 1)),)],
        "index_select": lambda: torch.index_select(inputs[0], attrs["dim"], inputs[1]),
        "gather": lambda: torch.gather(inputs[0], attrs["dim"], inputs[1]),
        "cat": lambda: torch.cat(inputs, **attrs),
        "pad": lambda: F.pad(inputs[0], attrs["pad"], attrs.get("mode", "constant"), attrs.get("value", 0.0)),
        "dropout": lambda: _dropout(*inputs, **attrs),
        "rope": lambda: _rope(*inputs, **attrs),
        "kv_append": lambda: _kv_append(*inputs),
        "batch_norm": lambda: _batch_norm(inputs, attrs),
        "adamw": lambda: _adamw(inputs, attrs),
        "scaled_dot_product_attention": lambda: _attention(inputs, attrs),
        "sgd": lambda: _sgd(inputs, attrs),
    }
    if op not in special:
        raise ValueError(f"the oracle does not know the op {op}")
    return special[op]()


def evaluate(fragment: dict, inputs: dict[str, torch.Tensor], visit: Callable | None = None, disturb: Callable | None = None) -> dict[str, torch.Tensor]:
    """The outputs by name. `visit(node, values)` is called before each node; what `disturb(node, result)` makes of its result goes on."""
    values = dict(inputs)
    for node in fragment["nodes"]:
        if visit:
            visit(node, values)
        operands = [values[x] if isinstance(x, str) else x for x in node["inputs"]]
        result = apply(node["op"], operands, node.get("attrs", {}))
        if disturb:
            result = disturb(node, result)
        values.update(zip(node["outputs"], result if isinstance(result, (tuple, list)) else [result], strict=True))
    return {name: values[name] for name in fragment["outputs"]}


def evaluate_with_gradients(fragment: dict, inputs: dict[str, torch.Tensor],
                            output_gradients: dict[str, torch.Tensor], disturb: Callable | None = None) -> dict[str, torch.Tensor]:
    """The outputs, and grad.NAME for each input that asks for its gradient."""
    wanted = [x["name"] for x in fragment["inputs"] if x.get("grad")]
    inputs = {name: x.detach().clone().requires_grad_(name in wanted) for name, x in inputs.items()}
    outputs = evaluate(fragment, inputs, disturb=disturb)
    reached = [name for name, y in outputs.items() if y.requires_grad]
    gradients = [None] * len(wanted)
    if reached and wanted:
        gradients = torch.autograd.grad([outputs[n] for n in reached], [inputs[n] for n in wanted],
                                        [output_gradients[n].to(outputs[n].dtype) for n in reached], allow_unused=True)
    results = {name: y.detach() for name, y in outputs.items()}
    for name, gradient in zip(wanted, gradients):
        results["grad." + name] = torch.zeros_like(inputs[name]) if gradient is None else gradient
    return results


def index_bounds(fragment: dict) -> dict[str, int]:
    """For each integer input that picks rows, directly or through views, how many rows there are."""
    source = {x["name"]: x["name"] for x in fragment["inputs"]}
    bounds: dict[str, int] = {}

    def visit(node: dict, values: dict) -> None:
        op, names, attrs = node["op"], node["inputs"], node.get("attrs", {})
        rows = None
        if op == "embedding":
            rows = (names[0], values[names[1]].shape[0])
        elif op in ("cross_entropy", "nll_loss"):
            rows = (names[1], values[names[0]].shape[1 if values[names[0]].ndim > 1 else 0])
        elif op in ("index_select", "gather"):
            rows = (names[1], values[names[0]].shape[attrs["dim"]])
        elif op == "one_hot":
            rows = (names[0], attrs["num_classes"])
        elif op == "rope" and len(names) > 3:
            rows = (names[3], values[names[1]].shape[0])
        if rows and rows[0] in source:
            bounds[source[rows[0]]] = min(rows[1], bounds.get(source[rows[0]], rows[1]))
        if op in ("reshape", "flatten", "contiguous", "cast", "transpose", "unsqueeze", "squeeze") and names[0] in source:
            source[node["outputs"][0]] = source[names[0]]

    plain = {x["name"]: torch.full(x["shape"], float(x["dtype"] in FLOATS), dtype=DTYPES[x["dtype"]]) for x in fragment["inputs"]}
    evaluate(fragment, plain, visit)
    return bounds


def random_inputs(fragment: dict, ranges: dict[str, tuple[float, float]], seed: int) -> dict[str, torch.Tensor]:
    """Standard normal data, weights scaled by their fan-in, unless `ranges` names an interval; indices within their bounds. Tensors have the strides
    that the fragment gives them."""
    random = np.random.default_rng(seed)
    bounds = index_bounds(fragment)
    tensors = {}
    for given in fragment["inputs"]:
        name, dtype, shape, strides = given["name"], DTYPES[given["dtype"]], given["shape"], given.get("strides")
        weight = name.endswith("weight") and len(shape) > 1
        scale = 1 / math.sqrt(math.prod(shape[1:])) if weight else 1
        if strides:
            shape = [1 + sum((n - 1) * s for n, s in zip(shape, strides))] if math.prod(shape) else [0]
        if name in ranges:
            data = random.uniform(*ranges[name], shape)
            data = data if dtype.is_floating_point else np.floor(data)
        elif dtype.is_floating_point:
            data = random.standard_normal(shape) * scale
        else:
            data = random.integers(0, bounds.get(name, 2 if dtype == torch.bool else 5), shape)
        memory = torch.from_numpy(np.array(data)).to(dtype)
        tensors[name] = memory.as_strided(given["shape"], strides) if strides else memory
    return tensors


def to_numpy(x: torch.Tensor) -> np.ndarray:
    """bf16 and f16 travel as their bits."""
    x = x.detach().contiguous()
    return x.view(torch.int16).numpy().view(np.uint16) if x.dtype in (torch.bfloat16, torch.float16) else x.numpy()


def from_numpy(x: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    if dtype in (torch.bfloat16, torch.float16):
        if x.dtype != np.uint16:
            raise ValueError(f"dtype {x.dtype}, expected uint16 bits of {dtype}")
        return torch.from_numpy(x.view(np.int16).copy()).view(dtype)
    return torch.from_numpy(np.array(x))
