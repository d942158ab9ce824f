"""The training example: the same seed gives the same weights, bit for bit. usage: training_test.py TRAIN_VIT"""
import hashlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = os.path.abspath(sys.argv.pop(1))


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def catches_interrupts(process):
    """Whether the process has a handler for SIGINT by now: it is then about to take its first step, or further."""
    try:
        with open(f"/proc/{process.pid}/status") as file:
            caught = next(line for line in file if line.startswith("SigCgt")).split()[1]
    except (FileNotFoundError, StopIteration):
        return False
    return bool(int(caught, 16) >> (signal.SIGINT - 1) & 1)


class Training(unittest.TestCase):
    def train(self, folder, *arguments):
        result = subprocess.run([PROGRAM, "--out", folder, *arguments], capture_output=True, text=True, timeout=300)
        self.assertEqual(result.returncode, 0, result.stderr)
        return digest(os.path.join(folder, "checkpoint.safetensors"))

    def test_threads_and_resuming_change_no_bit(self):
        with tempfile.TemporaryDirectory() as root:
            one, two, parts = (os.path.join(root, name) for name in ("one", "two", "parts"))
            expected = self.train(one, "--steps", "4", "--threads", "1")
            self.assertEqual(self.train(two, "--steps", "4", "--threads", "2"), expected)
            self.assertNotEqual(self.train(parts, "--steps", "2", "--threads", "2"), expected)
            self.assertEqual(self.train(parts, "--steps", "2", "--threads", "1", "--resume", os.path.join(parts, "checkpoint.safetensors")), expected)
            self.assertNotEqual(self.train(two, "--steps", "4", "--seed", "1"), expected)

    def test_ctrl_c_stops_with_a_checkpoint_to_go_on_from(self):
        with tempfile.TemporaryDirectory() as root:
            stopped, whole = os.path.join(root, "stopped"), os.path.join(root, "whole")
            process = subprocess.Popen([PROGRAM, "--out", stopped], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            while not catches_interrupts(process):
                self.assertIsNone(process.poll(), "the program ended before its first step")
                time.sleep(0.01)
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=120)
            self.assertEqual(process.returncode, 0, errors)
            step = int(re.search(r"stopped after step (\d+)", output).group(1))
            checkpoint = os.path.join(stopped, "checkpoint.safetensors")
            self.assertEqual(digest(checkpoint), self.train(whole, "--steps", str(step)))
            self.assertEqual(self.train(stopped, "--steps", "2", "--resume", checkpoint), self.train(whole, "--steps", str(step + 2)))
            self.assertEqual(sorted(name for name in os.listdir(stopped) if "partial" in name), [])

    def test_a_bad_checkpoint_is_refused(self):
        with tempfile.TemporaryDirectory() as root:
            path = os.path.join(root, "bad.safetensors")
            with open(path, "wb") as file:
                file.write(b"\xff" * 64)
            result = subprocess.run([PROGRAM, "--out", root, "--resume", path], capture_output=True, text=True, timeout=300)
            self.assertEqual(result.returncode, 2)
            self.assertIn("bad.safetensors", result.stderr)

    def test_bad_options_and_folders_are_one_error(self):
        with tempfile.TemporaryDirectory() as root:
            path = os.path.join(root, "file")
            open(path, "w").close()
            for arguments, word in ((["--frob"], "--frob"), (["--epochs", "0"], "--epochs"), (["--out", root, "--data", root], "dataset-fashion-mnist"),
                                    (["--out", path + "/out"], path)):
                result = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=300, cwd=root)
                self.assertEqual(result.returncode, 2, word)
                self.assertTrue(result.stderr.startswith("train_vit: error: "), result.stderr)
                self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
                self.assertIn(word, result.stderr)


if __name__ == "__main__":
    unittest.main()
