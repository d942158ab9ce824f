"""A training job of one or several processes, for test_jobs.py. usage: job.py [--world N] [--rank R --port P] [--save] --out FILE
Trains with the batch split among the ranks; rank 0 writes losses and weights. `--save` has PyTorch keep what it compiled (TORCH_CACHING_PRECOMPILE)."""
import argparse
import os
import sys

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn


def make():
    """A model and example inputs (for athanor.importers.torch_export)."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 24), nn.GELU(), nn.LayerNorm(24), nn.Linear(24, 4))
    return model, (torch.randn(8, 12),)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--world", type=int, default=1)
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, _ = make()
    if arguments.world > 1:
        dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{arguments.port}", rank=arguments.rank, world_size=arguments.world)
        model = nn.parallel.DistributedDataParallel(model)
    compiled = torch.compile(model, backend="athanor")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    generator, losses = torch.Generator().manual_seed(5), []
    for _ in range(4):
        x, y = torch.randn(arguments.batch, 12, generator=generator), torch.randint(0, 4, (arguments.batch,), generator=generator)
        share = slice(arguments.rank * arguments.batch // arguments.world, (arguments.rank + 1) * arguments.batch // arguments.world)
        optimizer.zero_grad()
        loss = F.cross_entropy(compiled(x[share]), y[share])
        loss.backward()
        optimizer.step()
        loss = loss.detach()
        if arguments.world > 1:
            dist.all_reduce(loss)
            loss /= arguments.world
        losses.append(loss)
    if arguments.save:
        torch.compiler.save_cache_artifacts()
    if arguments.rank == 0:
        torch.save({"losses": losses, "weights": [p.detach() for p in model.parameters()],
                    "translated": "athanor.torch.compiler" in sys.modules}, arguments.out)
    if arguments.world > 1:
        dist.destroy_process_group()
        sys.stdout.flush()
        os._exit(0)                                          # a thread of gloo's may still drop a tensor, which aborts an interpreter that is ending


if __name__ == "__main__":
    main()
