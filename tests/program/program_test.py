"""Drives the athanor program with bad and good input. usage: program_test.py PROGRAM"""
import json
import os
import resource
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

    def call(self, *arguments, file_limit=None, stdout=subprocess.PIPE, **environment):
        """`file_limit`: bytes that a file may hold, as on a full disk."""
        limit = None if file_limit is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
        return subprocess.run([PROGRAM, *arguments], env={**self.environment, **environment}, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=240,
                              preexec_fn=limit)

    def write_fragment(self, fragment=GOOD, name="f.json"):
        with open(self.path(name), "w") as file:
            file.write(fragment if isinstance(fragment, str) else json.dumps(fragment))
        return self.path(name)

    def run_fragment(self, text, *more, **environment):
        return self.call("run", self.write_fragment(text), "--data", self.path("data"), "--out", self.path("out"), *more, **environment)

    def commands(self, path):
        """Every command that takes a fragment."""
        return [["run", path, "--data", self.path("data"), "--out", self.path("out")], ["explain", path], ["dump", path, "--target", "cpu", "--out", self.path("dump")],
                ["dump", path, "--target", "cuda", "--out", self.path("dump")], ["breakdown", path], ["export", path], ["warmup", path], ["bench", path],
                ["bench", path, "--mode", "correctness"], ["bench", path, "--mode", "list"]]

    def assert_refused(self, result, *words):
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertTrue(result.stderr.startswith("athanor: error: "), result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)

    def changed(self, **changes):
        return {**json.loads(json.dumps(GOOD)), **changes}

    def assert_warned_once(self, result, *words):
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        for word in ("athanor: warning: ", "running uncached", *words):
            self.assertIn(word, result.stderr)

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

    def test_every_command_refuses_a_bad_fragment(self):
        node = GOOD["nodes"][0]
        bad = {"op": self.changed(nodes=[{**node, "op": "frob"}]), "shape": self.changed(inputs=[{**GOOD["inputs"][0], "shape": [2, -3]}]),
               "cycle": self.changed(nodes=[{**node, "inputs": ["z"]}, {"op": "exp", "inputs": ["y"], "outputs": ["z"]}]),
               "name": self.changed(nodes=[node, node]), "json": "{", "folder": None}
        os.mkdir(self.path("folder"))
        for name, fragment in bad.items():
            path = self.path("folder") if fragment is None else self.write_fragment(fragment, name + ".json")
            for command in self.commands(path):
                with self.subTest(bad=name, command=command[0]):
                    self.assert_refused(self.call(*command), path)
        for command in self.commands(self.path("none.json")):
            with self.subTest(bad="absent", command=command[0]):
                self.assert_refused(self.call(*command), "none.json")
        self.assertFalse(os.path.exists(self.path("dump")))

    def test_every_command_refuses_an_unknown_option(self):
        verbs = ["ls", "show x", "verify", "gc", "export", "import x", "merge x", "diff x", "clear"]
        for command in [*self.commands(self.write_fragment()), ["info"], *(["cache", *verb.split()] for verb in verbs)]:
            with self.subTest(command=command):
                self.assert_refused(self.call(*command, "--frob"), "--frob")
        self.assert_refused(self.call("cache", "frob"))
        self.assert_refused(self.call("cache"), "subcommand")
        self.assert_refused(self.call())

    def test_a_cache_that_cannot_be_made_is_one_warning(self):
        with open(self.path("file"), "w"):
            pass
        paths = [self.write_fragment(GOOD, name) for name in ("a.json", "b.json")]
        under_a_file = self.path("file/cache")              # not even root can make it
        run, explain, dump, _, breakdown, *_ = self.commands(paths[0])
        for command in (run, explain, dump, breakdown, ["bench", *paths, "--mode", "correctness"]):
            with self.subTest(command=command[0]):
                self.assert_warned_once(self.call(*command, ATHANOR_CACHE_DIR=under_a_file), under_a_file)
        for command in (["warmup", paths[0]], ["cache", "ls"], ["cache", "gc"], ["cache", "merge", self.path("data")]):
            with self.subTest(command=command):
                self.assert_refused(self.call(*command, ATHANOR_CACHE_DIR=under_a_file), under_a_file)
        for command in (["explain", paths[0]], ["bench", paths[0]], ["warmup", paths[0]], ["cache", "verify"]):
            with self.subTest(command=command):
                self.assert_refused(self.call(*command, ATHANOR_CACHE_DIR=self.path("file")), self.path("file"), "not a directory")

    def test_a_full_disk_under_the_cache_is_one_warning(self):
        paths = [self.write_fragment(GOOD, "a.json"), self.write_fragment(self.changed(nodes=[{"op": "tanh", "inputs": ["x"], "outputs": ["y"]}]), "b.json")]
        self.assert_warned_once(self.call(*self.commands(paths[0])[0], file_limit=300), self.path("cache"), "File too large")
        self.assertTrue(os.path.exists(self.path("out/y.npy")))
        self.assert_warned_once(self.call("bench", *paths, "--mode", "correctness", file_limit=300), self.path("cache"))
        self.assert_refused(self.call("warmup", paths[0], "--budget", "0", file_limit=300, ATHANOR_LOG="error"), "warmup", self.path("cache"))
        self.assertEqual([name for name in os.listdir(self.path("cache")) if not name.startswith("schedule-")], [])  # those are small enough

    def test_a_full_disk_under_the_results_is_an_error(self):
        path = self.write_fragment()
        run, explain, dump, *_ = self.commands(path)
        self.assertEqual(self.call(*explain).returncode, 0)  # the cache holds it
        self.assert_refused(self.call(*run, file_limit=100), "y.npy", "File too large")
        self.assert_refused(self.call(*dump, file_limit=100), "cpp", "File too large")
        self.assert_refused(self.call("export", path, "--out", self.path("e.json"), file_limit=100), "e.json", "File too large")
        self.assert_refused(self.call("breakdown", path, "--svg", self.path("b.svg"), file_limit=100), "b.svg", "File too large")
        for option in ("--json", "--csv", "--html"):
            self.assert_refused(self.call("bench", path, option, self.path("bench"), file_limit=10), "bench", "File too large")
        self.assert_refused(self.call("cache", "export", "--out", self.path("c.json"), file_limit=10), "c.json", "File too large")
        left = [name for _, _, files in os.walk(self.folder.name) for name in files]
        self.assertEqual([name for name in left if "partial" in name or name in ("y.npy", "e.json", "b.svg", "bench", "c.json")], [])
        for command in (["explain", path], ["breakdown", path], ["export", path], ["bench", path, "--mode", "list"], ["info"], ["cache", "ls"], ["cache", "export"]):
            with self.subTest(command=command), open("/dev/full", "w") as full:
                self.assert_refused(self.call(*command, stdout=full), "No space left on device")
        self.assert_refused(self.call("bench", path, "--json", "/dev/full"), "/dev/full", "No space left on device")
        self.assertTrue(os.path.exists("/dev/full"))

    def test_results_go_nowhere_else(self):
        path = self.write_fragment()
        for command in (["dump", path, "--target", "cpu", "--out", path], ["run", path, "--data", self.path("data"), "--out", path + "/out"],
                        ["export", path, "--out", self.path("none/e.json")], ["breakdown", path, "--svg", self.path("none/b.svg")],
                        ["bench", path, "--html", self.path("none/b.html")], ["bench", path, "--compare", self.path("none.json")]):
            with self.subTest(command=command):
                self.assert_refused(self.call(*command), command[-1])

    def test_bench_suites_and_usage(self):
        listed = self.call("bench", "--suite", "products", "--mode", "list")
        self.assertEqual(listed.returncode, 0, listed.stderr)
        self.assertIn("matmul_1024.fwd\n", listed.stdout)
        self.assertIn("linear_bias_gelu.train --grad\n", listed.stdout)
        self.assertNotIn("attention", listed.stdout)
        self.assert_refused(self.call("bench", "--suite", "frob"), "frob", "attention, convolutions")
        path = self.write_fragment()
        self.assert_refused(self.call("bench"), "--suite expected")
        self.assert_refused(self.call("bench", path, "--suite", "all"), "both are given")
        self.assert_refused(self.call("bench", path, "--peers", "eager,frob"), "frob", "inductor")
        self.assert_refused(self.call("bench", path, "--mode", "list", "--compare", path), "measures no time")
        self.assert_refused(self.call("bench", "--peers", "eager", path, "--peer-python", "/none/python"), "/none/python")
        self.assert_refused(self.call("bench", path, "--peers", "eager", "--peer-python", "/bin/true"), "/bin/true", "without an answer")

    def test_bench_reports_and_comparison(self):
        path = self.write_fragment(self.changed(inputs=[{"name": "x", "dtype": "f32", "shape": [200, 300], "grad": True},
                                                        {"name": "w", "dtype": "f32", "shape": [300, 100], "grad": True}],
                                                nodes=[{"op": "matmul", "inputs": ["x", "w"], "outputs": ["y"]}]))
        files = [self.path(name) for name in ("r.json", "r.csv", "r.html")]
        measured = self.call("bench", path, "--grad", "--threads", "1", "--json", files[0], "--csv", files[1], "--html", files[2])
        self.assertEqual(measured.returncode, 0, measured.stderr)
        with open(files[0]) as file:
            document = json.load(file)
        row = document["results"][0]
        self.assertTrue(row["right"] and row["max_rel_error"] <= row["allowed_rel_error"])
        self.assertGreater(row["roofline_fraction"], 0)
        with open(files[1]) as file:
            header, line = file.read().splitlines()
        self.assertEqual(len(header.split(",")), len(line.split(",")))
        with open(files[2]) as file:
            page = file.read()
        for word in ("<svg", "<circle", "FLOPs a byte", ">f<", "</html>"):
            self.assertIn(word, page)
        # Against a run that was a hundred times better, or worse: beyond any noise.
        fraction = row["roofline_fraction"]
        for factor, word, status in ((100, "SLOW", 1), (0.01, "FAST", 0)):
            row["roofline_fraction"] = fraction * factor
            with open(files[0], "w") as file:
                json.dump(document, file)
            compared = self.call("bench", path, "--grad", "--threads", "1", "--compare", files[0])
            self.assertEqual(compared.returncode, status, compared.stderr)
            self.assertIn(word, compared.stdout)
        self.assert_refused(self.call("bench", self.write_fragment(GOOD, "other.json"), "--compare", files[0]), "none of these fragments")
        for bad in ("{", "[]", '{"results": [{"name": "f"}]}'):
            self.assert_refused(self.call("bench", path, "--compare", self.write_fragment(bad, "bad.json")), "bad.json")

    def test_cache_bundles(self):
        path = self.write_fragment()
        self.assertEqual(self.call("warmup", path, "--budget", "1", "--threads", "1").returncode, 0)
        exported = self.call("cache", "export", "--out", self.path("t.json"))
        self.assertEqual(exported.returncode, 0, exported.stderr)
        other = {"ATHANOR_CACHE_DIR": self.path("other")}
        for counts in ({"added": 1, "replaced": 0, "kept": 0}, {"added": 0, "replaced": 0, "kept": 1}):
            imported = self.call("cache", "import", self.path("t.json"), "--json", **other)
            self.assertEqual(imported.returncode, 0, imported.stderr)
            self.assertEqual(json.loads(imported.stdout), counts)
        self.assertTrue(all(name.startswith("schedule-") for name in os.listdir(self.path("other"))))  # no machine code has come along
        used = self.call("explain", path, "--threads", "1", "--json", ATHANOR_TUNE="cached", **other)
        self.assertEqual(used.returncode, 0, used.stderr)
        self.assertEqual(self.call("cache", "export", **other).stdout, self.call("cache", "export").stdout)
        with open(self.path("t.json")) as file:
            text = file.read()
        for bad, word in ((text[:-3], "t.json"), (text.replace("loop task=", "loop tusk="), "records[0]"), (text.replace("tuning/1", "tuning/2"), "athanor.tuning/1"),
                          (text.replace('"threads"', '"payload"'), "threads"), ("", "t.json")):
            self.write_fragment(bad, "t.json")
            self.assert_refused(self.call("cache", "import", self.path("t.json"), **other), word)
        entry = next(os.path.join(self.path("cache"), name) for name in os.listdir(self.path("cache")) if name.startswith("binary-"))
        self.assert_refused(self.call("cache", "import", entry, **other), "machine code")
        self.assert_refused(self.call("cache", "import", self.path("none.json"), **other), "none.json")

    def test_cache_merge_diff_and_gc(self):
        path = self.write_fragment()
        self.assertEqual(self.call("explain", path).returncode, 0)
        other = self.path("other")
        self.assertEqual(self.call("explain", path, "--grad", ATHANOR_CACHE_DIR=other).returncode, 0)
        differ = self.call("cache", "diff", other, "--json")
        self.assertEqual(differ.returncode, 1, differ.stderr)
        self.assertTrue(json.loads(differ.stdout)["only_there"])
        merged = self.call("cache", "merge", other, "--json")
        self.assertEqual(merged.returncode, 0, merged.stderr)
        self.assertGreater(json.loads(merged.stdout)["added"], 0)
        self.assertEqual(self.call("explain", path, "--grad", ATHANOR_NO_JIT="1").returncode, 0)
        self.call("cache", "merge", self.path("cache"), ATHANOR_CACHE_DIR=other)
        self.assertEqual(self.call("cache", "diff", other).returncode, 0)
        for command in ("merge", "diff"):
            self.assert_refused(self.call("cache", command, self.path("none")), self.path("none"))
        self.assertFalse(os.path.exists(self.path("none")))
        names = sorted(os.listdir(other))
        for name in names[1:]:
            os.utime(os.path.join(other, name), (1e9, 1e9))
        removed = json.loads(self.call("cache", "gc", "--size", "0", "--json", ATHANOR_CACHE_DIR=other).stdout)
        self.assertEqual((removed["removed"], removed["kept"]), (len(names) - 1, 1))
        self.assertEqual(os.listdir(other), names[:1])       # it is in use
        self.assert_refused(self.call("cache", "gc", "--size", "-1"), "--size")

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

    def test_inputs_with_strides_are_measured(self):
        path = self.write_fragment(self.changed(inputs=[{"name": "x", "dtype": "f32", "shape": [20, 30], "strides": [96, 3], "grad": True},
                                                        {"name": "w", "dtype": "f32", "shape": [30, 10], "strides": [0, 1]}],
                                                nodes=[{"op": "matmul", "inputs": ["x", "w"], "outputs": ["y"]}]))
        measured = self.call("bench", path, "--grad", "--threads", "1", "--json", self.path("r.json"))
        self.assertEqual(measured.returncode, 0, measured.stderr)
        with open(self.path("r.json")) as file:
            self.assertTrue(json.load(file)["results"][0]["right"])
        self.assertIn("product", self.call("breakdown", path).stdout)

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
                          ["warmup", self.path("f.json"), "--budget", "1", "--json"], ["cache", "show", "binary", "--json"], ["cache", "gc", "--json"]):
            result = self.call(*arguments)
            self.assertEqual(result.returncode, 0, result.stderr)
            json.loads(result.stdout)


if __name__ == "__main__":
    unittest.main()
