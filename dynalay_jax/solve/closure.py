"""Closure conversion: f is traced once, and every value that f closes over becomes an operand.

    f(*args) = call(consts, *args)

`custom_jvp` and `custom_vjp` accept no tracers through a closure, but models are often written as
`lambda z: apply(params, z, u)`. `jax.closure_convert` converts floating-point values only. The
constants of a jaxpr hold them all, integers and typed keys included.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex

from dynalay_jax.solve import linen

PyTree = Any


class Converted(NamedTuple):
    """A function that closes over nothing.

    Attributes:
        call: `call(consts, *args)` computes `f(*args)`, for arguments with the shapes and dtypes of
            the trace. It closes over no tracer and never calls f again.
        consts: the values that f closed over.
        jaxpr: the trace of f, with the constants among its inputs.
        types: the types of f's output leaves, as `jax.typeof` gives them.
        reads_first: False if f certainly does not read its first argument.
    """

    call: Callable
    consts: list[Any]
    jaxpr: jex.Jaxpr
    types: list[Any]
    reads_first: bool


def convert(f: Callable, *example: PyTree) -> Converted:
    """Traces `f` once, with `example` as its arguments."""
    traced, out = linen.trace(f, *example)
    consts, out_tree = list(traced.consts), jax.tree.structure(out)

    def evaluate(consts: list[Any], leaves: list[Any]) -> list[Any]:
        return jex.jaxpr_as_fun(jex.ClosedJaxpr(traced.jaxpr, consts))(*leaves)

    # Traced again with the constants as inputs, so that the result holds on to no tracers.
    closed = jax.make_jaxpr(evaluate)(consts, jax.tree.leaves(example))

    def call(consts: list[Any], *args: PyTree) -> PyTree:
        leaves = jax.tree.leaves((consts, args))
        return jax.tree.unflatten(out_tree, jex.jaxpr_as_fun(closed)(*leaves))

    types = [aval.strip_weak_type() for aval in traced.out_avals]
    first = closed.jaxpr.invars[len(consts) :][: len(jax.tree.leaves(example[0]))]
    return Converted(call, consts, closed.jaxpr, types, _reaches_output(closed.jaxpr, first))


def _reaches_output(jaxpr: jex.Jaxpr, variables: list[Any]) -> bool:
    """Whether an output may depend on one of the variables."""
    reached = set(variables)
    is_reached = lambda atom: isinstance(atom, jex.Var) and atom in reached
    for eqn in jaxpr.eqns:
        if any(map(is_reached, eqn.invars)):
            reached.update(eqn.outvars)
    return any(map(is_reached, jaxpr.outvars))


def inner_jaxprs(eqn: Any) -> Iterator[jex.Jaxpr]:
    """The jaxprs among an equation's parameters: the bodies of jit, scan, cond, custom_jvp, ..."""
    is_jaxpr = lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")
    for value in jax.tree.leaves(list(eqn.params.values()), is_leaf=is_jaxpr):
        inner: Any = getattr(value, "jaxpr", value)
        if hasattr(inner, "eqns"):
            yield inner
