"""The residual network's example, against PyTorch where it is installed. usage: train_cnn_test.py TRAIN_CNN"""
import gzip
import hashlib
import json
import math
import os
import struct
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.path.abspath(sys.argv.pop(1))
DATA = "/usr/share/datasets/fashion-mnist"
BATCH, STEPS, WARMUP, STAGES = 64, 32, 100, 3
# A fifth of what the program takes by default: at higher rates PyTorch in f32 soon parts from PyTorch in f64. Much of an image is one
# value, so that rounding carries whole backgrounds over the edge of a ReLU.
LR = 0.02


def shuffled(count, seed, epoch):
    """The order of the program's images: std::mt19937_64 (Matsumoto and Nishimura) drives a Fisher-Yates shuffle."""
    mask, n, m = (1 << 64) - 1, 312, 156
    state = [seed * 1000003 + epoch + 1 & mask]
    for i in range(1, n):
        state.append(6364136223846793005 * (state[-1] ^ state[-1] >> 62) + i & mask)

    def words():
        while True:
            for i in range(n):
                x = state[i] >> 31 << 31 | state[(i + 1) % n] & 0x7FFFFFFF
                state[i] = state[(i + m) % n] ^ x >> 1 ^ (0xB5026F5AA96619E9 if x & 1 else 0)
            for y in state:
                y ^= y >> 29 & 0x5555555555555555
                y ^= y << 17 & 0x71D67FFFEDA60000
                y ^= y << 37 & 0xFFF7EEE000000000
                yield y ^ y >> 43

    order, random = list(range(count)), words()
    for i in range(count - 1, 0, -1):
        j = next(random) % (i + 1)
        order[i], order[j] = order[j], order[i]
    return order


def idx_path(folder, split, kind, rank):
    return os.path.join(folder, f"{split}-{kind}-idx{rank}-ubyte.gz")


def read_idx(path, rank):
    with gzip.open(path) as file:
        return file.read()[4 + 4 * rank:]


def copy_head(folder, split, count):
    """The first `count` images of a split, and their labels."""
    for kind, rank, item in [("images", 3, 784), ("labels", 1, 1)]:
        bytes = read_idx(idx_path(DATA, split, kind, rank), rank)[:count * item]
        with gzip.open(idx_path(folder, split, kind, rank), "wb", compresslevel=1) as file:
            file.write(struct.pack(">HBB", 0, 8, rank) + struct.pack(f">{rank}I", *[count, 28, 28][:rank]) + bytes)


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def read_safetensors(path):
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__")
    return {name: (entry["shape"], data[8 + size + entry["data_offsets"][0]:8 + size + entry["data_offsets"][1]]) for name, entry in header.items()}


def torch_tensors(torch, path):
    return {name: torch.frombuffer(bytearray(data), dtype=torch.float32).reshape(shape) for name, (shape, data) in read_safetensors(path).items()}


def torch_dataset(torch, folder, split):
    pixels = torch.frombuffer(bytearray(read_idx(idx_path(folder, split, "images", 3), 3)), dtype=torch.uint8).reshape(-1, 1, 28, 28)
    return (pixels / 255 - 0.286) / 0.353, torch.tensor(list(read_idx(idx_path(folder, split, "labels", 1), 1)))


def torch_logits(torch, p, x, training):
    """The network of the program in PyTorch; in training it updates the running statistics in `p`."""
    F = torch.nn.functional

    def conv_norm(x, name, stride=1):
        weight = p[name + ".conv.weight"]
        y = F.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2)
        name += ".norm"
        return F.batch_norm(y, p[name + ".running_mean"], p[name + ".running_var"], p[name + ".weight"], p[name + ".bias"], training, 0.1, 1e-5)

    x = F.relu(conv_norm(x, "stem"))
    for stage in range(STAGES):
        block = 0
        while f"stages.{stage}.{block}.first.conv.weight" in p:
            name, stride = f"stages.{stage}.{block}", 2 if stage > 0 and block == 0 else 1
            y = conv_norm(F.relu(conv_norm(x, name + ".first", stride)), name + ".second")
            x = F.relu(y + (conv_norm(x, name + ".shortcut", stride) if stride > 1 else x))
            block += 1
    return F.linear(x.mean((2, 3)), p["head.weight"], p["head.bias"])


def torch_training(torch, p, folder, lr, seed=0, epochs=1, each_step=lambda: None):
    """The recipe of the program in PyTorch, from the state `p`, which it trains in place. Returns the losses and the test accuracy."""
    parameters = [tensor.requires_grad_() for name, tensor in p.items() if not name.startswith("m.") and "running" not in name]
    optimizer = torch.optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=5e-4)
    images, labels = torch_dataset(torch, folder, "train")
    per_epoch = len(labels) // BATCH
    losses = []
    for step in range(epochs * per_epoch):
        if step % per_epoch == 0:
            order = shuffled(len(labels), seed, step // per_epoch)
        cosine = 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / max(1, epochs * per_epoch - WARMUP)))
        optimizer.param_groups[0]["lr"] = lr * ((step + 1) / WARMUP if step < WARMUP else cosine)
        chosen = order[step % per_epoch * BATCH:][:BATCH]
        loss = torch.nn.functional.cross_entropy(torch_logits(torch, p, images[chosen], True), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        each_step()
    images, labels = torch_dataset(torch, folder, "t10k")
    with torch.no_grad():
        right = [(torch_logits(torch, p, x, False).argmax(1) == y).float() for x, y in zip(images.split(500), labels.split(500))]
    return losses, torch.cat(right).mean().item()


class TrainCnn(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        copy_head(cls.folder.name, "train", BATCH * STEPS + BATCH // 2)
        copy_head(cls.folder.name, "t10k", 1000)
        # The kernels are compiled once: a run that is resumed finds them in the cache of its folder.
        cls.first, cls.whole = cls.path("first"), cls.path("whole")
        cls.train("--steps", "0", "--checkpoint", cls.first)
        cls.train("--resume", cls.first, "--threads", "1", "--checkpoint", cls.whole)
        with open(cls.path("loss.csv")) as file:
            cls.losses = [float(line) for line in file.read().split()[1:]]
        with open(cls.path("result.json")) as file:
            cls.accuracy = json.load(file)["test_accuracy"]

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.name, name)

    @classmethod
    def run_program(cls, *arguments):
        data = [] if "--data" in arguments else ["--data", cls.folder.name]
        return subprocess.run([PROGRAM, "--out", cls.folder.name, *data, *arguments], capture_output=True, text=True, timeout=300)

    @classmethod
    def train(cls, *arguments):
        result = cls.run_program("--lr", str(LR), *arguments)
        if result.returncode != 0:
            raise AssertionError(f"{arguments}: {result.stderr}")

    def test_training_is_pytorchs(self):
        try:
            import torch
        except ImportError:
            self.skipTest("PyTorch is not installed")
        p = torch_tensors(torch, self.first)
        expected, accuracy = torch_training(torch, p, self.folder.name, LR)
        self.assertEqual(len(self.losses), STEPS)
        self.assertLess(self.losses[-1], self.losses[0] - 0.2)
        for loss, wanted in zip(self.losses, expected):
            self.assertAlmostEqual(loss, wanted, delta=0.01 * wanted)
        self.assertAlmostEqual(self.accuracy, accuracy, delta=0.005)
        actual = torch_tensors(torch, self.whole)
        statistics = [name for name in p if ".running_" in name]
        self.assertEqual(len(statistics), 2 * sum(name.endswith(".conv.weight") for name in p if not name.startswith("m.")))
        for name in statistics:
            error = (actual[name] - p[name]).abs().max() / p[name].abs().max()
            self.assertLess(error.item(), 0.01, name)

    def test_threads_and_resuming_change_no_bit(self):
        part, rest = self.path("part"), self.path("rest")
        self.train("--resume", self.first, "--threads", "2", "--steps", "10", "--checkpoint", part)
        self.assertNotEqual(digest(part), digest(self.first))
        self.train("--resume", part, "--threads", "2", "--checkpoint", rest)
        self.assertEqual(digest(rest), digest(self.whole))

    def test_errors(self):
        other, empty = self.path("other"), self.path("empty")
        header = json.dumps({"__metadata__": {"step": "3", "seed": "0", "epochs": "1"}}).encode()
        with open(other, "wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
        os.mkdir(empty)
        copy_head(empty, "train", BATCH - 1)
        for arguments, message in [(["--resume", self.first, "--seed", "5"], "first: was written with --seed 0 --epochs 1"),
                                   (["--resume", other], "other: tensor 'stem.norm.running_mean' is missing or of another shape"),
                                   (["--data", empty], "has 63 images, a batch needs 64"),
                                   (["--data", "/nowhere"], "/nowhere/train-images-idx3-ubyte.gz: can't be read"), (["--lr", "2"], "--lr")]:
            result = self.run_program(*arguments)
            self.assertEqual(result.returncode, 2, message)
            self.assertIn(message, result.stderr)


if __name__ == "__main__":
    unittest.main()
