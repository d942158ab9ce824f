"""torch.compile(backend="athanor") against eager: training, fallbacks, and what programs do besides."""
import contextlib
import copy
import json
import os
import pickle
import threading
import unittest

import torch
import torch.nn.functional as F
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

import athanor
from athanor.torch.compiled_graph import recorders
from athanor.torch.compiler import compile_graph
from athanor.torch.pending import Pending
from testing import Reports, assert_trains_like_eager, error


class Block(nn.Module):
    """A pre-norm Transformer block over embedded tokens, with its loss."""

    def __init__(self, width=32, heads=4, vocabulary=50, dropout=0.0):
        super().__init__()
        self.heads = heads
        self.embedding = nn.Embedding(vocabulary, width)
        self.norm1, self.norm2, self.last = nn.LayerNorm(width), nn.LayerNorm(width), nn.RMSNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens):
        x = self.embedding(tokens)
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(batch, length, width)
        x = x + self.dropout(self.out(y))
        x = self.last(x + self.dropout(self.mlp(self.norm2(x))))
        return F.cross_entropy((x @ self.embedding.weight.t()).flatten(0, 1), tokens.roll(1, 1).flatten())


def cnn():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, stride=2),
                         nn.GroupNorm(4, 16), nn.SiLU(), nn.Conv2d(16, 16, 3, padding=1, groups=4), nn.BatchNorm2d(16), nn.Hardswish(), nn.AvgPool2d(2),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5), nn.LogSoftmax(-1))


def mlp():
    return nn.Sequential(nn.Linear(9, 33), nn.GELU(), nn.LayerNorm(33), nn.Linear(33, 33), nn.Tanh(), nn.Linear(33, 3), nn.Sigmoid())


@contextlib.contextmanager
def recorded():
    """The inputs of the backward fragments that are compiled inside the `with`."""
    inputs = []

    def record(_, text):
        fragment = json.loads(text)
        if fragment["name"].startswith("backward"):
            inputs.extend(fragment["inputs"])
    recorders.append(record)
    try:
        yield inputs
    finally:
        recorders.remove(record)


class TrainingTest(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(1)
        torch._dynamo.reset()

    def test_mlp(self):
        seen = assert_trains_like_eager(self, mlp(), [(torch.randn(7, 9),) for _ in range(3)])
        self.assertEqual(seen.fallbacks, set())
        self.assertEqual([len(g.partitions) for g in seen.graphs], [1, 1])

    def test_cnn_with_batch_norm(self):
        seen = assert_trains_like_eager(self, cnn(), [(torch.randn(4, 3, 17, 15),) for _ in range(3)])
        self.assertEqual(seen.fallbacks, set())

    def test_transformer_block(self):
        seen = assert_trains_like_eager(self, Block(), [(torch.randint(0, 50, (3, 11)),) for _ in range(3)])
        self.assertEqual(seen.fallbacks, set())

    def test_channels_last(self):
        model = cnn().to(memory_format=torch.channels_last)
        assert_trains_like_eager(self, model, [(torch.randn(4, 3, 17, 15).to(memory_format=torch.channels_last),)])

    def test_changing_batch_sizes(self):
        seen = assert_trains_like_eager(self, mlp(), [(torch.randn(n, 9),) for n in (3, 5, 7, 3, 5)], steps=10)
        self.assertLessEqual(len(seen.graphs), 8)            # forward and backward for each size, the first one twice

    def test_dropout_draws_what_eager_draws(self):
        model = Block(dropout=0.3)
        seen = assert_trains_like_eager(self, model, [(torch.randint(0, 50, (3, 11)),)])
        self.assertEqual(seen.fallbacks, {"aten.bernoulli.p", "aten.empty.memory_format"})

    def test_optimizer(self):
        def compiled_adamw(parameters):
            optimizer = torch.optim.AdamW(parameters, lr=1e-3)
            optimizer.step = torch.compile(optimizer.step, backend="athanor")
            return optimizer
        model, x = mlp(), torch.randn(7, 9)
        expected, ours = copy.deepcopy(model), copy.deepcopy(model)
        with Reports() as seen:
            for subject, make in ((expected, lambda p: torch.optim.AdamW(p, lr=1e-3)), (ours, compiled_adamw)):
                optimizer = make(list(subject.parameters()))
                for _ in range(3):
                    optimizer.zero_grad()
                    subject(x).pow(2).mean().backward()
                    optimizer.step()
        self.assertGreater(seen.operations, 8 * 10, "an update of 8 parameters")
        for p, q in zip(expected.parameters(), ours.parameters()):
            torch.testing.assert_close(q, p, rtol=1e-5, atol=1e-6)

    def test_autocast(self):
        model, x = mlp(), torch.randn(16, 9)
        exact = copy.deepcopy(model).double()(x.double())
        compiled = torch.compile(model, backend="athanor")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            eager, ours = model(x), compiled(x)
        self.assertEqual(ours.dtype, eager.dtype)
        self.assertLessEqual(error(ours, exact), max(2 * error(eager, exact), 1e-2))
        precise = copy.deepcopy(model).double()
        precise(x.double()).sum().backward()
        gradients = []
        for y in (eager, ours):
            model.zero_grad()
            y.float().sum().backward()
            gradients.append([p.grad.clone() for p in model.parameters()])
        for p, peer, got in zip(precise.parameters(), *gradients):
            self.assertLessEqual(error(got, p.grad), max(2 * error(peer, p.grad), 1e-2))


class MeaningTest(unittest.TestCase):
    """Functions equal to themselves in eager."""

    def setUp(self):
        torch.manual_seed(2)
        torch._dynamo.reset()

    def same(self, function, *inputs):
        """Compiled equals eager in outputs, strides, gradients, and in what became of the inputs. Returns the reports, forward and backward."""
        mine = [x.detach().clone(memory_format=torch.preserve_format).requires_grad_(x.requires_grad) if isinstance(x, torch.Tensor) else x for x in inputs]
        expected = function(*inputs)
        listed = lambda x: list(x) if isinstance(x, (list, tuple)) else [x]
        with Reports() as seen:
            got = torch.compile(function, backend="athanor")(*mine)
            wanted = [e for e in listed(expected) if e.requires_grad]
            if wanted:
                torch.autograd.backward(wanted, [torch.ones_like(e) for e in wanted])
                torch.autograd.backward([g for g in listed(got) if g.requires_grad], [torch.ones_like(e) for e in wanted])
        for g, e in zip(listed(got), listed(expected), strict=True):
            torch.testing.assert_close(g, e, rtol=1e-5, atol=1e-5)
            self.assertEqual(g.stride(), e.stride())
        for m, i in zip(mine, inputs):
            if isinstance(i, torch.Tensor):
                torch.testing.assert_close(m, i, rtol=1e-5, atol=1e-5)
                if i.requires_grad:
                    torch.testing.assert_close(m.grad, i.grad, rtol=1e-5, atol=1e-5)
        return seen

    def test_views_of_inputs_and_intermediates_alias(self):
        self.same(lambda x: (x.t(), (x * 2)[1:], x.view(-1)[3:9]), torch.randn(4, 6))
        function = torch.compile(lambda x: (x.t(), x + 1), backend="athanor")
        x = torch.randn(4, 6)
        view, _ = function(x)
        self.assertEqual(view.data_ptr(), x.data_ptr())

    def test_in_place_updates_of_inputs(self):
        self.same(lambda x: x.add_(1).mul_(3), torch.randn(5))
        self.same(lambda x: (x[1:].relu_().sum(), x), torch.randn(5, 3))

        def through_a_view(x):
            x.t()[2].sigmoid_()
            return x * 2
        self.same(through_a_view, torch.randn(5, 3))

    def test_non_contiguous_inputs(self):
        self.same(lambda x, y: (x @ y).relu(), torch.randn(7, 12)[:, ::2], torch.randn(5, 6).t())
        self.same(lambda x: torch.softmax(x, 1), torch.randn(3, 1, 4).expand(3, 5, 4).requires_grad_())
        self.same(lambda x: x.sum(0) * 2, torch.randn(6, 8, 5).permute(2, 0, 1).requires_grad_())

    def test_gradients_that_lie_otherwise_than_when_traced(self):
        function = torch.compile(lambda x: torch.tanh(x) * x, backend="athanor")
        x = torch.randn(4, 6, requires_grad=True)
        for dy in (torch.randn(4, 6), torch.randn(6, 4).t(), torch.randn(1, 1).expand(4, 6), torch.randn(4, 12)[:, ::2]):
            expected = torch.autograd.grad(torch.tanh(x) * x, x, dy)[0]
            torch.testing.assert_close(torch.autograd.grad(function(x), x, dy)[0], expected, rtol=1e-5, atol=1e-5)

    def test_no_grad_and_evaluation(self):
        model, x = cnn().eval(), torch.randn(2, 3, 17, 15)
        compiled = torch.compile(model, backend="athanor")
        with torch.no_grad(), Reports() as seen:
            torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)
        self.assertEqual([g.kind for g in seen.graphs], ["inference"])
        self.assertEqual(seen.fallbacks, set())

    def test_some_outputs_want_no_gradient(self):
        self.same(lambda x: (x.relu(), x.detach().exp(), x > 0), torch.randn(4, 5, requires_grad=True))

    def test_equal_and_passed_through_outputs(self):
        def function(x):
            y = x * 2
            return y, y, x, x.sum()
        self.same(function, torch.randn(4, 5))

    def test_integers_booleans_and_doubles(self):
        self.same(lambda i, j: (i + j, i * 3, i > j, (i == j) | (i < 2), ~(i >= j)), torch.arange(6), torch.tensor([3, 1, 2, 3, 9, 5]))
        self.same(lambda x: (x.exp() / 3).sum(), torch.randn(4, 5, dtype=torch.float64, requires_grad=True))

    def test_empty_and_scalar_tensors(self):
        self.same(lambda x: (x * 2, x.sum(), x.sum(0)), torch.randn(0, 4))
        self.same(lambda x: x.exp() + 1, torch.randn((), requires_grad=True))

    def test_max_pool_indices_that_are_wanted(self):
        seen = self.same(lambda x: F.max_pool2d(x, 2, return_indices=True), torch.randn(1, 2, 6, 6))
        self.assertIn("aten.max_pool2d_with_indices.default", seen.fallbacks)

    def test_attention_masks(self):
        q, k, v = (torch.randn(2, 3, n, 8, requires_grad=True) for n in (5, 7, 7))
        for mask in (torch.randn(2, 1, 5, 7), torch.rand(5, 7) > 0.3):
            self.same(lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, attn_mask=m), *(t.detach().requires_grad_() for t in (q, k, v)), mask)

    def test_transposed_convolutions(self):
        for make, *sizes in ((nn.ConvTranspose2d, 9, 7), (nn.ConvTranspose1d, 9)):
            for how in ({}, {"stride": 2, "padding": 1, "output_padding": 1}, {"groups": 2, "bias": False}, {"dilation": 2, "stride": 3}):
                conv, x = make(4, 6, 3, **how), torch.randn(2, 4, *sizes, requires_grad=True)
                parameters = [p.detach().requires_grad_() for p in conv.parameters()]
                names = [n for n, _ in conv.named_parameters()]
                torch._dynamo.reset()
                seen = self.same(lambda x, *p: torch.func.functional_call(conv, dict(zip(names, p)), (x,)).tanh(), x, *parameters)
                self.assertEqual(seen.fallbacks, set())
                self.assertEqual([g.kind for g in seen.graphs], ["forward", "backward"])

    def test_adaptive_pools(self):
        for sizes, out in (((12, 6), (3, 2)), ((7, 10), (3, 4)), ((1, 2), (6, 7)), ((5, 5), (1, 5))):
            torch._dynamo.reset()
            seen = self.same(lambda x: F.adaptive_avg_pool2d(x, out) * 2, torch.randn(2, 3, *sizes, requires_grad=True))
            self.assertEqual(seen.fallbacks, set())
        self.same(lambda x: F.adaptive_avg_pool2d(x, (3, 2)), torch.randn(3, 7, 5, requires_grad=True))

    def test_indexing_by_a_tensor(self):
        for sizes in ((7, 3), (7,), (7, 2, 3)):
            for rows in (torch.tensor([1, -1, 6, 1]), torch.tensor([[0, -7], [3, 3]]), torch.tensor([2, -3], dtype=torch.int32)):
                torch._dynamo.reset()
                seen = self.same(lambda x, i: x[i].tanh(), torch.randn(sizes, requires_grad=True), rows)
                self.assertEqual(seen.fallbacks, {"athanor.from_the_start.default"})
        self.same(lambda x, i, y: (x[i, i] * 2, x[:, i] * 3, x.index_put((i,), y, accumulate=True) * 2, x.index_put((i,), y)), torch.randn(4, 4),
                  torch.tensor([2, -1]), torch.randn(4))
        function = torch.compile(lambda x, i: x[i] * 2, backend="athanor")
        with self.assertRaisesRegex(athanor.Error, "index -1 at position 1"):
            function(torch.randn(5, 3), torch.tensor([4, -6]))

    def test_softmax_of_rows_that_are_masked_everywhere(self):
        x = torch.randn(3, 5)
        x[1] = -torch.inf
        seen = self.same(lambda x: torch.ops.aten._safe_softmax(x, -1) + 1, x)
        self.assertEqual(seen.fallbacks, set())

    def test_inputs_of_a_backward_that_were_expanded_when_traced(self):
        """A forward stores in full what autograd saw as an expanded tensor, of stride 0; its elements may differ."""
        graph = make_fx(lambda x: x * 2 + 1, tracing_mode="fake")(torch.randn(1, 4).expand(3, 4))
        backward = compile_graph(graph, "backward", inputs_guarded=False)
        for x in (torch.randn(3, 4), torch.randn(4, 3).t(), torch.randn(1, 4).expand(3, 4)):
            torch.testing.assert_close(backward([x]), x * 2 + 1)

    def test_saved_sums_of_embedded_patches_are_contiguous(self):
        """Eager lets them lie as the convolution's result does, channels outside."""
        class Patches(nn.Module):
            def __init__(self, falls_back):
                super().__init__()
                self.falls_back = falls_back
                self.patches, self.norm, self.out = nn.Conv2d(1, 6, 2, stride=2), nn.LayerNorm(6), nn.Linear(6, 6)
                self.positions = nn.Parameter(torch.randn(1, 12, 6))

            def forward(self, images):
                x = self.patches(images).flatten(2).transpose(1, 2) + self.positions
                if self.falls_back:
                    x = x + torch.cumprod(x, 1)
                x = x + self.out(F.gelu(self.norm(x)))
                return self.norm(x)

        for falls_back in (False, True):
            torch._dynamo.reset()
            with recorded() as inputs:
                seen = assert_trains_like_eager(self, Patches(falls_back), [(torch.randn(3, 1, 6, 8),)])
            self.assertEqual("aten.cumprod.default" in seen.fallbacks, falls_back)
            sums = [i for i in inputs if i["shape"] == [3, 12, 6]]
            self.assertGreaterEqual(len(sums), 2)
            if not falls_back:
                self.assertFalse([i for i in sums if "strides" in i])

    def test_packed_projections_are_saved_whole(self):
        """Queries, keys and values are views of one product: stored each by itself they would be copied."""
        for parts in (lambda x: x.unflatten(-1, (3, -1)).unbind(-2), lambda x: x.chunk(3, -1), lambda x: x.split([8, 8, 8], -1)):
            def attend(x, weight):
                q, k, v = (t.unflatten(-1, (2, 4)).transpose(1, 2) for t in parts(x @ weight))
                return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
            torch._dynamo.reset()
            with recorded() as inputs:
                self.same(attend, torch.randn(2, 5, 8, requires_grad=True), (torch.randn(8, 24) * 0.3).requires_grad_())
            shapes = [i["shape"] for i in inputs]
            self.assertTrue([2, 5, 24] in shapes or [10, 24] in shapes, shapes)
            self.assertLessEqual(shapes.count([2, 2, 5, 4]), 1, "of that shape, the result of the attention alone")

    def test_log_probabilities_are_not_saved(self):
        """A backward computes them again from the logits and two numbers a row."""
        outputs, record = [], lambda _, text: outputs.extend(athanor.Fragment(text).outputs if '"forward.' in text else [])
        for reduction in ("mean", "sum", "none"):
            recorders.append(record)
            try:
                self.same(lambda x, y: F.cross_entropy(x, y, reduction=reduction), torch.randn(6, 11, requires_grad=True), torch.arange(6))
            finally:
                recorders.remove(record)
        self.assertGreaterEqual(len(outputs), 6)
        self.assertNotIn((6, 11), [spec.shape for spec in outputs])

    def test_splitting(self):
        for dim in (0, -1):
            for size in (3, 4, 7, 9):
                self.same(lambda x: [t * 2 for t in x.split(size, dim)], torch.randn(7, 7, requires_grad=True))
        self.same(lambda x: [t + 1 for t in x.split(2)], torch.randn(0, 3))
        self.same(lambda x: [t * 3 for t in x.split([0, 5, 2], 1)] + [t + 1 for t in x.unbind(-1)], torch.randn(2, 7, requires_grad=True))

    def test_compiled_autograd_is_refused(self):
        loss = torch.tanh(torch.randn(4, 5) @ torch.randn(5, 3, requires_grad=True)).sum()
        with torch._dynamo.compiled_autograd._enable(torch.compile(backend="athanor")), self.assertRaisesRegex(Exception, "whose inputs are lists"):
            loss.backward()

    def test_unsupported_operations_run_in_pytorch(self):
        def function(x):
            return torch.cumsum(x.exp(), 0).tanh() + torch.sort(x * 2, 0).values
        x = torch.randn(6, 4, requires_grad=True)
        seen = self.same(function, x)
        self.assertLessEqual({"aten.cumsum.default", "aten.sort.default"}, seen.fallbacks)
        self.assertGreater(seen.operations, 0)

    def test_indices_out_of_range_are_an_error(self):
        function = torch.compile(lambda t, i: F.embedding(i, t) * 2, backend="athanor")
        table = torch.randn(5, 3)
        torch.testing.assert_close(function(table, torch.tensor([1, 4])), table[[1, 4]] * 2)
        with self.assertRaisesRegex(athanor.Error, "index 5 at position 1"):
            function(table, torch.tensor([1, 5]))


class PendingTest(unittest.TestCase):
    def test_executables_of_a_stored_graph_are_made_before_the_first_call(self):
        graph = pickle.loads(pickle.dumps(compile_graph(make_fx(lambda x: x.tanh() * 2)(torch.randn(3)), "forward", inputs_guarded=True)))
        graph.post_compile()
        self.assertEqual([type(e) for e in graph._made.result().values()], [athanor.Executable])
        x = torch.randn(3)
        torch.testing.assert_close(graph([x]), x.tanh() * 2)

    def test_errors_reach_who_waits(self):
        pending = Pending(lambda: 1 // 0)
        for _ in range(2):
            self.assertRaises(ZeroDivisionError, pending.result)

    def test_a_forked_process_does_it_itself(self):
        go = threading.Event()
        pending = Pending(lambda: go.wait() and 5)
        child = os.fork()
        if child == 0:                                       # the thread is not there
            go.set()
            os._exit(pending.result())
        go.set()
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 5)
        self.assertEqual(pending.result(), 5)


class ExplainTest(unittest.TestCase):
    def test_tells_what_runs_where_and_why(self):
        torch._dynamo.reset()
        model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Softplus(), nn.Linear(8, 2))
        before = copy.deepcopy(model.state_dict())
        found = athanor.explain(model, torch.randn(4, 8))
        self.assertEqual([g.kind for g in found.graphs], ["forward", "backward"])
        self.assertEqual({name for name, _ in found.fallbacks}, {"aten.softplus.default", "aten.softplus_backward.default"})
        text = str(found)
        self.assertIn("aten.softplus.default x 1: no rule for this operation", text)
        self.assertIn("athanor  fused_0", text)
        for name, value in model.state_dict().items():
            torch.testing.assert_close(value, before[name])
        self.assertTrue(all(p.grad is None for p in model.parameters()))

    def test_tells_of_a_model_that_is_compiled_already(self):
        torch._dynamo.reset()
        model, x = mlp(), torch.randn(7, 9)
        compiled = torch.compile(model, backend="athanor")
        compiled(x).sum().backward()
        for _ in range(2):
            self.assertEqual([g.kind for g in athanor.explain(model, x).graphs], ["forward", "backward"])
        with Reports() as seen:
            compiled(x).sum().backward()
        self.assertEqual(seen.graphs, [], "the model was compiled again")

    def test_options_are_refused(self):
        with self.assertRaisesRegex(Exception, "has no options"):
            torch.compile(lambda x: x + 1, backend="athanor", options={"fast": True})(torch.ones(2))


if __name__ == "__main__":
    unittest.main()
