"""Small fragments of one op each (a few of several), at odd shapes, to be compared with PyTorch."""
from dataclasses import dataclass, field

from fragment_torch import FLOATS



@dataclass
class Case:
    fragment: dict
    ranges: dict = field(default_factory=dict)   # of inputs that need another than standard normal data
    reference_only: bool = False                 # the op can't be compiled yet
    rounded: bool = False                        # inputs are whole numbers: many are equal
    allowed: float = 2                           # times PyTorch's own error

    @property
    def name(self) -> str:
        return self.fragment["name"]


class Table:
    """Collects cases; FLOAT in an input's dtype stands for the dtype under test."""

    def __init__(self, dtype: str):
        self.dtype = dtype
        self.cases: list[Case] = []

    def input(self, name: str, shape: list[int], dtype: str | None = None, **more) -> dict:
        dtype = dtype or self.dtype
        return {"name": name, "dtype": dtype, "shape": shape, **({"grad": True} if dtype in FLOATS else {}), **more}

    def add(self, name: str, op: str, shapes: list, outputs: int = 1, ranges: tuple | None = None, reference_only: bool = False, **attrs):
        """One op. Each of `shapes` is a shape, an input made by input(), a number, or None."""
        inputs, operands = [], []
        for i, shape in enumerate(shapes):
            given = shape if isinstance(shape, dict) else self.input(f"i{i}", shape) if isinstance(shape, list) else None
            if given:
                inputs.append(given)
            operands.append(given["name"] if given else shape)
        names = [f"y{i}" for i in range(outputs)]
        node = {"op": op, "inputs": operands, "outputs": names, "attrs": attrs}
        fragment = {"format": "athanor.fragment/1", "name": name, "inputs": inputs, "nodes": [node], "outputs": names}
        self.cases.append(Case(fragment, {x["name"]: ranges for x in inputs} if ranges else {}, reference_only))


def _pointwise(t: Table) -> None:
    for op in ("neg", "abs", "exp", "tanh", "erf", "sigmoid", "relu", "silu", "gelu"):
        t.add(f"{op}", op, [[3, 37]])
    t.add("gelu_tanh", "gelu", [[5, 19]], approximate="tanh")
    for op in ("log", "sqrt", "rsqrt"):
        t.add(op, op, [[67]], ranges=(0.1, 4))
    for op in ("add", "sub", "mul", "maximum", "minimum"):
        t.add(f"{op}_row", op, [[3, 17], [17]])
        t.add(f"{op}_outer", op, [[5, 1, 3], [1, 33, 1]])
        t.add(f"{op}_number", op, [[2, 31], 0.5])
        t.add(f"{op}_scalar", op, [[], [4, 3]])
    t.add("add_alpha", "add", [[3, 17], [17]], alpha=2.5)
    t.add("sub_alpha", "sub", [[17], [3, 17]], alpha=3)
    t.add("div_row", "div", [[3, 17], [17]], ranges=(0.5, 2))
    t.add("pow_row", "pow", [[3, 17], [17]], ranges=(0.3, 2))
    t.add("pow_cube", "pow", [[3, 17], 3])
    t.add("where", "where", [t.input("c", [3, 1], "bool"), [17], [2, 3, 17]])
    t.add("where_number", "where", [t.input("c", [3, 17], "bool"), [17], 0.25])
    t.add("clamp", "clamp", [[3, 17]], min=-0.5, max=1)
    t.add("clamp_min", "clamp", [[3, 17]], min=0.25)
    t.add("clamp_tensors", "clamp", [[3, 17], [17], [3, 1]])
    for op in ("eq", "lt", "gt"):
        t.add(op, op, [t.input("a", [3, 17], "i64"), t.input("b", [17], "i64")])
    t.add("lt_float", "lt", [[3, 17], [3, 1]])
    for dtype in ("f64", "f32", "bf16", "i32", "u8", "bool"):
        t.add(f"cast_{dtype}", "cast", [[3, 17]], ranges=(0, 9), dtype=dtype)
    t.add("add_strided", "add", [t.input("a", [5, 7], strides=[1, 5]), t.input("b", [5, 7], strides=[14, 2])])
    t.add("add_empty", "add", [[0, 3], [3]])
    if t.dtype == "f32":
        t.add("add_promotes", "add", [t.input("a", [3, 5], "i32"), [5]])
        t.add("div_integers", "div", [t.input("a", [3, 5], "i64"), t.input("b", [5], "i64")], ranges=(1, 9))


def _reductions(t: Table) -> None:
    for op in ("sum", "mean", "amax"):
        t.add(f"{op}_all", op, [[3, 37]])
        t.add(f"{op}_rows", op, [[5, 131]], dim=[-1], keepdim=True)
        t.add(f"{op}_columns", op, [[131, 5]], dim=[0])
        t.add(f"{op}_middle", op, [[3, 7, 5]], dim=[1])
        t.add(f"{op}_outer", op, [[3, 7, 5]], dim=[0, -1])
    t.add("sum_integers", "sum", [t.input("a", [3, 17], "i64")], dim=[1])
    t.add("sum_booleans", "sum", [t.input("a", [3, 17], "bool")])
    t.add("sum_nothing", "sum", [[2, 0, 3]], dim=[1])
    for op in ("softmax", "log_softmax"):
        t.add(f"{op}_rows", op, [[5, 67]], dim=-1)
        t.add(f"{op}_middle", op, [[3, 9, 5]], dim=1)


def _views(t: Table) -> None:
    t.add("reshape", "reshape", [[4, 6, 5]], shape=[3, -1, 2])
    t.add("permute", "permute", [[5, 17, 33]], dims=[2, 0, 1])
    t.add("transpose", "transpose", [[2, 19, 35]], dim0=1, dim1=-1)
    t.add("flatten", "flatten", [[2, 3, 5]], start_dim=1, end_dim=-1)
    t.add("unsqueeze", "unsqueeze", [[2, 3]], dim=-1)
    t.add("squeeze", "squeeze", [[1, 3, 1]])
    t.add("squeeze_dim", "squeeze", [[1, 3, 1]], dim=0)
    t.add("select", "select", [[3, 4, 5]], dim=1, index=-2)
    t.add("slice", "slice", [[3, 17]], dim=1, start=1, end=-1, step=3)
    t.add("slice_end", "slice", [[17, 3]], dim=0, start=-5)
    t.add("narrow", "narrow", [[3, 17]], dim=1, start=2, length=5)
    t.add("unbind", "unbind", [[3, 4, 5]], outputs=3, dim=0)
    t.add("split", "split", [[2, 17]], outputs=3, split_size=7, dim=1)
    t.add("split_list", "split", [[6, 2]], outputs=3, split_size=[1, 2, 3], dim=0)
    t.add("chunk", "chunk", [[7, 2]], outputs=3, chunks=3, dim=0)
    t.add("expand", "expand", [[3, 1]], size=[2, -1, 4])
    t.add("contiguous", "contiguous", [t.input("a", [5, 7], strides=[1, 5])])
    t.add("cat", "cat", [[2, 3, 5], [2, 1, 5], [2, 7, 5]], dim=1)
    t.add("cat_last", "cat", [[3, 5], [3, 2]], dim=-1)
    t.add("tril", "tril", [[2, 7, 5]])
    t.add("tril_below", "tril", [[7, 5]], diagonal=-2)


def _norms_and_products(t: Table) -> None:
    t.add("layer_norm", "layer_norm", [[3, 5, 67], [67], [67]], normalized_shape=[67], eps=1e-5)
    t.add("layer_norm_two_dims", "layer_norm", [[3, 5, 7], [5, 7]], normalized_shape=[5, 7])
    t.add("layer_norm_plain", "layer_norm", [[9, 33]], normalized_shape=[33])
    t.add("rms_norm", "rms_norm", [[3, 67], [67]], normalized_shape=[67], eps=1e-6)
    t.add("matmul", "matmul", [[13, 37], [37, 21]])
    t.add("matmul_batched", "matmul", [[2, 1, 7, 19], [3, 19, 5]])
    t.add("matmul_vectors", "matmul", [[37], [37]])
    t.add("matmul_vector_left", "matmul", [[19], [3, 19, 5]])
    t.add("matmul_vector_right", "matmul", [[3, 5, 19], [19]])
    t.add("matmul_transposed", "matmul", [t.input("a", [13, 37], strides=[1, 13]), [37, 21]])
    t.add("linear", "linear", [[3, 5, 35], t.input("weight", [17, 35]), [17]])
    t.add("linear_no_bias", "linear", [[35], t.input("weight", [17, 35])])
    t.add("conv2d_patches", "conv2d", [[2, 3, 8, 12], t.input("weight", [5, 3, 4, 4]), [5]], stride=[4, 4])
    t.add("conv2d_pointwise", "conv2d", [[2, 6, 5, 7], t.input("weight", [9, 6, 1, 1])])
    for name, x, weight, attrs in [
            ("same", [2, 3, 9, 11], [5, 3, 3, 3], {"padding": [1, 1]}),
            ("strided", [2, 3, 9, 11], [5, 3, 3, 2], {"stride": [2, 2], "padding": [1, 0]}),
            ("dilated", [2, 4, 13, 17], [6, 4, 5, 3], {"stride": [3, 2], "padding": [2, 1], "dilation": [2, 1]}),
            ("large", [2, 4, 24, 24], [6, 4, 3, 3], {"padding": [1, 1]}),
            ("downsample", [3, 8, 7, 7], [16, 8, 1, 1], {"stride": [2, 2]}),
            ("stem", [1, 3, 32, 32], [8, 3, 7, 7], {"stride": [2, 2], "padding": [3, 3]}),
            ("groups", [2, 4, 7, 6], [6, 2, 3, 3], {"stride": [2, 1], "padding": [1, 1], "dilation": [1, 2], "groups": 2}),
            ("depthwise", [2, 6, 15, 15], [6, 1, 3, 3], {"stride": [2, 2], "padding": [1, 1], "groups": 6})]:
        t.add(f"conv2d_{name}", "conv2d", [x, t.input("weight", weight), [weight[0]]], **attrs)


def _channel_norms(t: Table) -> None:
    vector = lambda name, channels: t.input(name, [channels], grad=False)
    for name, shape in (("images", [3, 5, 9, 7]), ("rows", [33, 5]), ("one", [1, 5, 67]), ("planes", [2, 5, 1, 130])):
        t.add(f"batch_norm_{name}", "batch_norm", [shape, None, None, [5], [5]], training=True, eps=1e-3)
        t.add(f"batch_norm_running_{name}", "batch_norm", [shape, vector("running_mean", 5), vector("running_var", 5), [5], [5]], outputs=3,
              training=True, momentum=0.3)
        t.add(f"batch_norm_eval_{name}", "batch_norm", [shape, vector("running_mean", 5), vector("running_var", 5), [5], [5]])
        t.cases[-1].ranges["running_var"] = (0.5, 2)
    t.add("batch_norm_plain", "batch_norm", [[4, 3, 11]], training=True)
    for name, shape in (("images", [2, 6, 5, 7]), ("rows", [9, 6]), ("one_sample", [1, 6, 67])):
        t.add(f"group_norm_{name}", "group_norm", [shape, [6], [6]], num_groups=2)
        t.add(f"group_norm_all_{name}", "group_norm", [shape], num_groups=1, eps=1e-3)


def _pools(t: Table) -> None:
    image = [2, 3, 17, 19]
    for name, attrs in {"2": {"kernel_size": 2}, "2_ceil": {"kernel_size": [2, 2], "ceil_mode": True},
                        "3_stride_2": {"kernel_size": 3, "stride": 2, "padding": 1}, "same": {"kernel_size": 3, "stride": 1, "padding": 1},
                        "uneven": {"kernel_size": [2, 3], "stride": [3, 2], "padding": [0, 1], "ceil_mode": True},
                        "wide": {"kernel_size": 7, "stride": 1, "padding": 3}, "gaps": {"kernel_size": [1, 2], "stride": 4},
                        "everything": {"kernel_size": [17, 19]}}.items():
        t.add(f"max_pool2d_{name}", "max_pool2d", [image], **attrs)
        t.add(f"avg_pool2d_{name}", "avg_pool2d", [image], **attrs)
        t.add(f"avg_pool2d_inside_{name}", "avg_pool2d", [image], count_include_pad=False, **attrs)
    t.add("max_pool2d_dilated", "max_pool2d", [image], kernel_size=[3, 4], stride=2, padding=[1, 2], dilation=[1, 3])
    t.add("max_pool2d_whole_phases", "max_pool2d", [[2, 3, 32, 64]], kernel_size=3, stride=2, padding=1)
    t.add("max_pool2d_ties", "max_pool2d", [t.input("x", [2, 3, 16, 18])], ranges=(-1, 1), kernel_size=3, stride=2, padding=1)
    t.cases[-1].rounded = True
    t.add("max_pool2d_no_batch", "max_pool2d", [[5, 16, 32]], kernel_size=2)
    t.add("avg_pool2d_divisor", "avg_pool2d", [[5, 16, 33]], kernel_size=3, stride=2, padding=1, divisor_override=4)


def _attention(t: Table) -> None:
    def add(name: str, *operands, **attrs) -> None:
        t.add(f"attention_{name}", "scaled_dot_product_attention", list(operands), **attrs)
        t.cases[-1].ranges["lengths"] = (0, 76)

    def boolean(*shape: int) -> dict:
        return t.input("mask", list(shape), "bool")

    qkv = [[2, 3, 17, 8], [2, 3, 17, 8], [2, 3, 17, 8]]
    cross = [[2, 4, 19, 8], [2, 4, 37, 8], [2, 4, 37, 11]]
    for causal in (False, True):
        suffix = "_causal" if causal else ""
        add(f"square{suffix}", *qkv, is_causal=causal)
        add(f"cross{suffix}", [2, 7, 5], [2, 11, 5], [2, 11, 9], is_causal=causal, scale=0.3)
        add(f"grouped{suffix}", [2, 6, 19, 8], [2, 2, 21, 8], [2, 2, 21, 8], is_causal=causal, enable_gqa=True)
        add(f"long{suffix}", [1, 2, 150, 16], [1, 2, 150, 16], [1, 2, 150, 16], is_causal=causal)
    add("boolean_19_1", *cross, boolean(19, 1))
    for shape in ([19, 37], [2, 1, 19, 37], [2, 4, 19, 37], [2, 1, 1, 37], [4, 1, 37]):
        name = "_".join(map(str, shape))
        add(f"boolean_{name}", *cross, boolean(*shape))
        add(f"added_{name}", *cross, shape)
    add("grouped_mask", [2, 6, 19, 8], [2, 3, 21, 8], [2, 3, 21, 8], [2, 6, 19, 21], enable_gqa=True)
    add("shared_keys", [2, 3, 4, 5], [2, 1, 6, 5], [2, 1, 6, 7])
    add("broadcast_batch", [2, 3, 4, 5], [1, 3, 6, 5], [2, 1, 6, 7])
    add("matrix", [9, 4], [11, 4], [11, 6])
    add("five_dimensions", [2, 2, 3, 9, 4], [2, 2, 3, 5, 4], [2, 2, 3, 5, 4])
    add("no_keys", [2, 3, 4, 5], [2, 3, 0, 5], [2, 3, 0, 5])
    add("sliding", *qkv, window=[4, 0])
    add("window", *cross, window=[3, 9])
    lengths = t.input("lengths", [2], "i64")
    add("lengths", *cross, None, lengths)
    add("lengths_mask", *cross, [19, 37], lengths)
    for group in (1, 3):
        add(f"decode_{group}", [2, 6, 1, 16], [2, 6 // group, 75, 16], [2, 6 // group, 75, 16], enable_gqa=group > 1)
        add(f"decode_lengths_{group}", [2, 6, 1, 16], [2, 6 // group, 75, 16], [2, 6 // group, 75, 16], None, lengths, enable_gqa=group > 1)


def _edges_and_windows(t: Table) -> None:
    image = [2, 3, 7, 19]
    t.add("pad", "pad", [image], pad=[2, 1, 0, 3], value=-1.5)
    t.add("pad_all", "pad", [image], pad=[1, 0, 1, 2, 0, 1, 2, 0])
    t.add("pad_crop", "pad", [image], pad=[-2, 1, 1, -3])
    t.add("pad_integers", "pad", [t.input("i", [3, 17], "i64")], pad=[1, 2], value=7)
    for mode in ("reflect", "replicate", "circular"):
        t.add(f"pad_{mode}", "pad", [image], pad=[3, 2, 1, 6], mode=mode)
        t.add(f"pad_{mode}_one_side", "pad", [[3, 17]], pad=[0, 5], mode=mode)
    t.add("unfold", "unfold", [image], kernel_size=3, padding=1)
    t.add("unfold_stride", "unfold", [image], kernel_size=[3, 2], stride=[2, 3], padding=[0, 1])
    t.add("unfold_dilated", "unfold", [image], kernel_size=[2, 4], stride=2, dilation=[3, 2])
    t.add("unfold_no_batch", "unfold", [[3, 16, 16]], kernel_size=4, stride=4)


def _sequences(t: Table) -> None:
    for layout, interleaved in (("halves", False), ("interleaved", True)):
        t.add(f"rope_{layout}", "rope", [[2, 3, 17, 16], [20, 8], [20, 8]], interleaved=interleaved)
        t.add(f"rope_{layout}_partial", "rope", [[2, 17, 13], [17, 3], [17, 3]], interleaved=interleaved)
        t.add(f"rope_{layout}_positions", "rope", [[2, 3, 5, 10], [20, 5], [20, 5], t.input("positions", [2, 1, 5], "i64")], interleaved=interleaved)
    t.add("kv_append", "kv_append", [[2, 3, 9, 17], [2, 3, 5, 17], t.input("lengths", [2], "i64")])
    t.cases[-1].ranges["lengths"] = (0, 5)
    t.add("kv_append_one", "kv_append", [[2, 3, 33, 16], [2, 3, 1, 16], t.input("lengths", [2], "i32")])
    t.cases[-1].ranges["lengths"] = (0, 33)
    t.add("kv_append_scalar", "kv_append", [[2, 3, 9, 17], [2, 3, 2, 17], t.input("lengths", [], "i64")])


def _indices_and_losses(t: Table) -> None:
    t.add("embedding", "embedding", [t.input("i", [3, 7], "i64"), [11, 13]])
    t.add("embedding_i32", "embedding", [t.input("i", [9], "i32"), [4, 5]])
    t.add("index_select", "index_select", [[5, 7, 3], t.input("i", [9], "i64")], dim=1)
    t.add("gather", "gather", [[5, 7], t.input("i", [4, 9], "i64")], dim=1)
    t.add("gather_first", "gather", [[5, 7], t.input("i", [9, 6], "i64")], dim=0)
    t.add("one_hot", "one_hot", [t.input("i", [3, 4], "i64")], num_classes=5)
    target = t.input("target", [9], "i64")
    for reduction in ("none", "mean", "sum"):
        t.add(f"cross_entropy_{reduction}", "cross_entropy", [[9, 37], target], reduction=reduction)
        t.add(f"nll_loss_{reduction}", "nll_loss", [[9, 5], target], reduction=reduction)
        t.add(f"mse_loss_{reduction}", "mse_loss", [[9, 5], [9, 5]], reduction=reduction)
    t.add("cross_entropy_ignore", "cross_entropy", [[9, 5], target], ignore_index=2)
    t.add("cross_entropy_images", "cross_entropy", [[2, 5, 3, 4], t.input("target", [2, 3, 4], "i64")])


def _optimizers(t: Table) -> None:
    scalars = [t.input("step", [], "f32", grad=False), t.input("lr", [], "f32", grad=False)]
    params = [t.input(f"{name}{i}", shape, grad=False) for i, shape in enumerate(([3, 7], [5]))
              for name in ("param", "gradient", "average", "square")]
    positive = {"step": (3, 4), "lr": (0.01, 0.02), "square0": (0, 1), "square1": (0, 1)}
    t.add("adamw", "adamw", scalars + params, outputs=6, weight_decay=0.1, decay=[1, 0])
    t.cases[-1].ranges.update(positive)
    t.add("sgd", "sgd", scalars[1:] + params[0:2] + params[4:6], outputs=2, weight_decay=0.1)
    t.cases[-1].ranges.update({"lr": (0.01, 0.02)})
    t.add("sgd_momentum", "sgd", scalars[1:] + params[0:3] + params[4:7], outputs=4, momentum=0.9, nesterov=True)
    t.cases[-1].ranges.update({"lr": (0.01, 0.02)})


def op_cases(dtype: str) -> list[Case]:
    table = Table(dtype)
    for part in (_pointwise, _reductions, _views, _norms_and_products, _attention, _channel_norms, _pools, _edges_and_windows, _sequences, _indices_and_losses, _optimizers):
        part(table)
    return table.cases
