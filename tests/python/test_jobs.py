"""Whole processes: warmed up before they start, and several of them training one model."""
import os
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import torch

import athanor

JOB = Path(__file__).parent / "job.py"


def start(*arguments, cache, **environment):
    variables = os.environ | {"ATHANOR_CACHE_DIR": str(cache)} | environment
    return subprocess.Popen([sys.executable, "-W", "ignore", *map(str, arguments)], cwd=JOB.parent, env=variables, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


def finish(process):
    text, _ = process.communicate(timeout=200)
    return process.returncode, text


class JobTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def run_job(self, *arguments, **environment):
        status, text = finish(start(*arguments, cache=self.folder / "cache", **environment))
        self.assertEqual(status, 0, text)
        return text

    def test_a_warmed_up_job_compiles_nothing(self):
        out = self.folder / "fragments"
        paths = self.run_job("-m", "athanor.importers.torch_export", "job:make", "--train", "--out", out).split()
        self.assertEqual([Path(p).name.split(".")[1] for p in paths], ["forward", "backward"])
        cold = self.folder / "cold"
        status, text = finish(start(JOB, "--out", self.folder / "no.pt", cache=cold, ATHANOR_NO_JIT="1"))
        self.assertNotEqual(status, 0, "a job without a cache has to fail when it may not compile")
        self.assertIn("ATHANOR_NO_JIT", text)
        self.run_job("-m", "athanor", "warmup", *paths, "--budget", "2", "--threads", "1")
        self.run_job(JOB, "--out", self.folder / "warm.pt", ATHANOR_NO_JIT="1")

    def test_a_restarted_job_takes_what_pytorch_kept(self):
        """Dynamo's trace, AOTAutograd's, and our translation are skipped; graphs of another version of this package are compiled anew."""
        def run(name, **environment):
            text = self.run_job(JOB, "--save", "--out", self.folder / name, TORCH_CACHING_PRECOMPILE="1",
                                TORCHINDUCTOR_CACHE_DIR=str(self.folder / "pytorch"), **environment)
            return torch.load(self.folder / name), text
        first, _ = run("first.pt")
        second, _ = run("second.pt", ATHANOR_NO_JIT="1")
        self.assertTrue(first["translated"])
        self.assertFalse(second["translated"])
        for name in ("losses", "weights"):
            self.assertTrue(all(torch.equal(a, b) for a, b in zip(first[name], second[name], strict=True)), name)
        [entry] = (self.folder / "pytorch" / "dynamo").glob("*/entry")
        stored = entry.read_bytes()
        self.assertIn(b"athanor " + athanor.__version__.encode(), stored)
        entry.write_bytes(stored.replace(b"athanor " + athanor.__version__.encode(), b"athanor " + athanor.__version__[:-1].encode() + b"x"))
        third, text = run("third.pt")
        self.assertTrue(third["translated"])
        self.assertIn("a stored graph was compiled by athanor", text)

    def test_two_processes_train_as_one_with_the_doubled_batch(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        ranks = [start(JOB, "--world", 2, "--rank", rank, "--port", port, "--out", self.folder / "two.pt", cache=self.folder / "cache")
                 for rank in range(2)]
        for rank in ranks:
            status, text = finish(rank)
            self.assertEqual(status, 0, text)
        self.run_job(JOB, "--out", self.folder / "one.pt")
        one, two = (torch.load(self.folder / f"{name}.pt") for name in ("one", "two"))
        for name in ("losses", "weights"):
            for a, b in zip(one[name], two[name], strict=True):
                torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


if __name__ == "__main__":
    unittest.main()
