"""Computes something for some samples only, with static shapes: gathers them into a bucket.

A batch costs the same however many of its samples are needed. So programs are compiled for a few
smaller sizes, and the smallest bucket that holds all needed samples runs.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp

from dynalay_jax.solve import per_sample

PyTree = Any


def bucket_sizes(batch: int, min_bucket: int, between: bool = False) -> tuple[int, ...]:
    """Bucket sizes, largest first: batch, batch/2, ...; none but the first below `min_bucket`.

    With `between` also three quarters of each size. A bucket is then at most 1.5 times as large as
    needed instead of twice, at the price of one more program for each size.
    """
    sizes = [batch]
    while (half := (sizes[-1] + 1) // 2) >= min_bucket and half < sizes[-1]:
        sizes.append(half)
    if between:
        more = (-(-3 * size // 4) for size in sizes)
        sizes = sorted({*sizes, *(size for size in more if size >= min_bucket)}, reverse=True)
    return tuple(sizes)


def smallest(sizes: Sequence[int], count: jax.Array) -> jax.Array:
    """Index, int32, of the smallest bucket that holds `count` lanes; sizes are largest first."""
    fits = jnp.asarray(sizes[1:], jnp.int32) >= count
    return jnp.sum(fits, dtype=jnp.int32)


def gather(tree: PyTree, ids: jax.Array | None) -> PyTree:
    """Lanes `ids` of every leaf; all lanes if `ids` is None."""
    if ids is None:
        return tree
    return jax.tree.map(lambda x: jnp.take(x, ids, axis=0, mode="clip"), tree)


def update(
    compute: Callable[..., PyTree],
    run: jax.Array,
    old: PyTree,
    operands: PyTree,
    sizes: Sequence[int],
    fixed: PyTree = (),
) -> PyTree:
    """`old`, with new values in the lanes of the mask `run`.

    With several buckets, nothing is computed if no lane runs, the backward pass recomputes the
    values it needs, and there are no forward-mode derivatives.

    Args:
        compute: `compute(level, ids, operands, fixed)` returns the lanes `ids` in bucket number
            `level`; level 0 is the full batch, with ids None. It closes over nothing traced.
        run: bool [B].
        old: pytree with the lanes on axis 0, of the same type as what `compute` returns.
        operands: floating-point inputs that have derivatives. In a `shard_map` they must vary over
            all axes that `run` varies over: a sum of cotangents over devices must not be in a
            branch.
        sizes: of the buckets, from `bucket_sizes`.
        fixed: further inputs of any dtype, without derivative.

    Returns:
        A pytree like old.
    """
    if len(sizes) == 1:
        return per_sample.select(run, compute(0, None, operands, fixed), old)
    batch, count = run.shape[0], jnp.sum(run, dtype=jnp.int32)
    # The lanes that run come first. Places past them get an index out of bounds, which drops them.
    order, place = jnp.argsort(~run, stable=True), jnp.arange(batch)
    order = jnp.where(place < count, order, batch + place)

    def in_bucket(level: int, fixed: tuple, old: PyTree, operands: PyTree) -> PyTree:
        run, order, rest = fixed
        if not level:
            return per_sample.select(run, compute(0, None, operands, rest), old)
        ids = order[: sizes[level]]
        put = lambda old, new: old.at[ids].set(new, mode="drop", unique_indices=True)
        return jax.tree.map(put, old, compute(level, ids, operands, rest))

    branches = [functools.partial(in_bucket, level) for level in range(len(sizes))]
    unchanged = lambda fixed, old, operands: old
    level = smallest((*sizes, 0), count)
    return _switch([*branches, unchanged], level, (run, order, fixed), (old, operands))


def _switch(
    branches: Sequence[Callable], level: jax.Array, fixed: tuple, operands: tuple
) -> PyTree:
    """`lax.switch` over functions of (fixed, *operands), whose backward pass recomputes the branch.

    JAX's own lets every branch store what the gradients of all branches need, mostly zeros. Only
    `operands` have derivatives, in reverse mode.
    """

    @jax.custom_vjp
    def run(level: jax.Array, fixed: tuple, operands: tuple) -> PyTree:
        return jax.lax.switch(level, branches, fixed, *operands)

    def forward(level: jax.Array, fixed: tuple, operands: tuple) -> tuple[PyTree, tuple]:
        # Not `run`, so that derivatives of the gradient are JAX's own, forward mode included.
        return jax.lax.switch(level, branches, fixed, *operands), (level, fixed, operands)

    def backward(saved: tuple, v: PyTree) -> tuple:
        level, fixed, operands = saved

        def pulled(branch: Callable, operands: tuple, v: PyTree) -> tuple:
            return jax.vjp(functools.partial(branch, fixed), *operands)[1](v)

        pulls = [functools.partial(pulled, branch) for branch in branches]
        return None, None, jax.lax.switch(level, pulls, operands, v)

    run.defvjp(forward, backward)
    return run(level, fixed, operands)
