"""The package without a framework's compiler: fragments and executables on tensors of PyTorch and NumPy."""
import json
import os
import subprocess
import sys
import tempfile
import threading
import unittest

import numpy as np
import torch

import athanor

LINEAR = {"format": "athanor.fragment/1", "name": "linear",
          "inputs": [{"name": "x", "dtype": "f32", "shape": [5, 7], "grad": True}, {"name": "w", "dtype": "f32", "shape": [3, 7], "grad": True}],
          "nodes": [{"op": "linear", "inputs": ["x", "w"], "outputs": ["h"]}, {"op": "gelu", "inputs": ["h"], "outputs": ["y"]}], "outputs": ["y"]}


def pointwise(op, *dtypes, shape=(4, 6)):
    names = [f"x{i}" for i in range(len(dtypes))]
    return {"format": "athanor.fragment/1", "name": op, "inputs": [{"name": n, "dtype": d, "shape": list(shape)} for n, d in zip(names, dtypes)],
            "nodes": [{"op": op, "inputs": names, "outputs": ["y"]}], "outputs": ["y"]}


class PackageTest(unittest.TestCase):
    def test_pytorch_and_numpy_agree(self):
        executable = athanor.compile(LINEAR)
        x, w = torch.randn(5, 7), torch.randn(3, 7)
        expected = torch.nn.functional.gelu(x @ w.t())
        torch.testing.assert_close(executable(x, w), expected, rtol=1e-5, atol=1e-5)
        result = executable(x.numpy(), w.numpy())
        self.assertIsInstance(result, np.ndarray)
        np.testing.assert_allclose(result, expected.numpy(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(executable(w=w, x=x), expected, rtol=1e-5, atol=1e-5)

    def test_gradients(self):
        x, w, dy = torch.randn(5, 7, requires_grad=True), torch.randn(3, 7, requires_grad=True), torch.randn(5, 3)
        y, dx, dw = athanor.compile(LINEAR, grad=True)(x.detach(), w.detach(), dy)
        expected = torch.nn.functional.gelu(x @ w.t())
        torch.testing.assert_close(y, expected.detach(), rtol=1e-5, atol=1e-5)
        for got, want in zip((dx, dw), torch.autograd.grad(expected, (x, w), dy)):
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)

    def test_any_strides(self):
        add = athanor.compile(pointwise("add", "f32", "f32"))
        a, b = torch.randn(6, 4).t(), torch.randn(1, 12)[:, ::2].expand(4, 6)
        torch.testing.assert_close(add(a, b), a + b)
        out = torch.zeros(6, 4).t()
        self.assertIs(add(a, b, out=[out]), out)
        torch.testing.assert_close(out, a + b)
        reverse = np.arange(24, dtype=np.float32).reshape(4, 6)[::-1, ::-1]
        np.testing.assert_array_equal(add(reverse, np.ones((4, 6), np.float32)), reverse + 1)

    def test_every_dtype(self):
        for dtype, name in ((torch.float32, "f32"), (torch.float64, "f64"), (torch.bfloat16, "bf16"), (torch.float16, "f16"), (torch.int32, "i32"),
                            (torch.int64, "i64"), (torch.uint8, "u8")):
            a, b = (torch.arange(24).reshape(4, 6).to(dtype) for _ in range(2))
            result = athanor.compile(pointwise("add", name, name))(a, b)
            self.assertEqual(result.dtype, dtype)
            torch.testing.assert_close(result, a + b)

    def test_in_place(self):
        executable = athanor.compile(pointwise("sub", "f32", "f32"), in_place={"y": "x0"})
        p, g = torch.randn(4, 6), torch.randn(4, 6)
        expected = p - g
        self.assertIs(executable(p, g), p)
        torch.testing.assert_close(p, expected)

    def test_bad_use_is_an_error_that_says_what(self):
        executable = athanor.compile(LINEAR, settings={"threads": 1})
        self.assertEqual(executable.report["threads"], 1)
        x, w = torch.randn(5, 7), torch.randn(3, 7)
        for call, text in [(lambda: executable(x), r"inputs given: 1 by place; expected \['x', 'w'\]"),
                           (lambda: executable(x, w, w), "3 by place"),
                           (lambda: executable(x, v=w), r"\['v'\] by name"),
                           (lambda: executable(x.double(), w), "input 'x' has dtype float64, expected f32"),
                           (lambda: executable(x, x), r"input 'w' has shape \[5, 7\], expected \[3, 7\]"),
                           (lambda: executable([1, 2], w), "input 'x' is a list, expected a tensor"),
                           (lambda: executable(x.clone().requires_grad_(), w), "input 'x' can't be handed over"),
                           (lambda: executable(x, w, out=[torch.empty(2)]), r"output 'y' has shape \[2\]"),
                           (lambda: athanor.compile(LINEAR, settings={"threads": "many"}), "'many' given"),
                           (lambda: athanor.compile({"format": "athanor.fragment/1"}), "has no \"inputs\""),
                           (lambda: athanor.load("/nowhere.json"), "/nowhere.json"),
                           (lambda: athanor.compile(LINEAR, in_place={"y": "x"}), "in place")]:
            with self.assertRaisesRegex(athanor.Error, text):
                call()

    def test_a_device_that_is_not_the_host_is_refused(self):
        with self.assertRaisesRegex(athanor.Error, "input 'x' can't be handed over: .*meta"):
            athanor.compile(LINEAR)(torch.empty(5, 7, device="meta"), torch.randn(3, 7))

    def test_read_only_outputs_are_refused(self):
        out = np.zeros((4, 6), np.float32)
        out.flags.writeable = False
        with self.assertRaisesRegex(athanor.Error, "output 'y'"):
            athanor.compile(pointwise("add", "f32", "f32"))(out, out, out=[out])

    def test_threads_share_an_executable(self):
        executable, wrong = athanor.compile(LINEAR), []

        def work(seed):
            generator = torch.Generator().manual_seed(seed)
            x, w = torch.randn(5, 7, generator=generator), torch.randn(3, 7, generator=generator)
            expected = torch.nn.functional.gelu(x @ w.t())
            for _ in range(200):
                if not torch.allclose(executable(x, w), expected, rtol=1e-4, atol=1e-5):
                    wrong.append(seed)
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_fragments_describe_themselves(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "linear.json")
            with open(path, "w", encoding="utf-8") as file:
                json.dump(LINEAR, file)
            fragment = athanor.load(path)
            self.assertEqual(fragment.inputs[1], athanor.TensorSpec("w", "f32", (3, 7), (7, 1)))
            self.assertEqual([o.name for o in fragment.gradient().outputs], ["y", "grad.x", "grad.w"])
            athanor.compile(path)

    def test_the_module_is_the_program(self):
        done = subprocess.run([sys.executable, "-m", "athanor", "--version"], capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout.split(), ["athanor", athanor.version()])


if __name__ == "__main__":
    unittest.main()
