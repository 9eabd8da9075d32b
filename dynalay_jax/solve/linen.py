"""Linen modules inside of f.

A Linen module makes its parameters, and updates its statistics, while it runs. Inside of a solve
both would be values of f's trace, which nothing outside of it may use. So parameters are made
before f is traced, and a module that updates other variables is an error.
"""

from collections.abc import Callable
import itertools
from typing import Any

from flax import linen as nn
import jax

PyTree = Any


class _NoParameters(Exception):
    """A module of f is about to make its parameters."""


def trace(f: Callable, *example: PyTree) -> tuple[Any, PyTree]:
    """`jax.make_jaxpr(f, return_shape=True)(*example)`, where f may call bound Linen modules.

    Raises:
        ValueError: a module updates variables, as `BatchNorm` does in training.
    """
    make = jax.make_jaxpr(f, return_shape=True)
    try:
        with nn.intercept_methods(_watch):
            return make(*example)
    except _NoParameters:
        f(*example)  # makes the parameters, outside of the trace
        return make(*example)


def _watch(call: Callable, args: tuple, kwargs: dict, context: Any) -> Any:
    """Calls a method of a module, unless it makes parameters; nothing else may change."""
    module = context.module
    if module.scope is None:
        return call(*args, **kwargs)
    if module.is_initializing():
        raise _NoParameters
    before = _variables(module)
    out = call(*args, **kwargs)
    if any(a is not b for a, b in itertools.zip_longest(before, _variables(module))):
        raise ValueError(
            f"f: expected Linen modules that keep their variables, got {type(module).__name__}, "
            "which updates them. Call it outside of f, or freeze it, as "
            "nn.BatchNorm(use_running_average=True)."
        )
    return out


def _variables(module: nn.Module) -> list[Any]:
    """All but the parameters."""
    others = {name: tree for name, tree in module.variables.items() if name != "params"}
    return jax.tree.leaves(others)
