"""Results of compiled graphs in kept memory: nothing that anybody can still see is written again."""
from __future__ import annotations

import gc
import threading
import unittest

import torch
from athanor.torch.memory import ResultMemory
from athanor.torch.memory import results as installed

SIZE, STRIDE = (512, 1024), (1024, 1)                        # 2 MB


def taken(memory: ResultMemory, place: object) -> torch.Tensor:
    return memory.take(place, SIZE, STRIDE, torch.float32)


class Memory(unittest.TestCase):
    def setUp(self):
        self.memory, self.place = ResultMemory(1 << 30), object()

    def test_what_is_free_is_used_again(self):
        address = taken(self.memory, self.place).data_ptr()
        again = self.memory.take(self.place, (1024, 512), (1, 1024), torch.float32)
        self.assertEqual(again.data_ptr(), address)
        self.assertEqual((again.shape, again.stride()), ((1024, 512), (1, 1024)))

    def test_what_is_in_use_is_not(self):
        holders = {
            "tensor": lambda x: x,
            "view": lambda x: x[3:5].t(),
            "storage": lambda x: x.untyped_storage(),
            "array": lambda x: x.numpy(),
            "capsule": torch.utils.dlpack.to_dlpack,
            "saved by autograd": lambda x: (torch.ones(1024, requires_grad=True) * x).grad_fn,
        }
        for name, hold in holders.items():
            with self.subTest(name):
                first = taken(self.memory, self.place)
                address, held = first.data_ptr(), hold(first)
                del first
                self.assertNotEqual(taken(self.memory, self.place).data_ptr(), address)
                del held

    def test_what_was_resized_or_shared_is_let_go(self):
        taken(self.memory, self.place).untyped_storage().resize_(0)
        self.assertEqual(taken(self.memory, self.place).untyped_storage().nbytes(), 4 << 19)
        shared = taken(self.memory, self.place).share_memory_()
        address = shared.data_ptr()
        del shared
        self.assertNotEqual(taken(self.memory, self.place).data_ptr(), address)

    def test_places_and_threads_have_their_own(self):
        results, barrier = [], threading.Barrier(4)

        def take():
            barrier.wait()
            for _ in range(50):
                results.append(taken(self.memory, self.place))
        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        results.append(taken(self.memory, object()))
        self.assertEqual(len({x.data_ptr() for x in results}), 201)

    def test_the_limit_lets_go_of_the_oldest(self):
        memory, places = ResultMemory(5 << 20), [object() for _ in range(3)]
        for place in places:
            taken(memory, place)
        self.assertEqual(list(memory._kept), places[1:])
        self.assertEqual(memory._bytes, 4 << 20)
        taken(memory, places[1])
        taken(memory, places[0])
        self.assertEqual(list(memory._kept), [places[1], places[0]])

    def test_a_training_step_uses_it_and_a_reset_returns_it(self):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(256, 2048), torch.nn.GELU(), torch.nn.Linear(2048, 256))
        compiled = torch.compile(model, backend="athanor")
        before, kept, outputs = len(installed._kept), [], []
        for step in range(4):
            x = torch.randn(512, 256)
            model.zero_grad()
            y = compiled(x)
            y.square().mean().backward()
            outputs.append((x, y.detach(), [p.grad.clone() for p in model.parameters()]))
            kept.append(installed._bytes)
        self.assertGreater(len(installed._kept), before)
        self.assertEqual(kept[1], kept[3])
        for x, y, grads in outputs:                          # each is what it was when it was computed
            model.zero_grad()
            expected = model(x)
            expected.square().mean().backward()
            torch.testing.assert_close(y, expected.detach())
            torch.testing.assert_close(grads, [p.grad for p in model.parameters()])
        del compiled
        torch._dynamo.reset()
        gc.collect()
        self.assertEqual(len(installed._kept), before)


if __name__ == "__main__":
    unittest.main()
