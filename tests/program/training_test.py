"""The training example: the same seed gives the same weights, bit for bit. usage: training_test.py TRAIN_VIT"""
import hashlib
import os
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.path.abspath(sys.argv.pop(1))


class Training(unittest.TestCase):
    def train(self, folder, *arguments):
        result = subprocess.run([PROGRAM, "--out", folder, *arguments], capture_output=True, text=True, timeout=300)
        self.assertEqual(result.returncode, 0, result.stderr)
        with open(os.path.join(folder, "checkpoint.safetensors"), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()

    def test_threads_and_resuming_change_no_bit(self):
        with tempfile.TemporaryDirectory() as root:
            one, two, parts = (os.path.join(root, name) for name in ("one", "two", "parts"))
            expected = self.train(one, "--steps", "4", "--threads", "1")
            self.assertEqual(self.train(two, "--steps", "4", "--threads", "2"), expected)
            self.assertNotEqual(self.train(parts, "--steps", "2", "--threads", "2"), expected)
            self.assertEqual(self.train(parts, "--steps", "2", "--threads", "1", "--resume", os.path.join(parts, "checkpoint.safetensors")), expected)
            self.assertNotEqual(self.train(two, "--steps", "4", "--seed", "1"), expected)

    def test_a_bad_checkpoint_is_refused(self):
        with tempfile.TemporaryDirectory() as root:
            path = os.path.join(root, "bad.safetensors")
            with open(path, "wb") as file:
                file.write(b"\xff" * 64)
            result = subprocess.run([PROGRAM, "--out", root, "--resume", path], capture_output=True, text=True, timeout=300)
            self.assertEqual(result.returncode, 2)
            self.assertIn("bad.safetensors", result.stderr)


if __name__ == "__main__":
    unittest.main()
