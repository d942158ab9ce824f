"""rounding.py excuses what rounding does, and nothing else."""
import pathlib
import sys
import unittest

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench" / "peers"))
import rounding
from fragment_torch import evaluate_with_gradients

FRAGMENT = {"inputs": [{"name": "x", "grad": True}, {"name": "w", "grad": True}],
            "nodes": [{"op": "linear", "inputs": ["x", "w"], "outputs": ["h"]}, {"op": "relu", "inputs": ["h"], "outputs": ["y"]}], "outputs": ["y"]}
ALLOWED = 2e-5


class RoundingTest(unittest.TestCase):
    def setUp(self):
        random = torch.Generator().manual_seed(0)
        self.inputs = {name: torch.randn(shape, generator=random, dtype=torch.float64) for name, shape in [("x", (16, 8)), ("w", (4, 8))]}
        x, w = self.inputs["x"], self.inputs["w"]
        x[5] -= (x[5] @ w[2]) / (w[2] @ w[2]) * w[2]             # h[5, 2] is zero, up to rounding in f64
        self.seeds = {"y": torch.ones(16, 4, dtype=torch.float64)}
        self.exact = evaluate_with_gradients(FRAGMENT, self.inputs, self.seeds)
        self.noisy = [evaluate_with_gradients(FRAGMENT, self.inputs, self.seeds, rounding.noise("f32", seed)) for seed in range(rounding.RUNS)]

    def right(self, name: str, got: torch.Tensor) -> bool:
        moved = rounding.moves(self.exact[name], [run[name] for run in self.noisy])
        return rounding.within(got, self.exact[name], moved, ALLOWED * self.exact[name].abs().max().item())

    def test_the_other_side_of_a_kink_is_right(self):
        mask = torch.zeros(16, 4, dtype=torch.float64)
        mask[5, 2] = 1
        flips = [self.exact["grad.x"] + sign * mask @ self.inputs["w"] for sign in (1, -1)]
        # One of the two is what the other side gives; its jump is no rounding error.
        self.assertGreater((flips[0] - self.exact["grad.x"]).abs().max().item(), 0.1)
        self.assertTrue(any(self.right("grad.x", flip) for flip in flips))

    def test_an_error_elsewhere_is_wrong(self):
        for name, place in [("grad.x", (3, 1)), ("y", (5, 2)), ("y", (0, 0))]:
            got = self.exact[name].clone()
            got[place] += 1e-3 * got.abs().max()
            self.assertFalse(self.right(name, got), name)

    def test_a_larger_jump_than_the_kink_is_wrong(self):
        got = self.exact["grad.x"].clone()
        got[5] += 5 * self.inputs["w"][2]
        self.assertFalse(self.right("grad.x", got))

    def test_infinities_and_nans_must_be_the_same(self):
        exact = torch.tensor([1.0, float("inf"), float("nan")], dtype=torch.float64)
        moved = rounding.moves(exact, [exact])
        self.assertTrue(rounding.within(exact, exact, moved, 1e-5))
        for got in ([1.0, 1.0, float("nan")], [1.0, float("inf"), 0.0], [float("nan"), float("inf"), float("nan")]):
            self.assertFalse(rounding.within(torch.tensor(got), exact, moved, 1e-5))


if __name__ == "__main__":
    unittest.main()
