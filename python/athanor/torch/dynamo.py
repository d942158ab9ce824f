"""The entry: from dynamo's graph through AOTAutograd to compiled graphs."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.utils import counters
from torch._functorch.partitioners import min_cut_rematerialization_partition
from functorch.compile import make_boxed_func

from .compiler import compile_graph
from .operators import DECOMPOSITIONS
from .compiler import compile_graph
