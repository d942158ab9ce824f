"""Fragments of a PyTorch model: those that `torch.compile(model, backend="athanor")` would run, one file for each partition of its forward and backward.

    python -m athanor.importers.torch_export MODEL --out DIR [--train]

MODEL is a program saved by `torch.export.save` (FILE.pt2), or `PACKAGE.MODULE:FUNCTION`, a function without arguments that returns a module and a tuple of
example inputs. `athanor warmup DIR/*.json` then fills the cache, and a job with ATHANOR_NO_JIT=1 compiles nothing.
"""
from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from .. import explain
from .._library import Error


def export(model: Any, inputs: Sequence[Any], out: str | Path, train: bool = False) -> list[Path]:
    """Writes the fragments of `model` for inputs like `inputs` to the folder `out`, and returns their paths. `train`: with the backward, which
    needs parameters or inputs that require gradients; without, as under torch.no_grad. Raises `athanor.Error` where nothing of it is translated."""
    from ..torch import compiled_graph
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []

    def record(name: str, text: str) -> None:
        fragment = json.loads(text)
        path = out / f"{len(paths):03d}.{fragment['name']}.json"
        path.write_text(json.dumps(fragment, indent=1) + "\n", encoding="utf-8")
        paths.append(path)

    torch._dynamo.reset()
    compiled_graph.recorders.append(record)
    try:
        with torch.set_grad_enabled(train):
            explain(model, *inputs)
    finally:
        compiled_graph.recorders.remove(record)
    if not paths:
        raise Error("nothing of this model is translated to fragments")
    return paths


def _load(text: str) -> tuple[Any, Sequence[Any]]:
    if text.endswith(".pt2"):
        program = torch.export.load(text)
        if program.example_inputs is None:
            raise Error(f"{text} holds no example inputs")
        return program.module(), program.example_inputs[0]
    module, _, function = text.partition(":")
    if not function:
        raise Error(f"{text}: expected FILE.pt2 or PACKAGE.MODULE:FUNCTION")
    sys.path.insert(0, "")
    return getattr(importlib.import_module(module), function)()


def main() -> None:
    parser = argparse.ArgumentParser(prog="athanor.importers.torch_export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--out", required=True, metavar="DIR")
    parser.add_argument("--train", action="store_true", help="the backward, too")
    arguments = parser.parse_args()
    try:
        for path in export(*_load(arguments.model), arguments.out, arguments.train):
            print(path)
    except (Error, OSError, ImportError, AttributeError) as error:
        print(f"athanor: error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
