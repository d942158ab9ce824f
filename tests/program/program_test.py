"""Drives the athanor program with bad and good input. usage: program_test.py PROGRAM"""
import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.path.abspath(sys.argv.pop(1))

GOOD = {"format": "athanor.fragment/1", "name": "t", "inputs": [{"name": "x", "dtype": "f32", "shape": [2, 3], "grad": True}],
        "nodes": [{"op": "exp", "inputs": ["x"], "outputs": ["y"]}], "outputs": ["y"]}


def write_npy(path, shape, values):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {tuple(shape)}, }}".ljust(117) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + struct.pack(f"<{len(values)}f", *values))


class Program(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.environment = {**os.environ, "ATHANOR_CACHE_DIR": self.path("cache")}
        os.mkdir(self.path("data"))
        write_npy(self.path("data/x.npy"), (2, 3), [0, 1, 2, 3, 4, 5])

    def tearDown(self):
        self.folder.cleanup()

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def call(self, *arguments, **environment):
        return subprocess.run([PROGRAM, *arguments], env={**self.environment, **environment}, capture_output=True, text=True, timeout=120)

    def run_fragment(self, text, *more, **environment):
        with open(self.path("f.json"), "w") as file:
            file.write(text if isinstance(text, str) else json.dumps(text))
        return self.call("run", self.path("f.json"), "--data", self.path("data"), "--out", self.path("out"), *more, **environment)

    def assert_refused(self, result, *words):
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertTrue(result.stderr.startswith("athanor: error: "), result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)

    def changed(self, **changes):
        return {**json.loads(json.dumps(GOOD)), **changes}

    def test_good_fragment_runs_and_is_cached(self):
        self.assertEqual(self.run_fragment(GOOD, "--grad").returncode, 0)
        self.assertTrue(os.path.exists(self.path("out/y.npy")) and os.path.exists(self.path("out/grad.x.npy")))
        warm = self.run_fragment(GOOD, "--grad", ATHANOR_NO_JIT="1")
        self.assertEqual(warm.returncode, 0, warm.stderr)
        self.assertEqual(self.call("cache", "verify").returncode, 0)

    def test_a_corrupt_entry_is_found_and_survived(self):
        self.run_fragment(GOOD)
        entry = next(os.path.join(root, f) for root, _, files in os.walk(self.path("cache")) for f in files)
        with open(entry, "r+b") as file:
            file.seek(200)
            file.write(b"\xff\x00\xff")
        self.assertEqual(self.call("cache", "verify").returncode, 1)
        self.assertEqual(self.run_fragment(GOOD).returncode, 0)

    def test_no_jit_refuses_a_miss(self):
        self.assert_refused(self.run_fragment(GOOD, ATHANOR_NO_JIT="1"), "not in the cache")

    def test_bad_fragments(self):
        node = GOOD["nodes"][0]
        self.assert_refused(self.run_fragment("{"), "f.json")
        self.assert_refused(self.run_fragment(json.dumps(GOOD) + "x"), "f.json")
        self.assert_refused(self.run_fragment(self.changed(nodes=[{**node, "op": "frob"}])), "nodes[0]", "frob")
        self.assert_refused(self.run_fragment(self.changed(nodes=[{**node, "inputs": ["x", "x"]}])), "nodes[0]", "exp")
        self.assert_refused(self.run_fragment(self.changed(nodes=[{**node, "attrs": {"speed": 1}}])), "speed")
        self.assert_refused(self.run_fragment(self.changed(nodes=[node, node])), "nodes[1]", "\"y\"")
        self.assert_refused(self.run_fragment(self.changed(nodes=[{**node, "inputs": ["z"]}, {"op": "exp", "inputs": ["y"], "outputs": ["z"]}])), "cycle")
        self.assert_refused(self.run_fragment(self.changed(outputs=["q"])), "outputs[0]", "\"q\"")
        self.assert_refused(self.run_fragment('{"format": "athanor.fragment/1", "format": 1}'), "format")

    def test_bad_data(self):
        self.assert_refused(self.call("run", self.path("none.json"), "--data", "a", "--out", "b"), "none.json")
        write_npy(self.path("data/x.npy"), (3, 2), range(6))
        self.assert_refused(self.run_fragment(GOOD), "x.npy")
        with open(self.path("data/x.npy"), "wb") as file:
            file.write(b"\x93NUMPY\x01\x00\xff\xff{")
        self.assert_refused(self.run_fragment(GOOD), "x.npy")
        os.remove(self.path("data/x.npy"))
        self.assert_refused(self.run_fragment(GOOD), "x.npy")

    def test_bad_usage_and_environment(self):
        self.assert_refused(self.call("frobnicate"))
        self.assert_refused(self.call("run", "--frob"))
        self.assert_refused(self.run_fragment(GOOD, ATHANOR_THREADS="many"), "ATHANOR_THREADS", "many")
        self.assert_refused(self.run_fragment(GOOD, ATHANOR_TUNE="loud"), "ATHANOR_TUNE", "loud")

    def test_cuda_sources_and_their_emulation(self):
        softmax = self.changed(nodes=[{"op": "softmax", "inputs": ["x"], "outputs": ["y"], "attrs": {"dim": -1}}])
        self.assertEqual(self.run_fragment(softmax, "--grad").returncode, 0)
        with open(self.path("out/y.npy"), "rb") as file:
            expected = struct.unpack("<6f", file.read()[-24:])
        emulated = self.run_fragment(softmax, "--grad", "--target", "cuda-emulator")
        self.assertEqual(emulated.returncode, 0, emulated.stderr)
        with open(self.path("out/y.npy"), "rb") as file:
            actual = struct.unpack("<6f", file.read()[-24:])
        for i in range(6):
            self.assertAlmostEqual(actual[i], expected[i], places=6)
        self.assert_refused(self.run_fragment(softmax, "--target", "cuda"), "cuda-emulator")
        dumped = self.call("dump", self.path("f.json"), "--target", "cuda", "--out", self.path("cuda"))
        self.assertEqual(dumped.returncode, 0, dumped.stderr)
        with open(self.path("cuda/00_reduce.cu")) as file:
            self.assertIn("__global__", file.read())
        self.assert_refused(self.call("dump", self.path("f.json"), "--target", "cuda", "--out", self.path("cuda"), ATHANOR_NVRTC="/none"), "/none")
        product = self.changed(nodes=[{"op": "matmul", "inputs": ["x", "w"], "outputs": ["y"]}],
                               inputs=GOOD["inputs"] + [{"name": "w", "dtype": "f32", "shape": [3, 3]}])
        write_npy(self.path("data/w.npy"), (3, 3), range(9))
        self.assert_refused(self.run_fragment(product, "--target", "cuda-emulator"), "contract")

    def test_models_stand_wherever_a_fragment_does(self):
        model = "model:bert?batch=1&length=4&shrink=16"
        exported = self.call("export", model, "--out", self.path("bert.json"))
        self.assertEqual(exported.returncode, 0, exported.stderr)
        with open(self.path("bert.json")) as file:
            fragment = json.load(file)
        self.assertEqual(fragment["name"], "bert.fwd")
        explained = [json.loads(self.call("explain", path, "--json").stdout) for path in (model, self.path("bert.json"))]
        self.assertEqual([kernel["nodes"] for kernel in explained[0]["kernels"]], [kernel["nodes"] for kernel in explained[1]["kernels"]])
        self.assertEqual(self.call("bench", model, "--mode", "list").stdout, model[6:] + "\n")
        for command in (["run", "model:lenet", "--data", "a", "--out", "b"], ["explain", "model:bert?batch=0"], ["export", "model:bert?depth=2"],
                        ["dump", "model:", "--target", "cpu", "--out", "b"], ["warmup", "model:vit?image=7"], ["bench", "model:vit?image"]):
            self.assert_refused(self.call(*command), "model:")

    def test_breakdown_gives_shares(self):
        model = "model:resnet50?image=32&shrink=16"
        fused, apart = (json.loads(self.call("breakdown", model, "--json", "--svg", self.path("b.svg"), *more).stdout) for more in ([], ["--unfused"]))
        for document in (fused, apart):
            for shares in (document["flops"], document["time"]):
                self.assertEqual(list(shares), ["convolution", "product", "attention", "memory_bound"])
                self.assertAlmostEqual(sum(shares.values()), 1)
            self.assertGreater(document["flops"]["convolution"], 0.5)
            self.assertEqual(document["time"]["attention"], 0)
        self.assertGreater(apart["kernels"], fused["kernels"])
        with open(self.path("b.svg")) as file:
            self.assertTrue(file.read().endswith("</svg>\n"))
        self.assertIn("memory_bound", self.call("breakdown", "model:bert?length=4&shrink=16", "--grad").stdout)

    def test_json_is_one_document(self):
        self.run_fragment(GOOD)
        for arguments in (["info", "--json"], ["explain", self.path("f.json"), "--json"], ["cache", "ls", "--json"], ["cache", "verify", "--json"],
                          ["warmup", self.path("f.json"), "--budget", "1", "--json"]):
            result = self.call(*arguments)
            self.assertEqual(result.returncode, 0, result.stderr)
            json.loads(result.stdout)


if __name__ == "__main__":
    unittest.main()
