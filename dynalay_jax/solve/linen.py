"""Flax modules inside of f.

A Linen module makes its parameters, and updates its statistics, while it runs. Inside of a solve
both would be values of f's trace, which nothing outside of it may use. So modules are made outside
of f, their parameters are made before f is traced, and an update of other variables is an error.
"""

from collections.abc import Callable, Iterator
import contextlib
import functools
from typing import Any

from flax import errors
from flax import linen as nn
from flax.core import Scope
from flax.linen import module as linen_module
import jax
import jax.extend.core as jex

PyTree = Any
_state = functools.partial(jex.get_opaque_trace_state, convention="flax")
_UPDATED = (
    "f: expected modules that keep their variables, got: {}. Update variables outside of f, or "
    "freeze the module, as nn.BatchNorm(use_running_average=True), or an NNX model by model.eval()."
)


class _NoParameters(Exception):
    """A module of f is about to make its parameters inside of a trace."""


def trace(f: Callable, *example: PyTree) -> tuple[Any, PyTree]:
    """`jax.make_jaxpr(f, return_shape=True)(*example)`, where f may call bound Linen modules.

    Raises:
        ValueError: f makes modules or parameters, or a module of f updates variables, as
            `BatchNorm` does in training.
        TypeError: f calls a module that has no variables.
    """
    make = jax.make_jaxpr(f, return_shape=True)
    kept = {id(root): _Variables(root) for root in _roots()}

    def watch(call: Callable, args: tuple, kwargs: dict, context: Any) -> Any:
        if context.module.scope is not None:
            if context.module.is_initializing():
                raise _NoParameters
            root = context.module.scope.root
            if id(root) not in kept:
                kept[id(root)] = _Variables(root)
        return call(*args, **kwargs)

    try:
        with untouched():
            with _explained(), nn.intercept_methods(watch):
                traced = make(*example)
            for variables in kept.values():
                variables.check()
    except _NoParameters:
        with _explained():
            _make_parameters(f, *example)
        with untouched():
            traced = make(*example)
    return traced


@contextlib.contextmanager
def untouched() -> Iterator[None]:
    """Puts back the variables of the modules that run, when a trace of f ends.

    Flax's remat, jit and scan also write variables that they only read.
    """
    kept = [_Variables(root) for root in _roots()]
    try:
        yield
    finally:
        for variables in kept:
            variables.put_back()


def repeatable(f: Callable) -> Callable:
    """f, which draws the same random keys from the modules that run whenever it is traced."""
    start = [(root.rng_counters, _copy(root.rng_counters)) for root in _roots()]

    @functools.wraps(f, updated=())
    def again(*args: PyTree) -> PyTree:
        for counters, saved in start:
            _put_back(counters, saved)
        return f(*args)

    return again if start else f


def _running() -> list[nn.Module]:
    return [m for m in linen_module._context.module_stack if m is not None and m.scope]


def _roots() -> list[Scope]:
    return [m.scope.root for m in _running() if m.scope]


def _make_parameters(f: Callable, *example: PyTree) -> None:
    """Calls f outside of a trace."""
    here = _state()

    def watch(call: Callable, args: tuple, kwargs: dict, context: Any) -> Any:
        scope = context.module.scope
        if scope is not None and _state() not in (here, scope.root.trace_level):
            raise _NoParameters
        return call(*args, **kwargs)

    try:
        with nn.intercept_methods(watch):
            f(*example)
    except _NoParameters:  # f itself has a jit or a loop around a module
        with jax.disable_jit():
            f(*example)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Explains what f did that Flax cannot do here, such as making something in a module."""
    around = _running()

    def names() -> set[tuple[int, str]]:
        scopes = [(i, m.scope) for i, m in enumerate(around) if m.scope]
        return {(i, name) for i, scope in scopes for name in scope.reservations}

    before, cause = names(), None
    try:
        yield
    except errors.CallCompactUnboundModuleError:
        raise TypeError(
            "f: expected a function of arrays, got one that calls a Linen module without "
            "variables. Pass lambda z, *args: module.apply(variables, z, *args), or solve inside "
            "of a module that made this one."
        ) from None
    except errors.TraceContextError as error:  # of NNX
        raise ValueError(_UPDATED.format(str(error).split(" (")[0])) from None
    except (errors.FlaxError, _NoParameters) as error:
        cause = error
    if made := sorted(name for _, name in names() - before):
        raise ValueError(
            f"f: expected modules, parameters and sown values made outside of f, got {made} made "
            "in f. Make modules and parameters in setup or before the solve, and sow sol.value."
        )
    if cause is not None:
        raise cause


class _Variables:
    """The variables of a tree of modules, as they are when this is made."""

    def __init__(self, root: Scope) -> None:
        self.root, self.saved = root, _copy(root._variables)

    def check(self) -> None:
        """Raises ValueError if they have changed; what was recorded for debugging may change."""
        old = dict(jax.tree.leaves_with_path(self.saved))
        for path, leaf in jax.tree.leaves_with_path(self.root._variables):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            if old.get(path) is not leaf and not name.startswith("intermediates/"):
                raise ValueError(_UPDATED.format(f"update of {name}"))

    def put_back(self) -> None:
        """Undoes all changes."""
        _put_back(self.root._variables, self.saved)


def _copy(tree: PyTree) -> PyTree:
    return {k: _copy(v) for k, v in tree.items()} if isinstance(tree, dict) else tree


def _put_back(tree: dict, saved: dict) -> None:
    """In place, because scopes hold references to the dictionaries of their parents."""
    for name in [name for name in tree if name not in saved]:
        del tree[name]
    for name, value in saved.items():
        if isinstance(value, dict):
            _put_back(tree[name], value)
        else:
            tree[name] = value
