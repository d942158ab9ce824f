"""Runs fragments with PyTorch for `athanor bench --peers`: a JSON question a line on standard input, a JSON answer a line on standard output.

{"threads": N}                                      -> {"torch": VERSION}
{"fragment": {...}, "grad": bool, "peer": "eager"}  -> {"number": I, "first_call_ms": T}
{"run": I}                                          -> {"ms": T}

With "grad" a run is forward and backward. An answer with "error" tells what can't be done.
"""
import json
import os
import sys
import time
import types


def fresh_copy(function):
    """The same function with a code object of its own, under which torch.compile keeps what it compiled: one fragment's guards don't slow another's."""
    return types.FunctionType(function.__code__.replace(), function.__globals__, function.__name__, function.__defaults__, function.__closure__)


class Peer:
    def __init__(self, threads):
        import torch
        import fragment_torch
        self.torch, self.fragments, self.steps = torch, fragment_torch, []
        torch.set_num_threads(threads)

    def load(self, fragment, grad, peer):
        torch = self.torch
        inputs = self.fragments.random_inputs(fragment, {}, seed=1)
        leaves = [inputs[x["name"]].requires_grad_() for x in fragment["inputs"] if grad and x.get("grad")]
        evaluate = self.fragments.evaluate

        def forward(xs):
            return evaluate(fragment, xs)

        run = torch.compile(fresh_copy(forward), dynamic=False) if peer == "inductor" else forward

        def step():
            if not leaves:
                with torch.no_grad():
                    return run(inputs)
            for leaf in leaves:
                leaf.grad = None
            outputs = [y for y in run(inputs).values() if y.requires_grad]
            torch.autograd.backward(outputs, [torch.ones_like(y) for y in outputs])

        self.steps.append(step)
        number = len(self.steps) - 1
        first = self.run(number)["ms"]
        self.run(number)
        return {"number": number, "first_call_ms": first}

    def run(self, number):
        start = time.perf_counter()
        self.steps[number]()
        return {"ms": (time.perf_counter() - start) * 1e3}


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)                                            # whatever else is printed goes to standard error
    peer = None
    for line in sys.stdin:
        question = json.loads(line)
        try:
            if "threads" in question:
                peer = Peer(question["threads"])
                answer = {"torch": peer.torch.__version__}
            elif "fragment" in question:
                answer = peer.load(question["fragment"], question["grad"], question["peer"])
            else:
                answer = peer.run(question["run"])
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}".split("\n")[0]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
