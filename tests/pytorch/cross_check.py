"""Compares `athanor run` with PyTorch.

usage: cross_check.py --program build/release/athanor (--ops | FRAGMENT.json... | model:NAME...) [--dtype f32] [--reference] [--filter TEXT] [--keep DIR]

Each result is compared with PyTorch's in f64. Its error, relative to the largest element of the tensor, may be twice what PyTorch itself
errs in the dtype under test (four times for a whole network), or a small floor where that is more; beyond that, only what rounding does to
PyTorch as well (rounding.py). Exits with 1 where something differs.
"""
import argparse
import functools
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Callable

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench" / "peers"))
from fragment_torch import evaluate, evaluate_with_gradients, from_numpy, random_inputs, to_numpy
import rounding
from op_cases import Case, op_cases

FLOORS = {"f64": 1e-12, "f32": 2e-5, "f16": 4e-3, "bf16": 1.6e-2}


def floating_dtype(fragment: dict) -> str:
    """The least exact dtype of the inputs: what results may be as inexact as."""
    return max((x["dtype"] for x in fragment["inputs"] if x["dtype"] in FLOORS), key=FLOORS.get, default="f32")


def widened(tensors: dict) -> dict:
    return {name: x.double() if x.is_floating_point() else x for name, x in tensors.items()}


def scale_of(exact: torch.Tensor) -> float:
    """The largest finite element; 1 where there is none."""
    finite = exact[torch.isfinite(exact)]
    return max(finite.abs().max().item(), 1e-30) if finite.numel() else 1.0


def error_of(got: torch.Tensor, exact: torch.Tensor) -> float:
    """The largest difference relative to the largest finite element; infinite where only one of the two is not finite."""
    if exact.numel() == 0:
        return 0.0
    got, exact = got.double(), exact.double()
    finite = torch.isfinite(exact)
    same = torch.equal(torch.isnan(got), torch.isnan(exact)) and torch.equal(got[~finite].nan_to_num(), exact[~finite].nan_to_num())
    if not same or not torch.isfinite(got[finite]).all():
        return math.inf
    return ((got[finite] - exact[finite]).abs().max().item() if finite.any() else 0.0) / scale_of(exact)


def load(program: str, path: str) -> Case:
    if not path.startswith("model:"):
        return Case(json.loads(pathlib.Path(path).read_text()))
    fragment = json.loads(subprocess.run([program, "export", path], capture_output=True, text=True, check=True).stdout)
    # As in a trained network, so that no layer amplifies rounding: factors and variances near 1, offsets near 0.
    ranges = {}
    for x in fragment["inputs"]:
        if len(x["shape"]) == 1 and x["dtype"] in FLOORS:
            ranges[x["name"]] = (0.5, 1.5) if x["name"].endswith((".weight", ".running_var")) else (-0.1, 0.1)
    # Two errors of rounding that went through some hundred operations: over hundreds of gradients their ratio is 1 in the median and
    # 2.5 in the worst.
    return Case(fragment, ranges, allowed=4)


class Checker:
    def __init__(self, program: str, reference: bool, keep: pathlib.Path | None, cache: str):
        self.program, self.reference, self.keep = program, reference, keep
        self.environment = {**os.environ, "ATHANOR_CACHE_DIR": cache}

    def check(self, case: Case) -> tuple[list[str], float]:
        """What is wrong, and the largest error."""
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary) if self.keep is None else self.keep / case.name
            (folder / "data").mkdir(parents=True, exist_ok=True)
            (folder / "fragment.json").write_text(json.dumps(case.fragment))
            inputs = random_inputs(case.fragment, case.ranges, seed=11)
            if case.rounded:
                inputs = {name: x.round() if x.is_floating_point() else x for name, x in inputs.items()}
            outputs = evaluate(case.fragment, inputs)
            random = np.random.default_rng(12)
            seeds = {name: torch.from_numpy(np.array(random.standard_normal(tuple(y.shape)))).to(y.dtype)
                     for name, y in outputs.items() if y.is_floating_point()}
            for name, x in {**inputs, **{"grad." + name: g for name, g in seeds.items()}}.items():
                np.save(folder / "data" / f"{name}.npy", to_numpy(x))
            command = [self.program, "run", str(folder / "fragment.json"), "--data", str(folder / "data"), "--out", str(folder / "out")]
            wants_grad = any(x.get("grad") for x in case.fragment["inputs"]) and bool(seeds)
            command += ["--grad"] * wants_grad + ["--reference"] * self.reference
            run = subprocess.run(command, capture_output=True, text=True, env=self.environment)
            if run.returncode != 0:
                return [f"exit status {run.returncode}: {run.stderr.strip()}"], math.inf
            exact_inputs, exact_seeds = widened(inputs), widened(seeds)

            def compute(inputs: dict, seeds: dict, disturb: Callable | None = None) -> dict:
                if wants_grad:
                    return evaluate_with_gradients(case.fragment, inputs, seeds, disturb)
                return evaluate(case.fragment, inputs, disturb=disturb)

            @functools.cache
            def noisy() -> list[dict]:
                dtype = floating_dtype(case.fragment)
                return [compute(exact_inputs, exact_seeds, rounding.noise(dtype, seed)) for seed in range(rounding.RUNS)]

            return self.compare(case, folder / "out", compute(exact_inputs, exact_seeds), compute(inputs, seeds), noisy)

    def compare(self, case: Case, folder: pathlib.Path, exact: dict, peer: dict, noisy: Callable) -> tuple[list[str], float]:
        wrong, worst = [], 0.0
        floor = FLOORS[floating_dtype(case.fragment)]
        for name, expected in exact.items():
            path = folder / f"{name}.npy"
            if not path.exists():
                wrong.append(f"{name}: not written")
                continue
            got = from_numpy(np.load(path), peer[name].dtype)
            if (got.dtype, got.shape) != (peer[name].dtype, peer[name].shape):
                wrong.append(f"{name}: {got.dtype} {list(got.shape)}, expected {peer[name].dtype} {list(peer[name].shape)}")
                continue
            error, peer_error = error_of(got, expected), error_of(peer[name], expected)
            worst = max(worst, error)
            allowed = max(floor, case.allowed * peer_error)
            if error <= allowed:
                continue
            excuse = ""
            if math.isfinite(error):
                moved = rounding.moves(expected, [run[name] for run in noisy()])
                if rounding.within(got, expected, moved, allowed * scale_of(expected)):
                    continue
                excuse = f", moved by rounding at most {moved.max().item() / scale_of(expected):.2e}"
            wrong.append(f"{name}: error {error:.2e} of its scale, PyTorch's own {peer_error:.2e}{excuse}")
        return wrong, worst


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fragments", nargs="*", help="files, or models as the program names them")
    parser.add_argument("--program", required=True)
    parser.add_argument("--ops", action="store_true", help="the table of single ops")
    parser.add_argument("--dtype", default="f32", choices=FLOORS, help="of the table")
    parser.add_argument("--reference", action="store_true", help="the interpreter instead of compiled kernels")
    parser.add_argument("--filter", default="", help="only cases whose name contains this")
    parser.add_argument("--keep", type=pathlib.Path, help="leave inputs and outputs in this folder")
    arguments = parser.parse_args()
    cases = op_cases(arguments.dtype) if arguments.ops else []
    cases += [load(arguments.program, path) for path in arguments.fragments]
    cases = [case for case in cases if arguments.filter in case.name]
    if not cases:
        parser.error("no case to check")
    failures = 0
    # A cache of its own: what is compared was compiled by this program.
    with tempfile.TemporaryDirectory() as cache:
        checker = Checker(arguments.program, arguments.reference, arguments.keep, cache)
        for case in cases:
            wrong, worst = checker.check(case)
            failures += bool(wrong)
            print(f"{'FAIL' if wrong else 'ok  '} {case.name}  {worst:.1e}", *("\n     " + line for line in wrong), flush=True)
    print(f"{len(cases) - failures} of {len(cases)} agree with PyTorch {torch.__version__}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
