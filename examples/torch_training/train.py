"""An ordinary PyTorch training script, a Vision Transformer on Fashion-MNIST, with one line changed: `torch.compile(model, backend="athanor")`.

    train.py [--backend athanor|eager|inductor] [--steps N] [--batch N] [--compare]

`--compare` trains with each backend from the same weights on the same batches, and prints losses and speeds side by side.
"""
import argparse
import gzip
import statistics
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

DATA = Path("/usr/share/datasets/fashion-mnist")             # Debian's package dataset-fashion-mnist


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, width))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    def __init__(self, width=192, depth=4, heads=6, patch=4, classes=10):
        super().__init__()
        tokens = (28 // patch) ** 2
        self.patches = nn.Conv2d(1, width, patch, stride=patch)
        self.positions = nn.Parameter(torch.randn(1, tokens, width) * 0.02)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, images):
        x = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.norm(self.blocks(x)).mean(1))


def load(name):
    """Images as floats around 0, [n, 1, 28, 28], and labels."""
    def read(kind, dimensions):
        [path] = DATA.rglob(f"{name}-{kind}-idx{dimensions}-ubyte.gz")
        with gzip.open(path) as file:
            return np.frombuffer(file.read(), np.uint8, offset=4 + 4 * dimensions)
    images = torch.from_numpy(read("images", 3).reshape(-1, 1, 28, 28).astype(np.float32)) / 255
    return (images - 0.286) / 0.353, torch.from_numpy(read("labels", 1).astype(np.int64))


def train(backend, images, labels, steps, batch):
    torch.manual_seed(0)
    model = VisionTransformer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    if backend != "eager":
        model = torch.compile(model, backend=backend)        # the changed line
    order = torch.randperm(len(images))
    losses, times, start = [], [], time.perf_counter()
    for step in range(steps):
        chosen = order.roll(-step * batch)[:batch]
        begin = time.perf_counter()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images[chosen]), labels[chosen])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        times.append(time.perf_counter() - begin)
        if step == 0:
            first = time.perf_counter() - start
    milliseconds = statistics.median(times[1:] or times) * 1e3
    print(f"{backend:9} loss {losses[0]:.4f} -> {losses[-1]:.4f}   step {milliseconds:7.1f} ms   {batch / milliseconds * 1e3:6.0f} images/s   "
          f"first step {first:.2f} s", flush=True)
    return losses, milliseconds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=["athanor", "eager", "inductor"], default="athanor")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--compare", action="store_true")
    arguments = parser.parse_args()
    images, labels = load("train")
    backends = ["eager", "inductor", "athanor"] if arguments.compare else [arguments.backend]
    results = {backend: train(backend, images, labels, arguments.steps, arguments.batch) for backend in backends}
    if arguments.compare:
        best = min(results["eager"][1], results["inductor"][1])
        apart = max(abs(a - b) for a, b in zip(results["athanor"][0], results["eager"][0]))
        print(f"athanor is {best / results['athanor'][1]:.2f} times the better of the two; losses differ from eager's by at most {apart:.1e}")


if __name__ == "__main__":
    main()
