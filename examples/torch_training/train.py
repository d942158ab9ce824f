"""An ordinary PyTorch training script, a Vision Transformer on Fashion-MNIST, with one line changed: `torch.compile(model, backend="athanor")`.

    train.py [--backend athanor|eager|inductor] [--steps N] [--batch N] [--compare]

`--compare` trains with each backend from the same weights on the same batches, and prints losses and speeds side by side; their steps alternate.
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


class Training:
    """A model that is being trained with a backend."""

    def __init__(self, backend, images, labels, batch):
        torch.manual_seed(0)
        self.backend, self.images, self.labels, self.batch = backend, images, labels, batch
        self.model = VisionTransformer()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        if backend != "eager":
            self.model = torch.compile(self.model, backend=backend)  # the changed line
        self.order = torch.randperm(len(images))
        self.losses, self.seconds = [], []

    def step(self):
        begin = time.perf_counter()
        chosen = self.order.roll(-len(self.losses) * self.batch)[:self.batch]
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(self.images[chosen]), self.labels[chosen])
        loss.backward()
        self.optimizer.step()
        self.losses.append(loss.item())
        self.seconds.append(time.perf_counter() - begin)

    def milliseconds(self):
        return statistics.median(self.seconds[1:] or self.seconds) * 1e3

    def __str__(self):
        return (f"{self.backend:9} loss {self.losses[0]:.4f} -> {self.losses[-1]:.4f}   step {self.milliseconds():7.1f} ms   "
                f"{self.batch / self.milliseconds() * 1e3:6.0f} images/s   first step {self.seconds[0]:.2f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=["athanor", "eager", "inductor"], default="athanor")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--compare", action="store_true")
    arguments = parser.parse_args()
    images, labels = load("train")
    backends = ["eager", "inductor", "athanor"] if arguments.compare else [arguments.backend]
    trainings = {backend: Training(backend, images, labels, arguments.batch) for backend in backends}
    for _ in range(arguments.steps):
        for training in trainings.values():                  # in turn, so that what else the machine does disturbs all alike
            training.step()
    for training in trainings.values():
        print(training)
    if arguments.compare:
        ours, eager = trainings["athanor"], trainings["eager"]
        best = min(eager.milliseconds(), trainings["inductor"].milliseconds())
        apart = max(abs(a - b) for a, b in zip(ours.losses, eager.losses))
        print(f"athanor is {best / ours.milliseconds():.2f} times the better of the two; losses differ from eager's by at most {apart:.1e}")


if __name__ == "__main__":
    main()
