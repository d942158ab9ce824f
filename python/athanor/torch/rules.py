"""The table of translations: which ATen overload is translated how. A rule takes the builder, the result's description (a fake tensor, or a
tuple of them) and the node's arguments, tensors being `Value`s; it returns a Value, or a list of them (None: an output that is not translated). What
it can't do it refuses with `Unsupported`, and the node runs in PyTorch."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

RULES: dict[Any, Callable[..., Any]] = {}                 # by overload, or by its name where it is not registered yet
# Ops that only rearrange: a partition of nothing else is left to PyTorch, which does not copy for them.
VIEWS: set[Any] = set()


def rule(*overloads: Any, view: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a rule for ATen overloads."""
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for overload in overloads:
            RULES[overload] = function
            if view:
                VIEWS.add(overload)
        return function
    return register


def rule_of(target: Any) -> Callable[..., Any] | None:
    """The rule of an overload; None where there is none."""
    return RULES.get(target) or RULES.get(str(target))
