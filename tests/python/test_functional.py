"""torch.ops.athanor.*: PyTorch's own checks of custom operators, and eager's results."""
import unittest

import torch
import torch.nn.functional as F

import athanor
from athanor.torch.functional import attention, conv_bn_act, linear_act
from testing import Reports


def leaves(*shapes, dtype=torch.float64):
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]


def reference_conv(x, w, mean, var, gamma, beta, stride, padding, dilation, groups, eps, activation):
    return getattr(F, activation)(F.batch_norm(F.conv2d(x, w, None, stride, padding, dilation, groups), mean, var, gamma, beta, False, 0.0, eps))


class FunctionalTest(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(4)

    def check(self, operation, arguments, reference):
        """opcheck, gradcheck, and the same results as `reference` by itself and compiled."""
        torch.library.opcheck(operation, arguments)
        self.assertTrue(torch.autograd.gradcheck(operation, arguments))
        wanted = [a for a in arguments if isinstance(a, torch.Tensor) and a.requires_grad]
        expected = reference(*arguments)
        dy = torch.randn_like(expected)
        gradients = torch.autograd.grad(expected, wanted, dy)
        torch._dynamo.reset()
        with Reports() as seen:
            compiled = torch.compile(lambda *args: operation(*args), backend="athanor")(*arguments)
            self.assertEqual(seen.fallbacks, set())
        for got in (operation(*arguments), compiled):
            torch.testing.assert_close(got, expected)
            for g, e in zip(torch.autograd.grad(got, wanted, dy), gradients, strict=True):
                torch.testing.assert_close(g, e)

    def test_linear_act(self):
        x, w, b = leaves((2, 3, 5), (4, 5), (4,))
        self.check(linear_act, (x, w, b, "gelu"), lambda x, w, b, a: F.gelu(F.linear(x, w, b)))
        self.check(linear_act, (x, w, None, "none"), lambda x, w, b, a: F.linear(x, w))

    def test_attention(self):
        q, k, v, mask = leaves((2, 3, 5, 4), (2, 3, 6, 4), (2, 3, 6, 4), (5, 6))
        self.check(attention, (q, k, v, None, True, None), lambda q, k, v, m, c, s: F.scaled_dot_product_attention(q, k, v, is_causal=True))
        self.check(attention, (q, k, v, mask, False, 0.3), lambda q, k, v, m, c, s: F.scaled_dot_product_attention(q, k, v, m, scale=s))

    def test_conv_bn_act(self):
        x, w, gamma, beta = leaves((2, 4, 6, 5), (6, 2, 3, 3), (6,), (6,))
        mean, var = torch.randn(6, dtype=torch.float64), torch.rand(6, dtype=torch.float64) + 0.5
        self.check(conv_bn_act, (x, w, mean, var, gamma, beta, [2, 1], [1, 0], [1, 1], 2, 1e-3, "silu"), reference_conv)

    def test_bad_use_is_an_error(self):
        x, w = torch.randn(3, 5), torch.randn(4, 6)
        with self.assertRaisesRegex(athanor.Error, "linear"):
            linear_act(x, w, None)
        with self.assertRaisesRegex(athanor.Error, "activation is 'swish'"):
            linear_act(x, x, None, "swish")


if __name__ == "__main__":
    unittest.main()
