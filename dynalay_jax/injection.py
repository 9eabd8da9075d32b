"""Layers injected again, for the samples below which something has changed."""

from collections.abc import Callable, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp

from dynalay_jax import active_set, lanes
from dynalay_jax.cell import Cell

PyTree = Any


def injected_again(
    layer: Cell, below: jax.Array, changed: jax.Array, u: PyTree, min_bucket: int
) -> PyTree:
    """What a layer is injected with, computed anew for the samples that changed.

    Args:
        layer: bound to its parameters.
        below: activations of the layer below, [B, ...].
        changed: bool [B].
        u: what the layer was injected with before, leaves [B, ...].
        min_bucket: the samples that changed are gathered into the smallest bucket that holds them,
            none smaller than this; 0 computes all and drops what is not needed.

    Returns:
        u, with new values where `changed`.
    """
    if not min_bucket:
        return lanes.select(changed, layer(below)[1], u)
    module, variables = layer.unbind()
    # In a `shard_map` the sum of their cotangents over devices must not be in a branch.
    variables, u = lanes.vary_like((variables, u), below, changed)

    def in_bucket(size: int, order: jax.Array, variables: PyTree, below: Any, u: PyTree) -> PyTree:
        ids = order[:size]
        _, new = module.apply(variables, active_set.gather(below, ids))
        return jax.tree.map(lambda old, new: old.at[ids].set(new, mode="drop"), u, new)

    batch, count = len(changed), jnp.sum(changed, dtype=jnp.int32)
    # Those that changed come first; past them there is nobody, and nothing is written.
    order = jnp.argsort(~changed, stable=True)
    order = jnp.where(jnp.arange(batch) < count, order, batch)
    sizes = active_set.bucket_sizes(batch, min_bucket)
    branches = [functools.partial(in_bucket, size) for size in sizes]
    none = lambda order, variables, below, u: u
    level = active_set.smallest((*sizes, 0), count)
    return _switch([*branches, none], (level, order), (variables, below, u))


def _switch(
    branches: Sequence[Callable], given: tuple[jax.Array, jax.Array], operands: tuple
) -> PyTree:
    """`lax.switch`, with a gradient that computes the branch taken again.

    JAX's own has every branch store what the gradients of all of them need, zeros but for its own.

    Args:
        branches: functions of (order, *operands).
        given: the branch to take, and `order`; without derivative.
        operands: with derivative, in reverse mode only.
    """

    @jax.custom_vjp
    def run(given: tuple, operands: tuple) -> PyTree:
        level, order = given
        return jax.lax.switch(level, branches, order, *operands)

    def forward(given: tuple, operands: tuple) -> tuple[PyTree, tuple]:
        return run(given, operands), (given, operands)

    def backward(saved: tuple, v: PyTree) -> tuple:
        (level, order), operands = saved

        def pulled(branch: Callable, operands: tuple, v: PyTree) -> tuple:
            return jax.vjp(functools.partial(branch, order), *operands)[1](v)

        pulls = [functools.partial(pulled, branch) for branch in branches]
        return None, jax.lax.switch(level, pulls, operands, v)

    run.defvjp(forward, backward)
    return run(given, operands)
