"""PyTorch's own operator database through the backend: every op that has an overload in the table of translations.

    op_db.py [--samples N] [--dtypes float32,bfloat16] [OP...]

For each sample, outputs and gradients have to equal eager's within its tolerances. Prints how many samples passed in Athanor, passed in PyTorch (nothing of
them was translated), or failed; exits with 1 where one failed. A sample that eager itself refuses is left out.
"""
import argparse
import collections
import itertools
import logging
import sys
import traceback
import warnings

import torch
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils import _pytree as pytree

import athanor  # noqa: F401
from athanor.torch import backend
from testing import Reports

# The ops whose forward or backward the table means: names in the database.
TABLE = """
neg abs exp log sqrt rsqrt tanh erf sigmoid nn.functional.relu nn.functional.silu mul maximum minimum pow add sub rsub div reciprocal square
addcmul addcdiv lerp eq lt gt ne le ge logical_not logical_and logical_or bitwise_not bitwise_and bitwise_or where masked_fill full_like zeros_like
ones_like clamp clamp_min clamp_max nn.functional.hardtanh nn.functional.gelu nn.functional.leaky_relu nn.functional.hardswish
nn.functional.hardsigmoid nn.functional.relu6 nn.functional.threshold
view reshape expand unsqueeze squeeze permute t transpose select narrow split split_with_sizes unbind cat stack repeat nn.functional.pad tril roll
chunk flatten sum mean amax amin var var_mean std
mm bmm mv dot matmul addmm baddbmm nn.functional.linear nn.functional.conv1d nn.functional.conv2d nn.functional.conv_transpose1d nn.functional.conv_transpose2d
nn.functional.max_pool2d nn.functional.avg_pool2d nn.functional.adaptive_avg_pool2d nn.functional.scaled_dot_product_attention
nn.functional.layer_norm nn.functional.batch_norm nn.functional.group_norm nn.functional.rms_norm nn.functional.instance_norm
softmax log_softmax nn.functional.embedding index_select gather nn.functional.nll_loss nn.functional.cross_entropy nn.functional.mse_loss
clone contiguous __radd__ __rmul__ __rsub__ __rdiv__ __getitem__ nn.functional.dropout
""".split()


# Where the database wraps an op in something that dynamo does not trace (it seeds the generator): the op itself.
PLAIN = {"nn.functional.scaled_dot_product_attention": torch.nn.functional.scaled_dot_product_attention,
         "nn.functional.dropout": torch.nn.functional.dropout}


def tensors(x):
    return [t for t in pytree.tree_leaves(x) if isinstance(t, torch.Tensor)]


def run(function, sample):
    """Outputs and gradients."""
    sample = sample.transform(lambda t: t.detach().clone().requires_grad_(t.requires_grad) if isinstance(t, torch.Tensor) else t)
    torch.manual_seed(3)
    results = tensors(function(sample.input, *sample.args, **sample.kwargs))
    leaves = [t for t in tensors((sample.input, sample.args, sample.kwargs)) if t.requires_grad]
    wanted = [r for r in results if r.requires_grad]
    gradients = torch.autograd.grad(wanted, leaves, [torch.ones_like(r) for r in wanted], allow_unused=True) if wanted and leaves else ()
    return [r.detach() for r in results], [g for g in gradients if g is not None]


def check(op, sample):
    """"athanor", "pytorch", or None where eager refuses; raises where results differ."""
    function = PLAIN.get(op.name, op.op)
    try:
        expected = run(function, sample)
    except Exception:  # noqa: BLE001  (the database holds samples that this build of PyTorch refuses)
        return None
    torch._dynamo.reset()
    with Reports() as seen:
        # A function of its own: dynamo then traces the op instead of calling it.
        got = run(torch.compile(lambda *args, **kwargs: function(*args, **kwargs), backend=backend, fullgraph=False), sample)
    bfloat16 = any(t.dtype == torch.bfloat16 for t in expected[0])
    tolerance = {"rtol": 3e-2, "atol": 3e-2} if bfloat16 else {"rtol": 1.3e-5, "atol": 3e-5}
    for g, e in zip(itertools.chain(*got), itertools.chain(*expected), strict=True):
        torch.testing.assert_close(g, e, equal_nan=True, check_stride=False, **tolerance)
    return "athanor" if seen.operations else "pytorch"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ops", nargs="*")
    parser.add_argument("--samples", type=int, default=0, help="at most this many of each op, spread over the list; 0: all")
    parser.add_argument("--dtypes", default="float32")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch._dynamo.config.suppress_errors = False
    counts, known = collections.Counter(), {op.name for op in op_db}
    names = arguments.ops or TABLE
    missing = [name for name in names if name not in known]
    if missing:
        print(f"not in the database: {missing}")
    for op in op_db:
        if op.name not in names:
            continue
        own = collections.Counter()
        for dtype in (getattr(torch, name) for name in arguments.dtypes.split(",")):
            if dtype not in op.supported_dtypes("cpu"):
                continue
            gradients = dtype in op.supported_backward_dtypes("cpu")
            samples = list(op.sample_inputs("cpu", dtype, requires_grad=gradients))
            stride = max(1, len(samples) // arguments.samples) if arguments.samples else 1
            for i, sample in enumerate(samples[::stride][:arguments.samples or None]):
                try:
                    own[check(op, sample)] += 1
                except Exception as error:  # noqa: BLE001  (whatever it is, it counts as a failure)
                    own["failed"] += 1
                    print(f"FAILED {op.name} {op.variant_test_name} {dtype} sample {i * stride}: {type(error).__name__}: {str(error)[:600]}", flush=True)
                    if arguments.verbose:
                        traceback.print_exc()
        del own[None]
        counts.update(own)
        if arguments.verbose:
            print(op.name, op.variant_test_name, dict(own), flush=True)
    print(f"{len(names)} ops: {counts['athanor']} samples passed in Athanor, {counts['pytorch']} fell back to PyTorch, {counts['failed']} failed")
    sys.exit(counts["failed"] > 0 or counts["athanor"] == 0)


if __name__ == "__main__":
    main()
