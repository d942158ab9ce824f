"""The generating example: training and sampling, against PyTorch where it is installed. usage: generate_test.py GENERATE"""
import json
import math
import os
import resource
import struct
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.path.abspath(sys.argv.pop(1))
TEXT = "".join(f"{i} times {j} makes {i * j}.\n" for i in range(1, 30) for j in range(1, 30)).encode()
CONTEXT, BATCH, WIDTH, BLOCKS, HEADS = 256, 8, 128, 4, 4


def windows(seed, step):
    """What the program's Mix (SplitMix64) chooses."""
    mask = (1 << 64) - 1
    for i in range(BATCH):
        z = ((seed << 40) + step * BATCH + i + 1) * 0x9E3779B97F4A7C15 & mask
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        yield (z ^ z >> 31) % (len(TEXT) - CONTEXT)


def read_safetensors(path):
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return {name: (entry["shape"], data[8 + size + entry["data_offsets"][0]:8 + size + entry["data_offsets"][1]]) for name, entry in header.items()}


def torch_losses(torch, tensors, seed, steps):
    """The recipe of the program in PyTorch."""
    F = torch.nn.functional
    p = {name: torch.frombuffer(bytearray(data), dtype=torch.float32).reshape(shape).requires_grad_()
         for name, (shape, data) in tensors.items() if not name.startswith(("m.", "v."))}
    linear = lambda x, name: F.linear(x, p[name + ".weight"], p[name + ".bias"])
    norm = lambda x, name: F.layer_norm(x, (WIDTH,), p[name + ".weight"], p[name + ".bias"])
    optimizer = torch.optim.AdamW(p.values(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    losses = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1e-3 * min(1, (step + 1) / 20)
        text = torch.tensor([list(TEXT[s:s + CONTEXT + 1]) for s in windows(seed, step)])
        x = p["tok.weight"][text[:, :-1]] + p["pos.weight"]
        for i in range(BLOCKS):
            name = f"blocks.{i}"
            q, k, v = linear(norm(x, name + ".norm1"), name + ".attn.qkv").view(BATCH, CONTEXT, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + linear(y.transpose(1, 2).reshape(BATCH, CONTEXT, WIDTH), name + ".attn.proj")
            x = x + linear(F.gelu(linear(norm(x, name + ".norm2"), name + ".fc1")), name + ".fc2")
        loss = F.cross_entropy(linear(norm(x, "norm"), "head").flatten(0, 1), text[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


class Generate(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.text = os.path.join(self.folder.name, "text")
        with open(self.text, "wb") as file:
            file.write(TEXT)

    def run_program(self, *arguments, text=None):
        return subprocess.run([PROGRAM, "--text", text or self.text, "--out", self.folder.name, *arguments], capture_output=True, encoding="utf-8", errors="replace", timeout=300)

    def generate(self, *arguments):
        result = self.run_program("--prompt", "7 times ", *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        with open(os.path.join(self.folder.name, "result.json")) as file:
            return json.load(file)

    def checkpoint(self):
        return os.path.join(self.folder.name, "checkpoint.safetensors")

    def test_losses_are_pytorchs(self):
        try:
            import torch
        except ImportError:
            self.skipTest("PyTorch is not installed")
        self.generate("--steps", "0", "--tokens", "1")
        expected = torch_losses(torch, read_safetensors(self.checkpoint()), 0, 12)
        actual = self.generate("--steps", "12", "--tokens", "1")["losses"]
        self.assertEqual(len(actual), 12)
        self.assertAlmostEqual(actual[0], math.log(256), delta=0.2)
        self.assertLess(actual[-1], actual[0] - 0.5)
        for a, e in zip(actual, expected):
            self.assertAlmostEqual(a, e, delta=0.01 * e)

    def test_samples_follow_from_the_seed(self):
        one = self.generate("--steps", "6", "--tokens", "100", "--threads", "1", "--temperature", "1")
        self.assertEqual(one["tokens"][:8], list(b"7 times "))
        self.assertEqual(len(one["tokens"]), 108)
        self.assertGreater(len(set(one["tokens"])), 5)
        two = self.generate("--steps", "3", "--tokens", "100", "--threads", "2", "--temperature", "1")
        self.assertNotEqual(two["tokens"], one["tokens"])
        rest = self.generate("--steps", "6", "--tokens", "100", "--threads", "2", "--temperature", "1", "--resume", self.checkpoint())
        self.assertEqual(two["losses"] + rest["losses"], one["losses"])
        self.assertEqual(rest["tokens"], one["tokens"])

    def test_errors(self):
        short = os.path.join(self.folder.name, "short")
        with open(short, "wb") as file:
            file.write(b"short")
        for arguments, text, message in [(["--tokens", "253"], None, "the context holds 256"), (["--prompt", ""], None, "--prompt: is empty"),
                                         ([], short, "has 5 bytes"), ([], "/nowhere", "/nowhere: can't be read"),
                                         (["--resume", short], None, "short"), (["--steps", "-1"], None, "--steps"), (["--frob"], None, "--frob")]:
            result = self.run_program(*arguments, text=text)
            self.assertEqual(result.returncode, 2, message)
            self.assertTrue(result.stderr.startswith("generate: error: "), result.stderr)
            self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
            self.assertIn(message, result.stderr)

    def test_a_full_disk_is_an_error(self):
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        result = subprocess.run([PROGRAM, "--text", self.text, "--out", self.folder.name, "--steps", "0"], capture_output=True, text=True, timeout=300,
                                preexec_fn=limit, env={**os.environ, "ATHANOR_CACHE_DIR": ""})
        self.assertEqual(result.returncode, 2)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        for word in ("generate: error: ", "checkpoint.safetensors", "File too large"):
            self.assertIn(word, result.stderr)
        self.assertEqual([name for name in os.listdir(self.folder.name) if "checkpoint" in name], [])


if __name__ == "__main__":
    unittest.main()
