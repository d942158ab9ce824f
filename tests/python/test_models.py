"""Whole models of torchvision, timm and transformers, with random weights and small inputs, three training steps each: losses and gradients err against f64 no
more than eager's do (or than rounding does to them, at kinks), and what the table of translations means runs in Athanor.

    test_models.py              some, as the tests run them
    test_models.py --all        every model below (a few minutes more)
    test_models.py NAME...      those, such as torchvision.resnet50
"""
import copy
import functools
import logging
import sys
import unittest

import torch
from torch import nn

from testing import Reports, compare, to_double, train, train_with_noise

# torchvision's compiled operators are built for CUDA and do not load beside a PyTorch for CPUs. Its import asks for the schemas of two of
# them, which no model here calls.
_schemas = torch.library.Library("torchvision", "FRAGMENT")
for _name in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, _name):
        _schemas.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import timm  # noqa: E402
import torchvision.models  # noqa: E402
import transformers  # noqa: E402

# What PyTorch is meant to run: random numbers are its to draw, in memory that is its to allocate and to address by strides; positions are constants, and so are the masks of shifted
# windows, which torchvision's Swin fills slice by slice; and indices that may count from the end are made to count from the start, before they are checked.
PYTORCHS = {"aten.bernoulli.p", "aten.empty.memory_format", "aten.empty_strided.default", "aten.new_empty.default", "aten.arange.default",
            "aten.as_strided.default", "aten.as_strided_scatter.default", "aten.fill.Tensor", "aten.slice_scatter.default",
            "athanor.from_the_start.default"}


class Bert(nn.Module):
    """The pooled output of a BERT of three narrow layers."""

    def __init__(self):
        super().__init__()
        self.bert = transformers.BertModel(transformers.BertConfig(vocab_size=500, hidden_size=64, num_hidden_layers=3, num_attention_heads=4,
                                                                   intermediate_size=128))

    def forward(self, tokens):
        return self.bert(input_ids=tokens).pooler_output


class Gpt2(nn.Module):
    """The loss of a GPT-2 of three narrow layers on its own input."""

    def __init__(self):
        super().__init__()
        self.gpt2 = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=500, n_embd=64, n_layer=3, n_head=4, n_positions=64, bos_token_id=0,
                                                                         eos_token_id=0))

    def forward(self, tokens):
        return self.gpt2(input_ids=tokens, labels=tokens).loss


def images(size, batch=2):
    return torch.randn(batch, 3, size, size)


def tokens():
    return torch.randint(0, 500, (2, 24))


def of_torchvision(name):
    return lambda: getattr(torchvision.models, name)(num_classes=10)


def of_timm(name, **options):
    return lambda: timm.create_model(name, num_classes=10, **options)


# name: (model, input). Batch norm of few numbers makes chaos of rounding: its models get larger images.
USUAL = {
    "torchvision.alexnet": (of_torchvision("alexnet"), lambda: images(64)),
    "torchvision.resnet18": (of_torchvision("resnet18"), lambda: images(64, 4)),
    "timm.mobilenetv3_small_100": (of_timm("mobilenetv3_small_100"), lambda: images(64, 4)),
    "timm.vit_tiny": (of_timm("vit_tiny_patch16_224", img_size=64), lambda: images(64)),
    "transformers.bert": (Bert, tokens),
    "transformers.gpt2": (Gpt2, tokens),
}
MORE = {
    "torchvision.convnext_tiny": (of_torchvision("convnext_tiny"), lambda: images(32)),
    "torchvision.vgg16": (of_torchvision("vgg16"), lambda: images(32)),
    "timm.resnet50": (of_timm("resnet50"), lambda: images(64, 4)),
    "timm.swin_tiny": (of_timm("swin_tiny_patch4_window7_224", img_size=56), lambda: images(56)),
    "torchvision.resnet50": (of_torchvision("resnet50"), lambda: images(64, 4)),
    "torchvision.mobilenet_v3_small": (of_torchvision("mobilenet_v3_small"), lambda: images(64, 4)),
    "torchvision.mobilenet_v3_large": (of_torchvision("mobilenet_v3_large"), lambda: images(64, 4)),
    "torchvision.swin_t": (of_torchvision("swin_t"), lambda: images(56)),
    "timm.vgg16": (of_timm("vgg16"), lambda: images(32)),
    "timm.resnet18": (of_timm("resnet18"), lambda: images(64, 4)),
    "timm.mobilenetv3_large_100": (of_timm("mobilenetv3_large_100"), lambda: images(64, 4)),
    "timm.convnext_tiny": (of_timm("convnext_tiny"), lambda: images(32)),
}


class ModelTest(unittest.TestCase):
    def check(self, name):
        """Three steps of a model in f64, in eager and in Athanor, from the same weights and the same random numbers."""
        make, sample = (USUAL | MORE)[name]
        torch._dynamo.reset()
        torch.manual_seed(1)
        model, inputs = make().train(), [(sample(),)]
        how = {"optimizer": lambda parameters: torch.optim.SGD(parameters, lr=1e-3)}
        start = copy.deepcopy(model)
        exact = train(copy.deepcopy(model).double(), to_double(inputs), **how)
        eager = train(copy.deepcopy(model), inputs, **how)
        with Reports() as seen:
            ours = train(torch.compile(model, backend="athanor"), inputs, **how)
        self.assertGreater(seen.operations, 50, "almost nothing ran in Athanor")
        self.assertEqual({g.kind for g in seen.graphs}, {"forward", "backward"})
        self.assertLessEqual(seen.fallbacks, PYTORCHS, {why for g in seen.graphs for why in g.fallbacks})
        compare(self, exact, eager, ours, 5e-5, functools.cache(lambda: train_with_noise(start, inputs, **how)))


def _add(name):
    setattr(ModelTest, "test_" + name.replace(".", "_"), lambda self: self.check(name))


if __name__ == "__main__":
    given = sys.argv[1:]
    unknown = [name for name in given if name != "--all" and name not in USUAL | MORE]
    if unknown:
        sys.exit(f"test_models.py: error: {', '.join(unknown)}: expected --all or names of {', '.join(USUAL | MORE)}")
    for chosen in (USUAL | MORE if "--all" in given else given or USUAL):
        _add(chosen)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    unittest.main(argv=sys.argv[:1])
