"""What the tests of the backend share."""
import copy
import functools
import logging
import pathlib
import sys

import torch

import athanor

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "pytorch"))
import rounding  # noqa: E402

# Layers that only select or move.
EXACT = (torch.nn.ReLU, torch.nn.ReLU6, torch.nn.MaxPool2d, torch.nn.Identity, torch.nn.Flatten, torch.nn.Dropout)


class Reports:
    """Collects the reports of the graphs compiled inside a `with`."""

    def __enter__(self):
        from athanor.torch import compiled_graph
        self.graphs = []
        compiled_graph.listeners.append(self.graphs.append)
        return self

    def __exit__(self, *_):
        from athanor.torch import compiled_graph
        compiled_graph.listeners.remove(self.graphs.append)

    @property
    def operations(self):
        return sum(g.operations for g in self.graphs)

    @property
    def fallbacks(self):
        return {name for g in self.graphs for name, _ in g.fallbacks}


def train(model, inputs, steps=3, seed=0, optimizer=None):
    """Losses and final parameters, gradients and buffers of a few steps of SGD on the mean square of the output (or its value, if scalar)."""
    torch.manual_seed(seed)
    subject = getattr(model, "_orig_mod", model)
    make = optimizer or (lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9))
    step, losses = make(list(subject.parameters())), []
    for i in range(steps):
        step.zero_grad()
        y = model(*inputs[i % len(inputs)])
        loss = y if y.ndim == 0 else y.float().pow(2).mean()
        loss.backward()
        step.step()
        losses.append(loss.detach().clone())
    state = {f"gradient of {n}": p.grad for n, p in subject.named_parameters()}
    state.update({n: p.detach() for n, p in subject.named_parameters()})
    state.update({n: b for n, b in subject.named_buffers() if b.is_floating_point()})
    return losses, state


def error(got, expected):
    """The largest difference relative to the largest element."""
    got, expected = got.double(), expected.double()
    if got.shape != expected.shape:
        raise AssertionError(f"shape {tuple(got.shape)}, expected {tuple(expected.shape)}")
    if not expected.numel():
        return 0.0
    return ((got - expected).abs().max() / expected.abs().max().clamp_min(1e-30)).item()


def to_double(inputs):
    return [tuple(x.double() if x.is_floating_point() else x for x in step) for step in inputs]


def train_with_noise(model, inputs, **how):
    """The same training in f64 some times, with noise as large as the rounding of f32 on what layers yield, and on its gradients."""
    runs = []
    for seed in range(rounding.RUNS):
        noisy = copy.deepcopy(model).double()
        disturb = rounding.noise("f32", seed)
        for layer in noisy.modules():
            if not list(layer.children()) and not isinstance(layer, EXACT):
                layer.register_forward_hook(lambda _, inputs, y: disturb({"op": "layer"}, y)[0] if isinstance(y, torch.Tensor) else y)
        runs.append(train(noisy, to_double(inputs), **how))
    return runs


def assert_trains_like_eager(test, model, inputs, floor=5e-5, **how):
    """Three training steps through the backend err, against f64, no more than twice as much as eager's, or than `floor`."""
    torch._dynamo.reset()
    exact = train(copy.deepcopy(model).double(), to_double(inputs), **how)
    eager = train(copy.deepcopy(model), inputs, **how)
    with Reports() as seen:
        ours = train(torch.compile(copy.deepcopy(model), backend="athanor"), inputs, **how)
    test.assertGreater(seen.operations, 0, "nothing ran in Athanor")
    compare(test, exact, eager, ours, floor, functools.cache(lambda: train_with_noise(model, inputs, **how)))
    return seen


def compare(test, exact, eager, ours, floor, noisy):
    """Ours may err twice as much as eager's, or `floor`; beyond that, what rounding does to the exact results as well: `noisy()`, see rounding.py."""
    for i, (e, p, o) in enumerate(zip(exact[0], eager[0], ours[0])):
        test.assertLessEqual(error(o, e), max(2 * error(p, e), floor), f"loss of step {i}")
    # A tensor is judged by the largest of its kind, gradients by gradients: what cancels to nothing has no scale of its own.
    kinds = {name: "gradient" if name.startswith("gradient") else "state" for name in exact[1]}
    scale = {kind: max([t.abs().max().item() for n, t in exact[1].items() if kinds[n] == kind], default=0.0) for kind in ("gradient", "state")}
    for name, e in exact[1].items():
        own = max(e.double().abs().max().item(), 1e-2 * scale[kinds[name]], 1e-30)
        err = (ours[1][name].double() - e).abs().max().item() / own
        peer = (eager[1][name].double() - e).abs().max().item() / own
        allowed = max(2 * peer, floor)
        if err <= allowed:
            continue
        moved = rounding.moves(e, [run[1][name] for run in noisy()])
        if not rounding.within(ours[1][name], e, moved, allowed * own):
            test.fail(f"{name}: error {err:.2e} of its scale, eager's own {peer:.2e}, moved by rounding at most {moved.max().item() / own:.2e}")


logging.getLogger("athanor.torch").setLevel(logging.ERROR)
assert athanor.__version__
