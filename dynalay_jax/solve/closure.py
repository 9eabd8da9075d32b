"""f as a pure function: traced once, everything it closes over turned into an operand.

`custom_jvp` and `custom_vjp` accept no tracers through a closure, and a model written as
`lambda z: apply(params, z, u)` closes over little else. `jax.closure_convert` hoists floats only;
a jaxpr has them all (integers and typed keys too) as its constants.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex

PyTree = Any


class Hoisted(NamedTuple):
    """A function in closed form.

    Attributes:
        call: `call(consts, *args)` computes `f(*args)`, for arguments with the shapes and dtypes
            it was traced with, and closes over no tracer. It never calls f again.
        consts: the values that f closed over.
        jaxpr: what f was traced to, the constants among its inputs.
        types: the types of f's output leaves, as `jax.typeof` gives them.
        reads_first: whether f reads its first argument; False only where it certainly does not.
    """

    call: Callable
    consts: list[Any]
    jaxpr: jex.Jaxpr
    types: list[Any]
    reads_first: bool


def hoist(f: Callable, *example: PyTree) -> Hoisted:
    """Traces `f` once, with `example` as its arguments, and splits it from what it closes over."""
    traced, out = jax.make_jaxpr(f, return_shape=True)(*example)
    consts, out_tree = list(traced.consts), jax.tree.structure(out)
    # Once more, with the constants as inputs: what is kept must not hold on to tracers.
    evaluate = lambda consts, leaves: jex.jaxpr_as_fun(jex.ClosedJaxpr(traced.jaxpr, consts))(
        *leaves
    )
    closed = jax.make_jaxpr(evaluate)(consts, jax.tree.leaves(example))

    def call(consts: list[Any], *args: PyTree) -> PyTree:
        leaves = jax.tree.leaves((consts, args))
        return jax.tree.unflatten(out_tree, jex.jaxpr_as_fun(closed)(*leaves))

    types = [aval.strip_weak_type() for aval in traced.out_avals]
    first = closed.jaxpr.invars[len(consts) :][: len(jax.tree.leaves(example[0]))]
    return Hoisted(call, consts, closed.jaxpr, types, _reaches_output(closed.jaxpr, first))


def _reaches_output(jaxpr: jex.Jaxpr, variables: list[Any]) -> bool:
    """Whether an output may depend on one of the variables."""
    reached = set(variables)
    is_reached = lambda atom: isinstance(atom, jex.Var) and atom in reached
    for eqn in jaxpr.eqns:
        if any(map(is_reached, eqn.invars)):
            reached.update(eqn.outvars)
    return any(map(is_reached, jaxpr.outvars))
