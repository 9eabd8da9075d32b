"""f as a pure function: traced once, everything it closes over turned into an operand.

`custom_jvp` and `custom_vjp` accept no tracers through a closure, and a model written as
`lambda z: apply(params, z, u)` closes over little else. `jax.closure_convert` hoists floats only;
a jaxpr has them all (integers and typed keys too) as its constants.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core as jex

PyTree = Any


def hoist(f: Callable, *example: PyTree) -> tuple[Callable, list[Any], list[Any]]:
    """Splits `f` into a closed-form function and what it closed over.

    Args:
        f: function of pytrees of arrays.
        *example: arguments that it is traced with, once.

    Returns:
        pure: `pure(consts, *args)` computes `f(*args)`, for arguments with the shapes and dtypes
            of `example`, and closes over no tracer. It never calls `f` again.
        consts: the values that `f` closed over.
        types: the types of f's output leaves, as `jax.typeof` gives them.
    """
    closed, out = jax.make_jaxpr(f, return_shape=True)(*example)
    out_tree = jax.tree.structure(out)

    def pure(consts: list[Any], *args: PyTree) -> PyTree:
        call = jex.jaxpr_as_fun(jex.ClosedJaxpr(closed.jaxpr, consts))
        return jax.tree.unflatten(out_tree, call(*jax.tree.leaves(args)))

    return pure, list(closed.consts), [aval.strip_weak_type() for aval in closed.out_avals]
