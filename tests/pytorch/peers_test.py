"""`athanor bench --peers` against the PyTorch of this interpreter. usage: peers_test.py PROGRAM"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.path.abspath(sys.argv.pop(1))
FRAGMENT = {"format": "athanor.fragment/1", "name": "t", "inputs": [{"name": "x", "dtype": "f32", "shape": [64, 96], "strides": [100, 1], "grad": True},
                                                                     {"name": "w", "dtype": "f32", "shape": [32, 96], "grad": True}],
            "nodes": [{"op": "linear", "inputs": ["x", "w"], "outputs": ["h"]}, {"op": "relu", "inputs": ["h"], "outputs": ["y"]}], "outputs": ["y"]}


class Peers(unittest.TestCase):
    def check(self, names, peers):
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                with open(os.path.join(folder, name + ".json"), "w") as file:
                    json.dump(FRAGMENT, file)
            report = os.path.join(folder, "report")
            run = subprocess.run([PROGRAM, "bench", folder, "--threads", "1", "--peers", ",".join(peers), "--peer-python", sys.executable, "--json", report],
                                 env={**os.environ, "ATHANOR_CACHE_DIR": os.path.join(folder, "cache")}, capture_output=True, text=True, timeout=500)
            self.assertEqual(run.returncode, 0, run.stderr)
            self.assertIn("times ours", run.stdout)
            with open(report) as file:
                results = json.load(file)["results"]
            self.assertEqual([result["name"] for result in results], names)
            for result in results:
                self.assertEqual(set(result["peers"]), set(peers))
                for time in result["peers"].values():
                    self.assertGreaterEqual(time["ms_median"], time["ms_min"])
                    self.assertGreater(time["ms_min"], 0)

    def test_eager(self):
        self.check(["one.fwd", "two.train"], ["eager"])

    def test_inductor(self):
        self.check(["one.train"], ["eager", "inductor"])


if __name__ == "__main__":
    unittest.main()
